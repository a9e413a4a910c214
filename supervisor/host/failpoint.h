// Points at which a test kills the supervisor, or one of its children, to prove that nothing is
// lost there. Set by the environment, for debugging only; without it a point costs one comparison.
//
//   PILLION_FAILPOINT=before:Spawn     die when this point is reached
//   PILLION_FAILPOINT=before:Spawn@3   … for the third time
//   PILLION_FAILPOINT=@17              die at the 17th point of any name
//   PILLION_FAILPOINT_MARK=FILE        required: created before dying; once it exists nothing dies
//   PILLION_FAILPOINT_VICTIM=FILE      not this process dies, but the one whose pid is in FILE
//   PILLION_FAILPOINT_TRACE=FILE       the names of all points reached are appended to it
#pragma once

#include <string_view>

namespace pillion::supervisor::host {

bool failpoints_are_armed();
void reach_failpoint(std::string_view name);

inline void failpoint(std::string_view name) {
  if (failpoints_are_armed()) reach_failpoint(name);
}

}  // namespace pillion::supervisor::host
