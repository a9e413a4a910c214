// The kernel's log of kills for lack of memory, and the report that is made of it.
#include <catch2/catch.hpp>

#include "supervisor/usage/oom_report.h"

using namespace pillion::supervisor::usage;

namespace {

const char* const kLog =
    "6,10,5140900,-;unrelated: message\n"
    "4,11,5140901,-;python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0\n"
    "6,12,5140902,-;Tasks state (memory values in pages):\n"
    "6,13,5140903,-;[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem "
    "pgtables_bytes swapents oom_score_adj name\n"
    "6,14,5140904,-;[    700]     0   700      617      256       0      256         0    45056    "
    " "
    "   0             0 sh\n"
    "6,15,5140905,-;[    701]     0   701    19000     6000    5000     1000         0   106496    "
    " "
    "   0             0 python3\n"
    "6,16,5140906,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
    "oom_memcg=/x/pillion-orders/app.2,task_memcg=/x/pillion-orders/app.2,task=python3,pid=701,uid="
    "0\n"
    "3,17,5140907,-;Memory cgroup out of memory: Killed process 701 (python3) total-vm:76000kB, "
    "anon-rss:20000kB, file-rss:4000kB, shmem-rss:0kB, UID:0 pgtables:104kB oom_score_adj:0\n"
    " SUBSYSTEM=memory\n";

OomReport report_of_child() {
  OomReport report;
  report.service = "orders";
  report.child = "app";
  report.is_main = report.is_victim_main = true;
  report.scope = OomScope::Child;
  report.limit_bytes = 64u << 20;
  report.peak_bytes = 64u << 20;
  report.victim = ProcessUse{12, "python3", 61u << 20};
  report.top = {{12, "python3", 61u << 20}, {13, "sh", 1u << 20}};
  return report;
}

}  // namespace

TEST_CASE("the kernel's log tells who was killed, by whose limit, and who else was there") {
  const auto kills = parse_kernel_oom_kills(kLog);
  REQUIRE(kills.size() == 1);
  CHECK(kills[0].victim == ProcessUse{701, "python3", 24000u * 1024});
  CHECK(kills[0].is_by_group);
  CHECK(kills[0].limit_group == "/x/pillion-orders/app.2");
  CHECK(kills[0].victim_group == "/x/pillion-orders/app.2");
  CHECK(kills[0].at_microseconds == 5140907);
  REQUIRE(kills[0].top.size() == 2);
  CHECK(kills[0].top[0].name == "python3");
  CHECK(kills[0].top[1].name == "sh");
}

TEST_CASE("a kill of the whole group shares its cause") {
  const std::string log = std::string(kLog) +
                          "3,18,5140908,-;Memory cgroup out of memory: Killed process 700 (sh) "
                          "total-vm:2468kB, anon-rss:0kB, file-rss:1024kB, shmem-rss:0kB\n";
  const auto kills = parse_kernel_oom_kills(log);
  REQUIRE(kills.size() == 2);
  CHECK(kills[1].victim.name == "sh");
  CHECK(kills[1].limit_group == "/x/pillion-orders/app.2");
}

TEST_CASE("rubbish in the log is survived") {
  CHECK(parse_kernel_oom_kills("").empty());
  CHECK(parse_kernel_oom_kills("\n;\n,,;\n6,1,2,-;Killed process\n6,1,2,-;[x] a\n6,1,2,-;[1] \n")
            .empty());
  CHECK(parse_kernel_oom_kills("6,1,2,-;oom-kill:constraint\n6,1,2,-;Killed process 1 (").empty());
}

TEST_CASE("whose limit it was follows from the groups in the log") {
  KernelOomKill kill = parse_kernel_oom_kills(kLog).at(0);
  std::string group;
  const std::string child = "/pillion-orders/app.2";
  const std::string service = "/pillion-orders";
  CHECK(scope_from_log(kill, child, service, group) == OomScope::Child);
  kill.limit_group = "/x/pillion-orders";
  CHECK(scope_from_log(kill, child, service, group) == OomScope::Service);
  kill.limit_group = "/x";
  CHECK(scope_from_log(kill, child, service, group) == OomScope::Ancestor);
  CHECK(group == "/x");
  kill.is_by_group = false;
  CHECK(scope_from_log(kill, child, service, group) == OomScope::Host);
}

TEST_CASE("without the log, the nearest group whose limit was hit is to blame") {
  const std::vector<LimitHits> before = {{"/a/s/c", 1}, {"/a/s", 0}, {"/a", 4}};
  auto now = before;
  std::string group;
  CHECK(scope_from_hits(before, now, group) == OomScope::Host);
  now[2].count = 5;
  CHECK(scope_from_hits(before, now, group) == OomScope::Ancestor);
  CHECK(group == "/a");
  now[1].count = 1;
  CHECK(scope_from_hits(before, now, group) == OomScope::Service);
  now[0].count = 2;
  CHECK(scope_from_hits(before, now, group) == OomScope::Child);
  CHECK(scope_from_hits({}, {}, group) == OomScope::Unknown);
}

TEST_CASE("the report names cause, victim, neighbours and remedy") {
  OomReport report = report_of_child();
  CHECK(report.describe() ==
        "limits.memory = 64MiB of this child was reached (peak 64 MiB): the kernel killed python3 "
        "(pid 12, 61 MiB), the main process; beside it sh 1 MiB; raise limits.memory from 64MiB, "
        "`pillion recommend orders` says how far");
  CHECK(report.fields().at("limit") == "child");
  CHECK(report.fields().at("process") == "python3");
  report.is_victim_main = false;
  CHECK(report.describe().find("61 MiB), and with it the whole child (oom_group)") !=
        std::string::npos);
  report.is_main = false;
  CHECK(report.describe().find("61 MiB), not the main process") != std::string::npos);
  report.kills = 2;
  report.victim.reset();
  report.top.clear();
  report.scope = OomScope::Host;
  report.peak_bytes.reset();
  CHECK(report.describe() ==
        "the machine ran out of memory: the kernel killed another of its processes, 2 processes in "
        "all; limit who uses most, or add memory");
  report.scope = OomScope::Ancestor;
  report.group = "/system.slice";
  CHECK(report.describe().starts_with("the memory limit of /system.slice, above the service"));
}
