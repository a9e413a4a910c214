// What a process is doing that does not end: read from /proc before it is killed, so that the
// warning says why instead of only that.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"
#include "supervisor/usage/kernel_oom.h"

namespace pillion::supervisor::usage {

struct ProcessLook {
  long pid = 0;
  std::string name;
  char state = '?';  // R S D T t Z, as in proc(5)
  unsigned threads = 0;
  std::uint64_t pending = 0;  // signal masks; bit 0 is signal 1
  std::uint64_t blocked = 0;
  std::uint64_t ignored = 0;
  std::uint64_t caught = 0;
  bool is_namespace_init = false;  // PID 1 of its namespace
  std::string waits_in;            // kernel function of the main thread; empty = unknown or running

  bool blocks(int signal_number) const { return has(blocked, signal_number); }
  bool ignores(int signal_number) const { return has(ignored, signal_number); }
  bool catches(int signal_number) const { return has(caught, signal_number); }

 private:
  static bool has(std::uint64_t mask, int signal_number) {
    return signal_number > 0 && signal_number <= 64 && ((mask >> (signal_number - 1)) & 1) != 0;
  }
};

// `status` is /proc/PID/status, `wchan` /proc/PID/wchan.
std::optional<ProcessLook> parse_process(std::string_view status, std::string_view wchan);
std::optional<ProcessLook> look_at(long pid);
// The processes of a group by their resident memory, largest first, at most `count_max`; looks at
// no more than 500 of them. `procs_file` lists their pids.
std::vector<ProcessUse> largest_processes(const std::string& procs_file, std::size_t count_max);

// "app had not ended 14 s after SIGTERM: SIGTERM is ignored by it, 5 threads, the main thread
// sleeps in futex_wait". Without a signal: "app had to be killed: …".
std::string describe_unresponsive(const std::string& child, const ProcessLook& look,
                                  int signal_number, Duration since_signal);
// Of a child whose main process has ended but left others: "app has left 2 processes: sh (pid 5)…".
std::string describe_leftovers(const std::string& child, const std::vector<ProcessLook>& looks);
// "pid 12 (dd) is in an uninterruptible sleep in the kernel (io_schedule): …"; empty when it is
// not.
std::string describe_stuck(const ProcessLook& look);

std::map<std::string, std::string> fields_of(const ProcessLook& look, int signal_number);

// "SIGTERM"
std::string signal_text(int signal_number);

}  // namespace pillion::supervisor::usage
