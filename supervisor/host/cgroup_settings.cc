#include "supervisor/host/cgroup_settings.h"

#include <algorithm>

#include <fmt/format.h>

namespace pillion::supervisor::host {
namespace {

// BFQ's range is 1–1000 around the same default of 100; the rest is spread as systemd does.
std::uint32_t bfq_weight(std::uint32_t weight) {
  return weight <= 100 ? weight : 100 + (weight - 100) * 900 / 9900;
}

class SettingList {
 public:
  // Writes `now` when it is there, `reset` when only `before` was.
  template<class T>
  void add(const char* key, const char* controller, const char* file, const std::optional<T>& now,
           const std::optional<T>& before, const char* reset) {
    if (now) return add(key, controller, file, fmt::format("{}", *now));
    if (before) add(key, controller, file, std::string(reset));
  }
  void add(const char* key, const char* controller, const char* file, std::string value) {
    settings_.push_back({key, controller, file, std::move(value), {}, {}});
  }
  void with_alternative(const char* file, std::string value) {
    settings_.back().alternative = file;
    settings_.back().alternative_value = std::move(value);
  }
  std::vector<CgroupSetting> take() { return std::move(settings_); }

 private:
  std::vector<CgroupSetting> settings_;
};

std::optional<std::string> text_of(const std::optional<std::uint32_t>& number,
                                   std::string (*convert)(std::uint32_t)) {
  if (!number) return std::nullopt;
  return convert(*number);
}

// Devices of `before` that `now` bounds no longer, with every bound lifted.
std::vector<CgroupIoLimit> with_lifted(std::vector<CgroupIoLimit> now,
                                       const std::vector<CgroupIoLimit>& before) {
  for (const CgroupIoLimit& old : before) {
    const bool is_kept = std::any_of(now.begin(), now.end(), [&](const CgroupIoLimit& each) {
      return each.device == old.device;
    });
    if (is_kept) continue;
    CgroupIoLimit lifted;
    lifted.path = old.path;
    lifted.device = old.device;
    lifted.problem = old.problem;
    now.push_back(std::move(lifted));
  }
  return now;
}

std::string or_max(const std::optional<std::uint64_t>& number) {
  return number ? fmt::format("{}", *number) : "max";
}

std::string v1_quota(std::uint32_t cpu_millis) {
  return fmt::format("{}", std::max<std::uint64_t>(std::uint64_t{cpu_millis} * 100, 1000));
}

std::string text_of_weight(std::uint32_t millis) {
  return fmt::format("{}", v2_cpu_weight(millis));
}
std::string text_of_shares(std::uint32_t millis) {
  return fmt::format("{}", v1_cpu_shares(millis));
}

void add_io_weight(SettingList& list, const CgroupLimits& limits, const CgroupLimits& before) {
  if (!limits.io_weight && !before.io_weight) return;
  const std::uint32_t weight = limits.io_weight.value_or(100);
  list.add("limits.io_weight", "io", "io.weight", fmt::format("default {}", weight));
  list.with_alternative("io.bfq.weight", fmt::format("default {}", bfq_weight(weight)));
}

void add_v1_memory(SettingList& list, const CgroupLimits& limits, const CgroupLimits& before) {
  const bool has_swap = limits.swap_bytes && limits.memory_bytes;
  const bool had_swap = before.swap_bytes && before.memory_bytes;
  const auto add_memory = [&] {
    list.add("limits.memory", "memory", "memory.limit_in_bytes", limits.memory_bytes,
             before.memory_bytes, "-1");
  };
  const auto add_both = [&] {
    if (has_swap) {
      list.add("limits.swap", "memory", "memory.memsw.limit_in_bytes",
               fmt::format("{}", *limits.memory_bytes + *limits.swap_bytes));
    } else if (had_swap) {
      list.add("limits.swap", "memory", "memory.memsw.limit_in_bytes", std::string("-1"));
    }
  };
  // The kernel wants memory ≤ memory and swap at every moment: what grows goes the other way round.
  const bool grows =
      had_swap && (!limits.memory_bytes || *limits.memory_bytes > before.memory_bytes.value_or(0));
  if (grows) add_both();
  add_memory();
  if (!grows) add_both();
  if (limits.swap_bytes && !limits.memory_bytes) list.add("limits.swap", "memory", "", "");
}

void add_v1_io(SettingList& list, const CgroupLimits& limits, const CgroupLimits& before) {
  if (limits.io_weight || before.io_weight) {
    const std::uint32_t weight = bfq_weight(limits.io_weight.value_or(100));
    list.add("limits.io_weight", "blkio", "blkio.bfq.weight", fmt::format("{}", weight));
    list.with_alternative("blkio.weight", fmt::format("{}", std::max(weight, 10u)));
  }
  for (const CgroupIoLimit& io : with_lifted(limits.io, before.io)) {
    const auto add = [&](const char* file, const std::optional<std::uint64_t>& number) {
      // 0 lifts a bound, which a new group does not need.
      if (number || !before.io.empty()) {
        list.add("limits.io", "blkio", file, fmt::format("{} {}", io.device, number.value_or(0)));
      }
    };
    add("blkio.throttle.read_bps_device", io.read_bytes);
    add("blkio.throttle.write_bps_device", io.write_bytes);
    add("blkio.throttle.read_iops_device", io.read_operations);
    add("blkio.throttle.write_iops_device", io.write_operations);
  }
}

}  // namespace

std::string v2_cpu_max(std::uint32_t cpu_millis) {
  return fmt::format("{} 100000", std::max<std::uint64_t>(std::uint64_t{cpu_millis} * 100, 1000));
}

std::uint32_t v2_cpu_weight(std::uint32_t cpu_millis) {
  return std::clamp<std::uint32_t>(cpu_millis / 10, 1, 10000);
}

std::uint32_t v1_cpu_shares(std::uint32_t cpu_millis) {
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(std::uint64_t{cpu_millis} * 1024 / 1000, 2, 262144));
}

