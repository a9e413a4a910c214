// Faults on purpose, for tests and drills: the environment variable PILLION_NETNS_FAULT makes one
// step of this process fail or die, or makes the kernel look poorer than it is.
//   fail:N            the N-th step, counted from 1, returns ENOBUFS instead of being done
//   kill:N            the process kills itself before its N-th step
//   stop:N            the process stops itself before its N-th step, until it gets SIGCONT: a test
//                     changes the machine meanwhile
//   without:nftables  as on a kernel without nftables
//   without:tproxy    as on a kernel without TPROXY
#pragma once

#include <string_view>

#include "runtime/result.h"

namespace pillion::netns {

// Called before each step; an error is what the step is to return.
Result<void> fault_before_step();

// `feature`: "nftables", "tproxy".
bool is_feature_hidden(std::string_view feature);

}  // namespace pillion::netns
