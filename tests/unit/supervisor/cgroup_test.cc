// The cgroup backends against directories that imitate v1, v2 and hybrid machines.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "runtime/fd.h"
#include "supervisor/host/block_device.h"
#include "supervisor/host/cgroup_detect.h"
#include "supervisor/host/cgroup_files.h"
#include "supervisor/host/cgroup_settings.h"
#include "supervisor/host/cgroup_v1.h"
#include "supervisor/host/cgroup_v2.h"

using namespace pillion::supervisor::host;

TEST_CASE("a pure v2 machine is recognised") {
  const auto layout =
      parse_cgroup_layout("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
                          "0::/system.slice/pillion@orders.service\n");
  CHECK(layout.v1_bases.empty());
  CHECK(layout.v2_mount == "/sys/fs/cgroup");
  CHECK(cgroup_directory(layout.v2_mount, layout.v2_root, layout.v2_own) ==
        "/sys/fs/cgroup/system.slice/pillion@orders.service");
}

TEST_CASE("a hybrid machine has limits in v1 and tracking in v2") {
  const auto layout = parse_cgroup_layout(
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:32 / /sys/fs/cgroup/memory rw shared:4 - cgroup cgroup rw,memory\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "9:name=systemd:/init.scope\n4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n");
  CHECK(layout.v2_mount == "/sys/fs/cgroup/unified");
  REQUIRE(layout.v1_bases.size() == 3);
  CHECK(layout.v1_bases.at("memory") == "/sys/fs/cgroup/memory/a/b");
  CHECK(layout.v1_bases.at("cpu") == "/sys/fs/cgroup/cpu,cpuacct");
  CHECK(layout.v1_bases.at("cpuacct") == layout.v1_bases.at("cpu"));
}

TEST_CASE("our group is found below a mount whose root is not the top of the hierarchy") {
  CHECK(cgroup_directory("/m", "/docker/abc", "/docker/abc/x") == "/m/x");
  CHECK(cgroup_directory("/m", "/docker/abc", "/docker/abc") == "/m");
  CHECK(cgroup_directory("/m", "/docker/abc", "/elsewhere") == "/m");
  CHECK(cgroup_directory("/m", "/", "/../..") == "/m");
}

TEST_CASE("rubbish in proc files is survived") {
  const auto layout = parse_cgroup_layout("x\n\n - \n1 2 3 4 5 6 - cgroup\n", ":::\nabc\n");
  CHECK(layout.v1_bases.empty());
  CHECK(layout.v2_mount.empty());
}

TEST_CASE("CPU quantities become the kernel's numbers") {
  CHECK(v2_cpu_max(500) == "50000 100000");
  CHECK(v2_cpu_max(2000) == "200000 100000");
  CHECK(v2_cpu_max(1) == "1000 100000");
  CHECK(v2_cpu_weight(1000) == 100);
  CHECK(v2_cpu_weight(1) == 1);
  CHECK(v1_cpu_shares(1000) == 1024);
  CHECK(v1_cpu_shares(1) == 2);
}

