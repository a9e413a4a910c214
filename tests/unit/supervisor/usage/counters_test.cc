// Reading the kernel's account of a group: the text formats, and both versions of cgroups imitated
// by plain directories.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "runtime/fd.h"
#include "supervisor/usage/counters.h"

using namespace pillion::supervisor::usage;

namespace {

// A directory of small files that goes with the test.
class FileTree {
 public:
  FileTree() : path_("/tmp/pillion-unit-usage-" + std::to_string(::getpid())) {
    ::mkdir(path_.c_str(), 0700);
  }
  ~FileTree() {
    for (const auto& file : files_) ::unlink(file.c_str());
    ::rmdir(path_.c_str());
  }
  void write(const std::string& name, const std::string& text) {
    files_.push_back(path_ + "/" + name);
    REQUIRE(pillion::write_file_atomically(files_.back(), text, 0600));
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

}  // namespace

TEST_CASE("pressure is read from its two lines") {
  const auto pressure = parse_pressure(
      "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n"
      "full avg10=0.50 avg60=0.00 avg300=0.00 total=77\n");
  REQUIRE(pressure);
  CHECK(pressure->some_average_10 == 1.5);
  CHECK(pressure->some_average_60 == 0.25);
  CHECK(pressure->full_average_10 == 0.5);
  CHECK(pressure->some_microseconds == 12345);
  CHECK(pressure->full_microseconds == 77);
  CHECK_FALSE(parse_pressure(""));
  CHECK_FALSE(parse_pressure("nonsense avg10=1\n"));
}

TEST_CASE("the I/O of all devices is added up, on v2 and on v1") {
  CHECK(parse_io_stat("8:0 rbytes=100 wbytes=20 rios=3 wios=2 dbytes=0 dios=0\n"
                      "254:0 rbytes=1 wbytes=2 rios=1 wios=1\n") == IoCounters{101, 22, 4, 3});
  std::uint64_t read = 0;
  std::uint64_t write = 0;
  add_blkio("8:0 Read 100\n8:0 Write 20\n8:0 Sync 5\n8:0 Total 125\n254:0 Read 1\nTotal 126\n",
            read, write);
  CHECK(read == 101);
  CHECK(write == 20);
}

TEST_CASE("rubbish in a kernel file is no number") {
  CHECK_FALSE(parse_number("max\n"));
  CHECK_FALSE(parse_number(""));
  CHECK(parse_number("42\n") == std::uint64_t{42});
  CHECK_FALSE(find_key("oom_kill_disable 0\n", "oom_kill"));
  CHECK(find_key("a 1\noom_kill 3", "oom_kill") == std::uint64_t{3});
  CHECK(find_field("Name:\tx\nState:\tS (sleeping)\n", "State") == "S (sleeping)");
  CHECK(find_field("Name:\tx\n", "State").empty());
}

TEST_CASE("a v2 group is read from one directory, again and again") {
  FileTree tree;
  tree.write("cpu.stat", "usage_usec 5000000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 900\n");
  tree.write("memory.current", "1000\n");
  tree.write("memory.stat", "anon 5\ninactive_file 300\n");
  tree.write("memory.peak", "1500\n");
  tree.write("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\n");
  tree.write("pids.current", "3\n");
  CgroupPaths paths;
  paths.is_v2 = true;
  paths.cpu = paths.memory = paths.pids = paths.io = paths.unified = tree.path();
  CounterReader reader(paths);
  const Counters counters = reader.read_all();
  CHECK(counters.cpu_microseconds == std::uint64_t{5000000});
  CHECK(counters.periods == std::uint64_t{10});
  CHECK(counters.throttled_periods == std::uint64_t{4});
  CHECK(counters.throttled_microseconds == std::uint64_t{900});
  CHECK(counters.memory_bytes == std::uint64_t{1000});
  CHECK(counters.working_set_bytes == std::uint64_t{700});
  CHECK(counters.memory_peak_bytes == std::uint64_t{1500});
  CHECK(counters.memory_limit_hits == std::uint64_t{7});
  CHECK(counters.oom_kills == std::uint64_t{2});
  CHECK(counters.pids == std::uint64_t{3});
  CHECK_FALSE(counters.swap_bytes);
  CHECK_FALSE(counters.cpu_pressure);
  CHECK(reader.read_basic().cpu_microseconds == std::uint64_t{5000000});
}

TEST_CASE("a v1 group is read from its controllers, nanoseconds become microseconds") {
  FileTree tree;
  tree.write("cpuacct.usage", "7000000\n");
  tree.write("cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 2000000\n");
  tree.write("memory.usage_in_bytes", "100\n");
  tree.write("memory.stat", "inactive_file 1\ntotal_inactive_file 400\ntotal_swap 9\n");
  tree.write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  CgroupPaths paths;
  paths.cpuacct = paths.cpu = paths.memory = tree.path();
  CounterReader reader(paths);
  const Counters counters = reader.read_all();
  CHECK(counters.cpu_microseconds == std::uint64_t{7000});
  CHECK(counters.throttled_microseconds == std::uint64_t{2000});
  CHECK(counters.working_set_bytes == std::uint64_t{0});  // never below nothing
  CHECK(counters.swap_bytes == std::uint64_t{9});
  CHECK(counters.oom_kills == std::uint64_t{1});
  CHECK_FALSE(counters.pids);
  CHECK_FALSE(counters.io);
}

TEST_CASE("without any group nothing is known") {
  CounterReader reader{CgroupPaths{}};
  const Counters counters = reader.read_all();
  CHECK_FALSE(counters.cpu_microseconds);
  CHECK_FALSE(counters.memory_bytes);
}
