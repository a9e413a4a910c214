// The cgroup backends against directories that imitate v1, v2 and hybrid machines.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "runtime/fd.h"
#include "supervisor/host/cgroup_detect.h"
#include "supervisor/host/cgroup_files.h"
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
  cgroups.kill("app.1");
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(cgroups.is_empty("app.1"));
  CHECK(cgroups.remove("app.1"));
  CHECK(cgroups.remove_base());
}