std::vector<CgroupSetting> v2_settings(const CgroupLimits& limits, const CgroupLimits& before) {
  SettingList list;
  list.add("limits.cpu", "cpu", "cpu.max", text_of(limits.cpu_millis, v2_cpu_max),
           text_of(before.cpu_millis, v2_cpu_max), "max 100000");
  list.add("requests.cpu", "cpu", "cpu.weight", text_of(limits.cpu_request_millis, text_of_weight),
           text_of(before.cpu_request_millis, text_of_weight), "100");
  list.add("requests.memory_min", "memory", "memory.min", limits.memory_min_bytes,
           before.memory_min_bytes, "0");
  list.add("requests.memory", "memory", "memory.low", limits.memory_low_bytes,
           before.memory_low_bytes, "0");
  list.add("limits.memory_high", "memory", "memory.high", limits.memory_high_bytes,
           before.memory_high_bytes, "max");
  list.add("limits.memory", "memory", "memory.max", limits.memory_bytes, before.memory_bytes,
           "max");
  list.add("limits.swap", "memory", "memory.swap.max", limits.swap_bytes, before.swap_bytes, "max");
  if (limits.has_oom_group != before.has_oom_group) {
    list.add("oom_group", "memory", "memory.oom.group",
             std::string(limits.has_oom_group ? "1" : "0"));
  }
  list.add("limits.pids", "pids", "pids.max", limits.pids, before.pids, "max");
  add_io_weight(list, limits, before);
  for (const CgroupIoLimit& io : with_lifted(limits.io, before.io)) {
    list.add("limits.io", "io", "io.max",
             fmt::format("{} rbps={} wbps={} riops={} wiops={}", io.device, or_max(io.read_bytes),
                         or_max(io.write_bytes), or_max(io.read_operations),
                         or_max(io.write_operations)));
  }
  list.add("limits.cpuset", "cpuset", "cpuset.cpus", limits.cpuset, before.cpuset, "\n");
  list.add("limits.memory_nodes", "cpuset", "cpuset.mems", limits.memory_nodes, before.memory_nodes,
           "\n");
  return list.take();
}

std::vector<CgroupSetting> v1_settings(const CgroupLimits& limits, const CgroupLimits& before) {
  SettingList list;
  list.add("limits.cpu", "cpu", "cpu.cfs_quota_us", text_of(limits.cpu_millis, v1_quota),
           text_of(before.cpu_millis, v1_quota), "-1");
  list.add("requests.cpu", "cpu", "cpu.shares", text_of(limits.cpu_request_millis, text_of_shares),
           text_of(before.cpu_request_millis, text_of_shares), "1024");
  if (limits.memory_min_bytes) list.add("requests.memory_min", "memory", "", "");
  list.add("requests.memory", "memory", "memory.soft_limit_in_bytes", limits.memory_low_bytes,
           before.memory_low_bytes, "-1");
  if (limits.memory_high_bytes) list.add("limits.memory_high", "memory", "", "");
  add_v1_memory(list, limits, before);
  list.add("limits.pids", "pids", "pids.max", limits.pids, before.pids, "max");
  add_v1_io(list, limits, before);
  list.add("limits.cpuset", "cpuset", "cpuset.cpus", limits.cpuset, before.cpuset, "");
  list.add("limits.memory_nodes", "cpuset", "cpuset.mems", limits.memory_nodes, before.memory_nodes,
           "");
  return list.take();
}

}  // namespace pillion::supervisor::host
