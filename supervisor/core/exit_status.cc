// How the end of a process is told: as an exit code and in words.
#include <csignal>

#include <fmt/format.h>

#include "supervisor/core/events.h"

namespace pillion::supervisor::core {

int ExitStatus::exit_code() const {
  switch (kind) {
    case Kind::Exited: return value;
    case Kind::Signaled: return 128 + value;
    case Kind::Unknown: break;
  }
  return 255;
}

namespace {
const char* signal_name(int number) {
  switch (number) {
    case SIGHUP: return "HUP";
    case SIGINT: return "INT";
    case SIGQUIT: return "QUIT";
    case SIGILL: return "ILL";
    case SIGABRT: return "ABRT";
    case SIGBUS: return "BUS";
    case SIGFPE: return "FPE";
    case SIGKILL: return "KILL";
    case SIGSEGV: return "SEGV";
    case SIGPIPE: return "PIPE";
    case SIGTERM: return "TERM";
    case SIGSYS: return "SYS";
    default: return nullptr;
  }
}
}  // namespace

std::string ExitStatus::describe() const {
  switch (kind) {
    case Kind::Exited: return fmt::format("exited with {}", value);
    case Kind::Signaled: {
      const char* name = signal_name(value);
      return fmt::format("was killed by signal {}{}{}", name ? "SIG" : "",
                         name ? name : std::to_string(value),
                         is_oom_kill ? " (out of memory)" : "");
    }
    case Kind::Unknown: break;
  }
  return "ended, its exit status is lost";
}

std::string ExitStatus::explain() const {
  return detail.empty() ? describe() : describe() + ": " + detail;
}

}  // namespace pillion::supervisor::core
