#include "proxy/overload.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "runtime/fd.h"

namespace pillion::proxy {
namespace {

constexpr double kHysteresis = 0.03;
constexpr double kSocketsHysteresis = 0.15;
constexpr std::uint64_t kNoLimit = 1ull << 60;  // version 1 says "none" by a number near 2^63
// How long what was read is good enough where a microsecond cannot tell.
constexpr std::int64_t kFreshNs = 10'000'000;
constexpr std::int64_t kFreshWithoutLimitNs = 50'000'000;

// Without streams, which take a megabyte of libstdc++ and a lock; empty when it cannot be read.
std::string read_text(const std::string& path) {
  std::string text;
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char part[4096];
  while (file) {
    const ssize_t count = ::read(file.get(), part, sizeof part);
    if (count <= 0) break;
    text.append(part, static_cast<std::size_t>(count));
  }
  return text;
}

std::optional<std::uint64_t> parse_leading_number(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  std::uint64_t number = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) {
    return std::nullopt;
  }
  return number;
}

std::optional<std::uint64_t> read_number(int fd) {
  char text[32];
  const ssize_t count = ::pread(fd, text, sizeof text, 0);
  if (count <= 0) return std::nullopt;
  return parse_leading_number({text, static_cast<std::size_t>(count)});
}

double share_of(std::uint64_t used, std::uint64_t limit) {
  return static_cast<double>(used) / static_cast<double>(limit);
}

// The number behind "name " or "name:" at the beginning of a line.
std::uint64_t find_number(std::string_view text, std::string_view name) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.substr(0, name.size()) == name) {
      return parse_leading_number(line.substr(name.size())).value_or(0);
    }
    at = end + 1;
  }
  return 0;
}

std::int64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

}  // namespace

std::string_view overload_level_name(OverloadLevel level) {
  switch (level) {
    case OverloadLevel::Normal: return "normal";
    case OverloadLevel::NoKeepAlive: return "no_keep_alive";
    case OverloadLevel::Refusing: return "refusing";
    case OverloadLevel::Closing: return "closing";
  }
  return "normal";
}

OverloadLevel next_overload_level(OverloadLevel now, double share,
                                  const config::ProxyOverload& config) {
  // Half of what is left above refuse_at is for the answers themselves.
  const double bounds[] = {config.drain_at, config.refuse_at, (config.refuse_at + 1) / 2};
  std::uint8_t level = 0;
  for (std::uint8_t i = 0; i < 3; ++i) {
    const bool is_reached = static_cast<std::uint8_t>(now) > i;
    if (share >= bounds[i] - (is_reached ? kHysteresis : 0))
      level = static_cast<std::uint8_t>(i + 1);
  }
  return static_cast<OverloadLevel>(level);
}

bool ends_largest(OverloadLevel level, const MemoryUse& use) {
  return level >= (use.counts_sockets ? OverloadLevel::NoKeepAlive : OverloadLevel::Refusing);
}

std::uint64_t excess_of(const MemoryUse& use, const config::ProxyOverload& config) {
  const double aim = config.drain_at - (use.counts_sockets ? kSocketsHysteresis : kHysteresis);
  const double over = use.share - aim;
  return over <= 0 ? 0 : static_cast<std::uint64_t>(over * static_cast<double>(use.limit));
}

// ---- MemoryGauge --------------------------------------------------------------------------------

struct MemoryGauge::Files {
  std::string directory;
  const char* limit;
  const char* usage;
  const char* inactive;  // line of memory.stat
  const char* active;
  bool counts_sockets;
};

void MemoryGauge::add(const Files& files) {
  const auto limit = parse_leading_number(read_text(files.directory + "/" + files.limit));
  if (!limit || *limit == 0 || *limit >= kNoLimit) return;
  Fd usage(::open((files.directory + "/" + files.usage).c_str(), O_RDONLY | O_CLOEXEC));
  const auto used = read_number(usage.get());
  if (!used) return;
  const std::string stat = read_text(files.directory + "/memory.stat");
  const std::uint64_t cache = find_number(stat, files.inactive) + find_number(stat, files.active);
  const double share = share_of(*used - std::min(cache, *used), *limit);
  if (use_.limit == 0 || share > use_.share) use_ = {share, *limit, files.counts_sockets};
  groups_.push_back({std::move(usage), *limit, cache, *used});
}

// The group and those around it: the nearest limit counts.
void MemoryGauge::add_with_parents(Files files, const std::string& root, std::string path) {
  while (true) {
    files.directory = root + path;
    add(files);
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos || path.size() <= 1) return;
    path.resize(slash);
  }
}

MemoryUse MemoryGauge::read() {
  use_ = {};
  groups_.clear();
  read_ns_ = monotonic_ns();
  rlimit data{};
  has_data_limit_ = getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY &&
                    data.rlim_cur > 0 && data.rlim_cur < kNoLimit;
  if (has_data_limit_) {
    const std::uint64_t used = find_number(read_text(proc_ + "/status"), "VmData:") * 1024;
    use_ = {share_of(used, data.rlim_cur), data.rlim_cur, false};
  }
  const std::string lines = read_text(proc_ + "/cgroup");
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const std::string line = lines.substr(at, end - at);
    at = end + 1;
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      add_with_parents({{}, "memory.max", "memory.current", "inactive_file ", "active_file ", true},
                       cgroups_, path);
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      add_with_parents({{},
                        "memory.limit_in_bytes",
                        "memory.usage_in_bytes",
                        "total_inactive_file ",
                        "total_active_file ",
                        false},
                       cgroups_ + "/memory", path);
    }
  }
  return use_;
}

bool MemoryGauge::may_reach(double share) const {
  const std::int64_t age = monotonic_ns() - read_ns_;
  if (groups_.empty()) return age > (has_data_limit_ ? kFreshNs : kFreshWithoutLimitNs);
  if (has_data_limit_ && age > kFreshNs) return true;
  for (const Group& group : groups_) {
    const auto used = read_number(group.usage.get());
    if (!used) return true;
    if (share_of(*used - std::min(group.cache, *used), group.limit) >= share) return true;
    // Page cache may have made room for something that stays.
    if (share_of(*used, group.limit) >= share && age > kFreshNs) return true;
  }
  return false;
}

bool MemoryGauge::has_grown() {
  constexpr std::uint64_t kSteps = 256;  // of a limit
  if (groups_.empty() || has_data_limit_) {
    const std::int64_t age = monotonic_ns() - read_ns_;
    if (age > (has_data_limit_ ? kFreshNs : kFreshWithoutLimitNs)) return true;
  }
  for (Group& group : groups_) {
    const auto used = read_number(group.usage.get());
    if (!used) return true;
    group.least = std::min(group.least, *used);
    if (*used - group.least > group.limit / kSteps) return true;
  }
  return false;
}

}  // namespace pillion::proxy
