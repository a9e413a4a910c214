#include "proxy/overload.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "runtime/fd.h"

namespace pillion::proxy {
namespace {

constexpr double kHysteresis = 0.03;
constexpr std::uint64_t kNoLimit = 1ull << 60;  // version 1 says "none" by a number near 2^63

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

struct CgroupFiles {
  std::string directory;
  const char* limit;
  const char* usage;
  const char* inactive;  // line of memory.stat
  const char* active;
};

void add(MemoryUse& use, std::uint64_t used, std::uint64_t limit) {
  if (limit == 0 || limit >= kNoLimit) return;
  const double share = static_cast<double>(used) / static_cast<double>(limit);
  if (use.limit != 0 && share <= use.share) return;
  use = {share, limit};
}

void add_cgroup(MemoryUse& use, const CgroupFiles& files) {
  const auto limit = parse_leading_number(read_text(files.directory + "/" + files.limit));
  if (!limit || *limit >= kNoLimit) return;
  const auto usage = parse_leading_number(read_text(files.directory + "/" + files.usage));
  if (!usage) return;
  const std::string stat = read_text(files.directory + "/memory.stat");
  const std::uint64_t cache = find_number(stat, files.inactive) + find_number(stat, files.active);
  add(use, *usage - std::min(cache, *usage), *limit);
}

// The group and those around it: the nearest limit counts.
void add_cgroups(MemoryUse& use, CgroupFiles files, const std::string& root, std::string path) {
  while (true) {
    files.directory = root + path;
    add_cgroup(use, files);
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos || path.size() <= 1) return;
    path.resize(slash);
  }
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

std::uint64_t excess_of(const MemoryUse& use, const config::ProxyOverload& config) {
  const double over = use.share - (config.drain_at - kHysteresis);
  return over <= 0 ? 0 : static_cast<std::uint64_t>(over * static_cast<double>(use.limit));
}

MemoryUse read_memory_use(const std::string& proc, const std::string& cgroups) {
  MemoryUse use;
  rlimit data{};
  if (getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY) {
    add(use, find_number(read_text(proc + "/status"), "VmData:") * 1024, data.rlim_cur);
  }
  const std::string lines = read_text(proc + "/cgroup");
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
      add_cgroups(use, {{}, "memory.max", "memory.current", "inactive_file ", "active_file "},
                  cgroups, path);
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      add_cgroups(use,
                  {{},
                   "memory.limit_in_bytes",
                   "memory.usage_in_bytes",
                   "total_inactive_file ",
                   "total_active_file "},
                  cgroups + "/memory", path);
    }
  }
  return use;
}

}  // namespace pillion::proxy
