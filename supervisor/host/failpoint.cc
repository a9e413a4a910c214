#include "supervisor/host/failpoint.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace pillion::supervisor::host {
namespace {

struct Failpoint {
  std::string name;  // empty = any
  long hit = 1;      // which time
  std::string mark;
  int trace = -1;
  bool can_kill = false;
};

Failpoint read_failpoint() {
  Failpoint point;
  const char* where = std::getenv("PILLION_FAILPOINT");
  const char* mark = std::getenv("PILLION_FAILPOINT_MARK");
  const char* trace = std::getenv("PILLION_FAILPOINT_TRACE");
  if (trace != nullptr)
    point.trace = ::open(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (where == nullptr || mark == nullptr) return point;
  point.name = where;
  if (const auto at = point.name.rfind('@'); at != std::string::npos) {
    point.hit = std::strtol(point.name.c_str() + at + 1, nullptr, 10);
    point.name.resize(at);
  }
  point.mark = mark;
  point.can_kill = true;
  return point;
}

Failpoint& the_failpoint() {
  static Failpoint point = read_failpoint();
  return point;
}

}  // namespace

bool failpoints_are_armed() {
  static const bool is_armed = the_failpoint().can_kill || the_failpoint().trace >= 0;
  return is_armed;
}

void reach_failpoint(std::string_view name) {
  Failpoint& point = the_failpoint();
  if (point.trace >= 0) {
    const std::string line = std::string(name) + "\n";
    static_cast<void>(!::write(point.trace, line.data(), line.size()));
  }
  if (!point.can_kill || (!point.name.empty() && point.name != name) || --point.hit != 0) return;
  const int mark = ::open(point.mark.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (mark >= 0) ::kill(::getpid(), SIGKILL);
  point.can_kill = false;
}

}  // namespace pillion::supervisor::host
