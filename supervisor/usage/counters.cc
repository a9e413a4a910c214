#include "supervisor/usage/counters.h"

#include <fcntl.h>
#include <unistd.h>

namespace pillion::supervisor::usage {
namespace {

constexpr std::size_t kFileBytesMax = 16 << 10;

}  // namespace

std::string_view CounterReader::read(const std::string& directory, const char* name) {
  if (directory.empty()) return {};
  const std::string path = directory + "/" + name;
  auto found = files_.find(path);
  if (found == files_.end()) {
    auto opened = open_file(path, O_RDONLY);
    found = files_.emplace(path, opened ? std::move(*opened) : Fd()).first;
  }
  if (!found->second) return {};
  buffer_.resize(kFileBytesMax);
  const ssize_t size = ::pread(found->second.get(), buffer_.data(), buffer_.size(), 0);
  return std::string_view(buffer_).substr(0, size > 0 ? static_cast<std::size_t>(size) : 0);
}

void CounterReader::read_cpu(Counters& counters) {
  if (!paths_.is_v2 && !paths_.cpuacct.empty()) {
    if (const auto nanoseconds = parse_number(read(paths_.cpuacct, "cpuacct.usage"))) {
      counters.cpu_microseconds = *nanoseconds / 1000;
    }
  } else {
    counters.cpu_microseconds = find_key(read(paths_.unified, "cpu.stat"), "usage_usec");
  }
  const std::string_view stat = read(paths_.cpu, "cpu.stat");
  counters.periods = find_key(stat, "nr_periods");
  counters.throttled_periods = find_key(stat, "nr_throttled");
  counters.throttled_microseconds = find_key(stat, "throttled_usec");
  if (const auto nanoseconds = find_key(stat, "throttled_time")) {
    counters.throttled_microseconds = *nanoseconds / 1000;
  }
}

void CounterReader::read_memory(Counters& counters) {
  const bool is_v2 = paths_.is_v2;
  counters.memory_bytes =
      parse_number(read(paths_.memory, is_v2 ? "memory.current" : "memory.usage_in_bytes"));
  if (counters.memory_bytes) {
    const auto idle_cache = find_key(read(paths_.memory, "memory.stat"),
                                     is_v2 ? "inactive_file" : "total_inactive_file");
    const std::uint64_t cache = std::min(idle_cache.value_or(0), *counters.memory_bytes);
    counters.working_set_bytes = *counters.memory_bytes - cache;
  }
  counters.oom_kills = oom_kills();
}

std::optional<std::uint64_t> CounterReader::oom_kills() {
  return find_key(read(paths_.memory, paths_.is_v2 ? "memory.events" : "memory.oom_control"),
                  "oom_kill");
}

void CounterReader::read_io(Counters& counters) {
  if (paths_.io.empty()) return;
  if (paths_.is_v2) {
    counters.io = parse_io_stat(read(paths_.io, "io.stat"));
    return;
  }
  IoCounters& io = counters.io.emplace();
  add_blkio(read(paths_.io, "blkio.throttle.io_service_bytes"), io.read_bytes, io.write_bytes);
  add_blkio(read(paths_.io, "blkio.throttle.io_serviced"), io.read_operations, io.write_operations);
}

Counters CounterReader::read_basic() {
  Counters counters;
  read_cpu(counters);
  read_memory(counters);
  counters.pids = parse_number(read(paths_.pids, "pids.current"));
  return counters;
}

Counters CounterReader::read_all() {
  Counters counters = read_basic();
  const bool is_v2 = paths_.is_v2;
  counters.memory_peak_bytes =
      parse_number(read(paths_.memory, is_v2 ? "memory.peak" : "memory.max_usage_in_bytes"));
  counters.swap_bytes = is_v2 ? parse_number(read(paths_.memory, "memory.swap.current"))
                              : find_key(read(paths_.memory, "memory.stat"), "total_swap");
  counters.memory_limit_hits = is_v2 ? find_key(read(paths_.memory, "memory.events"), "max")
                                     : parse_number(read(paths_.memory, "memory.failcnt"));
  read_io(counters);
  counters.cpu_pressure = parse_pressure(read(paths_.unified, "cpu.pressure"));
  counters.memory_pressure = parse_pressure(read(paths_.unified, "memory.pressure"));
  counters.io_pressure = parse_pressure(read(paths_.unified, "io.pressure"));
  return counters;
}

std::optional<Pressure> host_pressure(const std::string& resource) {
  const auto text = read_file("/proc/pressure/" + resource);
  return text ? parse_pressure(*text) : std::nullopt;
}

}  // namespace pillion::supervisor::usage
