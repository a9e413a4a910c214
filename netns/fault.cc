#include "netns/fault.h"

#include <signal.h>
#include <stdlib.h>

#include <cerrno>
#include <string>

namespace pillion::netns {
namespace {

std::string_view wanted_fault() {
  const char* text = ::getenv("PILLION_NETNS_FAULT");
  return text ? text : "";
}

}  // namespace

Result<void> fault_before_step() {
  static int steps = 0;  // of this process: steps of create, capture and remove count on
  ++steps;
  const std::string_view fault = wanted_fault();
  if (fault == "fail:" + std::to_string(steps)) {
    return fail(Error("made to fail by PILLION_NETNS_FAULT", ENOBUFS));
  }
  if (fault == "kill:" + std::to_string(steps)) ::raise(SIGKILL);
  if (fault == "stop:" + std::to_string(steps)) ::raise(SIGSTOP);
  return {};
}

bool is_feature_hidden(std::string_view feature) {
  return wanted_fault() == "without:" + std::string(feature);
}

}  // namespace pillion::netns
