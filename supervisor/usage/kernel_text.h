// The small text formats of control groups and /proc, parsed. Pure; what a text does not say is
// empty, never an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pillion::supervisor::usage {

// The number that is all of a file; empty for "max" and for rubbish.
std::optional<std::uint64_t> parse_number(std::string_view text);

// The number behind `key` in lines of "key value" (cpu.stat, memory.events, memory.oom_control).
std::optional<std::uint64_t> find_key(std::string_view text, std::string_view key);

// The value behind "Key:" in lines of "Key:\tvalue" (/proc/PID/status), blanks around it taken off.
std::string_view find_field(std::string_view text, std::string_view key);

// Pressure stall information: shares of time (0–100) in which some or all tasks waited for the
// resource, and the time since the group was made.
struct Pressure {
  double some_average_10 = 0;
  double some_average_60 = 0;
  double full_average_10 = 0;
  double full_average_60 = 0;
  std::uint64_t some_microseconds = 0;
  std::uint64_t full_microseconds = 0;
  bool operator==(const Pressure&) const = default;
};
// "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and "full …" (Documentation/accounting/psi.rst).
std::optional<Pressure> parse_pressure(std::string_view text);

struct IoCounters {
  std::uint64_t read_bytes = 0;
  std::uint64_t write_bytes = 0;
  std::uint64_t read_operations = 0;
  std::uint64_t write_operations = 0;
  bool operator==(const IoCounters&) const = default;
};
// All devices of io.stat (v2): "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0".
IoCounters parse_io_stat(std::string_view text);
// All devices of blkio.throttle.io_service_bytes or …io_serviced (v1): "8:0 Read 4096"; the pair of
// numbers goes to the bytes or the operations.
void add_blkio(std::string_view text, std::uint64_t& read, std::uint64_t& write);

}  // namespace pillion::supervisor::usage
