// nftables through libnftables, in the calling thread's network namespace. Each call is one
// transaction: the kernel takes all of the text or nothing. Forks a child for each call: the
// calling program must be single-threaded.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::netns {

// One call that is under way in its child process; finish() must be called once.
struct NftRun {
  pid_t child = 0;
  Fd report;     // what run_in_this_process() returns
  Fd complaint;  // libnftables' own words where it gave up
};

// Runs nft commands; the error carries nft's own message. Returns what nft printed.
Result<std::string> run_nft(const std::string& commands);

// Deletes the table if it exists; finish(), to be called once, tells whether it did. In between the
// caller may do other things: the kernel takes a while to be sure that no CPU uses the table.
class TableDeletion {
 public:
  explicit TableDeletion(std::string table);
  // Until its rules have no effect any more, or it has failed.
  void wait_for_effect() const;
  Result<bool> finish();

 private:
  std::string table_;
  std::optional<NftRun> run_;
  Result<void> started_;
};

Result<bool> delete_nft_table(const std::string& table);

}  // namespace pillion::netns