namespace {

std::vector<std::string> lines_of(const std::vector<CgroupSetting>& settings) {
  std::vector<std::string> lines;
  for (const auto& each : settings) lines.push_back(each.file + " = " + each.value);
  return lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("limits become the files of cgroup v2, and are lifted by the kernel's words for none") {
  CgroupLimits limits;
  limits.cpu_millis = 1500;
  limits.cpu_request_millis = 500;
  limits.memory_bytes = 1000;
  limits.memory_high_bytes = 900;
  limits.memory_low_bytes = 500;
  limits.memory_min_bytes = 100;
  limits.swap_bytes = 0;
  limits.pids = 7;
  limits.io_weight = 300;
  limits.cpuset = "0-1";
  limits.memory_nodes = "0";
  limits.has_oom_group = true;
  CgroupIoLimit io;
  io.path = "/dev/x";
  io.device = "8:0";
  io.read_bytes = 1024;
  io.write_operations = 10;
  limits.io = {io};
  CHECK(lines_of(v2_settings(limits, {})) ==
        Lines{"cpu.max = 150000 100000", "cpu.weight = 50", "memory.min = 100", "memory.low = 500",
              "memory.high = 900", "memory.max = 1000", "memory.swap.max = 0",
              "memory.oom.group = 1", "pids.max = 7", "io.weight = default 300",
              "io.max = 8:0 rbps=1024 wbps=max riops=max wiops=10", "cpuset.cpus = 0-1",
              "cpuset.mems = 0"});
  CHECK(lines_of(v2_settings({}, limits)) ==
        Lines{"cpu.max = max 100000", "cpu.weight = 100", "memory.min = 0", "memory.low = 0",
              "memory.high = max", "memory.max = max", "memory.swap.max = max",
              "memory.oom.group = 0", "pids.max = max", "io.weight = default 100",
              "io.max = 8:0 rbps=max wbps=max riops=max wiops=max", "cpuset.cpus = \n",
              "cpuset.mems = \n"});
  CHECK(v2_settings(limits, {})[9].alternative_value == "default 118");  // systemd's BFQ scale
}

TEST_CASE("limits become the files of cgroup v1, memory and swap in the order the kernel takes") {
  CgroupLimits limits;
  limits.cpu_millis = 500;
  limits.memory_bytes = 1000;
  limits.swap_bytes = 200;
  limits.pids = 7;
  limits.io_weight = 50;
  CgroupIoLimit io;
  io.device = "8:0";
  io.write_bytes = 4096;
  limits.io = {io};
  CHECK(lines_of(v1_settings(limits, {})) ==
        Lines{"cpu.cfs_quota_us = 50000", "memory.limit_in_bytes = 1000",
              "memory.memsw.limit_in_bytes = 1200", "pids.max = 7", "blkio.bfq.weight = 50",
              "blkio.throttle.write_bps_device = 8:0 4096"});
  CgroupLimits larger;
  larger.memory_bytes = 3000;
  larger.swap_bytes = 200;
  CgroupLimits smaller = larger;
  smaller.memory_bytes = 1000;
  CHECK(lines_of(v1_settings(larger, smaller)) ==
        Lines{"memory.memsw.limit_in_bytes = 3200", "memory.limit_in_bytes = 3000"});
  CHECK(lines_of(v1_settings(smaller, larger)) ==
        Lines{"memory.limit_in_bytes = 1000", "memory.memsw.limit_in_bytes = 1200"});
  CHECK(lines_of(v1_settings({}, larger)) ==
        Lines{"memory.memsw.limit_in_bytes = -1", "memory.limit_in_bytes = -1"});
  CHECK(lines_of(v1_settings({}, limits)).back() == "blkio.throttle.write_iops_device = 8:0 0");
}

TEST_CASE("what a machine lacks is named with the key and the reason") {
  const std::string base = "/tmp/pillion-unit-lacking-" + std::to_string(::getpid());
  REQUIRE(make_cgroup(base));
  const auto make = [&](const char* name) {
    REQUIRE(pillion::write_file_atomically(base + "/" + name, "", 0600));
  };
  make("memory.limit_in_bytes");
  CgroupsV1 cgroups({{"memory", base}}, nullptr);
  CgroupLimits limits;
  limits.memory_bytes = 1000;
  limits.swap_bytes = 0;
  limits.memory_high_bytes = 500;
  limits.cpu_millis = 1;
  CgroupIoLimit io;
  io.path = "/proc";
  io.problem = "/proc lies on no block device";
  limits.io = {io};
  CHECK(cgroups.unenforced(limits) ==
        std::vector<UnenforcedSetting>{
            {"limits.cpu", "the cpu controller is not available"},
            {"limits.memory_high", "cgroup v1 has no such limit"},
            {"limits.swap", "this kernel's memory controller has no memory.memsw.limit_in_bytes"},
            {"limits.io of /proc", "/proc lies on no block device"}});
  limits.memory_bytes.reset();
  limits.io.clear();
  const auto alone = cgroups.unenforced(limits);
  CHECK(alone.back().reason ==
        "cgroup v1 limits swap only together with memory: set limits.memory too");
  CHECK(make_no_cgroups("why")->unenforced(limits).size() == 3);
  ::unlink((base + "/memory.limit_in_bytes").c_str());
  ::rmdir(base.c_str());
}

TEST_CASE("a path finds the disk below it, and one without a disk says so") {
  const auto none = find_block_device("/proc/self");
  REQUIRE_FALSE(none);
  CHECK(none.error().message() == "/proc/self lies on no block device");
  const auto missing = find_block_device("/nowhere/at/all");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message() == "cannot find /nowhere/at/all: No such file or directory");
}

TEST_CASE("a key of a flat file is matched as a whole word") {
  const char* text = "low 0\noom 4\noom_kill 2\n";
  CHECK(find_cgroup_key(text, "oom_kill") == 2);
  CHECK(find_cgroup_key(text, "oom") == 4);
  CHECK(find_cgroup_key(text, "max") == 0);
}

TEST_CASE("the machine's own backend makes, limits and removes a leaf", "[root]") {
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  auto cgroups = detect_cgroups("unit-" + std::to_string(::getpid()), 0);
  if (!cgroups->can_track()) {
    WARN("skipped: " << cgroups->describe());
    return;
  }
  CgroupLimits limits;
  limits.memory_bytes = 64u << 20;
  limits.cpu_millis = 500;
  limits.pids = 20;
  const auto made = cgroups->create("app.1", limits);
  INFO((made ? std::string() : made.error().message()));
  REQUIRE(made);
  CHECK(cgroups->leaves() == std::vector<std::string>{"app.1"});
  CHECK(cgroups->is_empty("app.1"));
  CHECK(cgroups->unenforced(limits).empty());
  CgroupLimits larger = limits;
  larger.memory_bytes = 128u << 20;
  larger.pids.reset();
  CHECK(cgroups->update("app.1", larger, limits));
  const auto paths = cgroups->paths("app.1");
  const std::string limit_file = paths.is_v2 ? "/memory.max" : "/memory.limit_in_bytes";
  CHECK(read_cgroup_number(paths.memory + limit_file) == 128u << 20);
  CHECK(read_cgroup_number(paths.pids + "/pids.max") == 0);  // "max"
  CHECK(cgroups->oom_kills("app.1") == 0);
  CHECK(cgroups->entry("app.1"));
  CHECK(cgroups->remove("app.1"));
  CHECK(cgroups->remove_base());
}

TEST_CASE("without v2, a v1 group is frozen, killed and thawed", "[root]") {
  const auto mountinfo = pillion::read_file("/proc/self/mountinfo");
  const auto membership = pillion::read_file("/proc/self/cgroup");
  REQUIRE(mountinfo);
  REQUIRE(membership);
  auto layout = parse_cgroup_layout(*mountinfo, *membership);
  if (::geteuid() != 0 || !layout.v1_bases.contains("freezer")) {
    WARN("skipped: needs root and a v1 freezer");
    return;
  }
  std::map<std::string, std::string> bases;
  for (const char* controller : {"freezer", "memory"}) {
    if (!layout.v1_bases.contains(controller)) continue;
    bases[controller] =
        layout.v1_bases[controller] + "/pillion-unit-v1-" + std::to_string(::getpid());
  }
  CgroupsV1 cgroups(bases, nullptr);
  REQUIRE(cgroups.create("app.1", {}));
  const auto entry = cgroups.entry("app.1");
  REQUIRE(entry);
  CHECK_FALSE(entry->v2_directory);
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  for (const auto& file : entry->join_files) {
    REQUIRE(write_cgroup_file(file, std::to_string(child)));
  }
  CHECK(cgroups.contains("app.1", child));
  CHECK_FALSE(cgroups.is_empty("app.1"));
  CHECK_FALSE(cgroups.remove("app.1"));
  const std::string state = bases.at("freezer") + "/app.1/freezer.state";
  CHECK(cgroups.freeze("app.1", true));
  CHECK_FALSE(pillion::read_file(state)->starts_with("THAWED"));
  CHECK(cgroups.freeze("app.1", false));
  CHECK(pillion::read_file(state)->starts_with("THAWED"));
  CHECK(cgroups.freeze("app.1", true));  // who is frozen dies all the same
  cgroups.kill("app.1");
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(cgroups.is_empty("app.1"));
  CHECK(cgroups.remove("app.1"));
  CHECK(cgroups.remove_base());
}
