// nftables through libnftables, in the calling thread's network namespace. Each call is one
// transaction: the kernel takes all of the text or nothing. Forks a child for each call: the
// calling program must be single-threaded.
#pragma once

#include <string>

#include "runtime/result.h"

namespace pillion::netns {

// Runs nft commands; the error carries nft's own message. Returns what nft printed.
Result<std::string> run_nft(const std::string& commands);

// Deletes the table if it exists; true when it did.
Result<bool> delete_nft_table(const std::string& table);

}  // namespace pillion::netns
