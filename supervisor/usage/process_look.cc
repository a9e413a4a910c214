#include "supervisor/usage/process_look.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include <fmt/format.h>

#include "runtime/fd.h"
#include "supervisor/usage/kernel_text.h"

namespace pillion::supervisor::usage {
namespace {

std::uint64_t parse_mask(std::string_view text) {
  std::uint64_t mask = 0;
  std::from_chars(text.data(), text.data() + text.size(), mask, 16);
  return mask;
}

std::string seconds_text(Duration duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  return seconds < 10 ? fmt::format("{:.1f} s", seconds) : fmt::format("{:.0f} s", seconds);
}

std::string doing(const ProcessLook& look) {
  switch (look.state) {
    case 'R': return "runs (it is busy)";
    case 'D':
      return "is in an uninterruptible sleep" +
             (look.waits_in.empty() ? std::string() : " in " + look.waits_in);
    case 'T': return "is stopped (SIGSTOP, or a terminal)";
    case 't': return "is stopped by a debugger";
    case 'Z': return "has ended already";
    default: break;
  }
  return look.waits_in.empty() ? "sleeps" : "sleeps in " + look.waits_in;
}

// Why the signal did not end it, as far as its masks tell.
std::string reaction(const ProcessLook& look, int signal_number) {
  const std::string name = signal_text(signal_number);
  if (look.state == 'T' || look.state == 't') return name + " waits until it is continued";
  if (look.ignores(signal_number)) return name + " is ignored by it";
  if (look.blocks(signal_number)) return name + " is blocked by it";
  if (look.catches(signal_number)) return name + " is handled by it";
  if (look.is_namespace_init) {
    return name + " has no handler, and PID 1 of a namespace is not ended by default";
  }
  return name + " would have ended it by default";
}

}  // namespace

std::string signal_text(int signal_number) {
  if (const char* name = ::sigabbrev_np(signal_number)) return std::string("SIG") + name;
  return fmt::format("signal {}", signal_number);
}

std::optional<ProcessLook> parse_process(std::string_view status, std::string_view wchan) {
  ProcessLook look;
  const auto pid = parse_number(find_field(status, "Pid"));
  const std::string_view state = find_field(status, "State");
  if (!pid || state.empty()) return std::nullopt;
  look.pid = static_cast<long>(*pid);
  look.name = find_field(status, "Name");
  look.state = state.front();
  look.threads = static_cast<unsigned>(parse_number(find_field(status, "Threads")).value_or(1));
  look.pending =
      parse_mask(find_field(status, "SigPnd")) | parse_mask(find_field(status, "ShdPnd"));
  look.blocked = parse_mask(find_field(status, "SigBlk"));
  look.ignored = parse_mask(find_field(status, "SigIgn"));
  look.caught = parse_mask(find_field(status, "SigCgt"));
  const std::string_view pids = find_field(status, "NSpid");
  const auto last = pids.find_last_of(" \t");
  look.is_namespace_init =
      last != std::string_view::npos && parse_number(pids.substr(last + 1)) == std::uint64_t{1};
  if (wchan != "0") look.waits_in = wchan;
  return look;
}

std::optional<ProcessLook> look_at(long pid) {
  const std::string directory = "/proc/" + std::to_string(pid);
  const auto status = read_file(directory + "/status");
  if (!status) return std::nullopt;
  const auto wchan = read_file(directory + "/wchan");
  return parse_process(*status, wchan ? std::string_view(*wchan) : std::string_view());
}

std::vector<ProcessUse> largest_processes(const std::string& procs_file, std::size_t count_max) {
  constexpr std::size_t kLooksMax = 500;
  std::vector<ProcessUse> processes;
  const auto list = read_file(procs_file);
  if (!list) return processes;
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::string_view rest = *list;
  while (!rest.empty() && processes.size() < kLooksMax) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::string directory = "/proc/" + std::string(line);
    const auto name = read_file(directory + "/comm");
    const auto sizes = read_file(directory + "/statm");  // pages: total, resident, …
    if (!name || !sizes || sizes->find(' ') == std::string::npos) continue;
    const auto pages = parse_number(std::string_view(*sizes).substr(sizes->find(' ') + 1));
    processes.push_back({std::strtol(std::string(line).c_str(), nullptr, 10),
                         name->substr(0, name->find('\n')), pages.value_or(0) * page});
  }
  std::sort(processes.begin(), processes.end(),
            [](const auto& left, const auto& right) { return left.bytes > right.bytes; });
  if (processes.size() > count_max) processes.resize(count_max);
  return processes;
}

std::string describe_unresponsive(const std::string& child, const ProcessLook& look,
                                  int signal_number, Duration since_signal) {
  std::string text =
      signal_number == 0
          ? child + " had to be killed: "
          : fmt::format("{} had not ended {} after {}: {}, ", child, seconds_text(since_signal),
                        signal_text(signal_number), reaction(look, signal_number));
  if (look.threads > 1) {
    text += fmt::format("{} threads, the main thread {}", look.threads, doing(look));
  } else {
    text += "it " + doing(look);
  }
  return text;
}

std::string describe_leftovers(const std::string& child, const std::vector<ProcessLook>& looks) {
  std::string text = fmt::format("{} has ended but left {} process{}", child, looks.size(),
                                 looks.size() == 1 ? "" : "es");
  constexpr std::size_t kNamedMax = 5;
  for (std::size_t i = 0; i < looks.size() && i < kNamedMax; ++i) {
    text += fmt::format("{}{} (pid {}) {}", i == 0 ? ": " : ", ", looks[i].name, looks[i].pid,
                        doing(looks[i]));
  }
  return looks.size() > kNamedMax ? text + ", …" : text;
}

std::string describe_stuck(const ProcessLook& look) {
  if (look.state != 'D') return {};
  return fmt::format(
      "pid {} ({}) is in an uninterruptible sleep{}: the kernel ends it only when what it waits "
      "for "
      "comes (a disk, a network file system, a frozen group)",
      look.pid, look.name, look.waits_in.empty() ? "" : " in " + look.waits_in);
}

std::map<std::string, std::string> fields_of(const ProcessLook& look, int signal_number) {
  std::map<std::string, std::string> fields = {{"pid", std::to_string(look.pid)},
                                               {"state", std::string(1, look.state)},
                                               {"threads", std::to_string(look.threads)}};
  if (!look.waits_in.empty()) fields["wchan"] = look.waits_in;
  if (signal_number == 0) return fields;
  fields["signal"] = signal_text(signal_number);
  fields["signal_state"] = look.ignores(signal_number)   ? "ignored"
                           : look.blocks(signal_number)  ? "blocked"
                           : look.catches(signal_number) ? "handled"
                                                         : "default";
  return fields;
}

}  // namespace pillion::supervisor::usage
