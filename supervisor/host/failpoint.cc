#include "supervisor/host/failpoint.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "runtime/fd.h"

namespace pillion::supervisor::host {
namespace {

struct Failpoint {
  std::string name;  // empty = any
  long hit = 1;      // which time
  std::string mark;
  std::string victim;  // empty = this process
  int trace = -1;
  bool can_kill = false;
};

Failpoint read_failpoint() {
  Failpoint point;
  const char* where = std::getenv("PILLION_FAILPOINT");
  const char* mark = std::getenv("PILLION_FAILPOINT_MARK");
  const char* victim = std::getenv("PILLION_FAILPOINT_VICTIM");
  const char* trace = std::getenv("PILLION_FAILPOINT_TRACE");
  if (victim != nullptr) point.victim = victim;
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

// 0 when there is none. The file may be an old one: who is no child of the keeper's is a stranger.
pid_t victim_of(const Failpoint& point) {
  if (point.victim.empty()) return ::getpid();
  const auto text = read_file(point.victim);
  const long pid = text ? std::strtol(text->c_str(), nullptr, 10) : 0;
  const auto status = read_file("/proc/" + std::to_string(pid) + "/status");
  if (pid <= 0 || !status) return 0;
  const bool is_ours =
      status->find("\nPPid:\t" + std::to_string(::getppid()) + "\n") != status->npos;
  return is_ours ? static_cast<pid_t>(pid) : 0;
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
  point.can_kill = false;
  const pid_t victim = victim_of(point);
  if (victim == 0) return;
  const int mark = ::open(point.mark.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (mark >= 0) ::kill(victim, SIGKILL);
}

}  // namespace pillion::supervisor::host
