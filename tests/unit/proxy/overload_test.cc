// When the proxy sheds load, and what it takes for its memory limit.
#include "proxy/overload.h"
#include "proxy/shedding.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

using namespace pillion;
using namespace pillion::proxy;

namespace {

// A directory with the files of /proc/self and of cgroups.
class FakeSystem {
 public:
  FakeSystem() {
    char name[] = "/tmp/overload-XXXXXX";
    root_ = mkdtemp(name);
  }
  ~FakeSystem() { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  // A group of version 2 that the process is in.
  void write_group(const std::string& limit, const std::string& current, const std::string& stat) {
    write("proc/cgroup", "0::/a\n");
    write("cgroup/a/memory.max", limit);
    write("cgroup/a/memory.current", current);
    write("cgroup/a/memory.stat", stat);
  }
  MemoryGauge gauge() const { return MemoryGauge(root_ + "/proc", root_ + "/cgroup"); }
  MemoryUse read() const { return gauge().read(); }

 private:
  std::string root_;
};

}  // namespace

TEST_CASE("levels rise at once and fall only well below") {
  const config::ProxyOverload config;  // 0.92, 0.95
  using Level = OverloadLevel;
  CHECK(next_overload_level(Level::Normal, 0.91, config) == Level::Normal);
  CHECK(next_overload_level(Level::Normal, 0.92, config) == Level::NoKeepAlive);
  CHECK(next_overload_level(Level::Normal, 0.95, config) == Level::Refusing);
  CHECK(next_overload_level(Level::Normal, 0.99, config) == Level::Closing);
  CHECK(next_overload_level(Level::NoKeepAlive, 0.90, config) == Level::NoKeepAlive);
  CHECK(next_overload_level(Level::NoKeepAlive, 0.88, config) == Level::Normal);
  CHECK(next_overload_level(Level::Refusing, 0.93, config) == Level::Refusing);
  CHECK(next_overload_level(Level::Refusing, 0.91, config) == Level::NoKeepAlive);
  CHECK(next_overload_level(Level::Closing, 0.1, config) == Level::Normal);
}

TEST_CASE("the excess is what lies above the level of normal service") {
  const pillion::config::ProxyOverload config;  // 0.92, left at 0.89
  CHECK(excess_of({0.95, 1'000'000}, config) == Approx(60'000).margin(1));
  CHECK(excess_of({0.89, 1000}, config) == 0);
  // Where sockets count, more is given back, and earlier.
  CHECK(excess_of({0.95, 1'000'000, true}, config) == Approx(180'000).margin(1));
  CHECK(ends_largest(OverloadLevel::NoKeepAlive, {0.93, 1000, true}));
  CHECK_FALSE(ends_largest(OverloadLevel::NoKeepAlive, {0.93, 1000, false}));
  CHECK(ends_largest(OverloadLevel::Refusing, {0.95, 1000, false}));
  CHECK(excess_of({0, 0}, config) == 0);
}

TEST_CASE("the largest holders are chosen, and no more of them than needed") {
  const auto sizes_of = [](std::size_t wanted) {
    std::vector<std::size_t> sizes;
    for (const MemoryHolder& one :
         choose_largest({{20'000}, {16'383}, {90'000}, {50'000}}, wanted)) {
      sizes.push_back(one.bytes);
    }
    return sizes;
  };
  CHECK(sizes_of(0).empty());
  CHECK(sizes_of(1) == std::vector<std::size_t>{90'000});
  CHECK(sizes_of(90'001) == std::vector<std::size_t>{90'000, 50'000});
  CHECK(sizes_of(1 << 20) == std::vector<std::size_t>{90'000, 50'000, 20'000});
}

TEST_CASE("without a limit there is no overload") {
  FakeSystem system;
  system.write("proc/cgroup", "0::/a/b\n");
  system.write("cgroup/a/b/memory.max", "max\n");
  system.write("cgroup/a/b/memory.current", "1000\n");
  CHECK(system.read().limit == 0);
  CHECK(system.read().share == 0);
}

TEST_CASE("the nearest limit of the groups around counts, and page cache does not") {
  FakeSystem system;
  system.write("proc/cgroup", "0::/a/b\n");
  system.write("cgroup/a/b/memory.max", "10000\n");
  system.write("cgroup/a/b/memory.current", "6000\n");
  system.write("cgroup/a/b/memory.stat", "anon 1000\ninactive_file 1500\nactive_file 500\n");
  CHECK(system.read().share == Approx(0.4));
  system.write("cgroup/a/memory.max", "20000\n");
  system.write("cgroup/a/memory.current", "15000\n");
  system.write("cgroup/a/memory.stat", "inactive_file 0\n");
  CHECK(system.read().share == Approx(0.75));
}

TEST_CASE(
    "whether a level may be reached is told by what is in use, less the cache that was there") {
  FakeSystem system;
  system.write_group("10000\n", "9000\n", "inactive_file 5000\n");
  MemoryGauge gauge = system.gauge();
  CHECK(gauge.read().share == Approx(0.4));
  CHECK(gauge.read().counts_sockets);
  CHECK_FALSE(gauge.may_reach(0.91));
  CHECK(gauge.may_reach(0.39));
  system.write("cgroup/a/memory.current", "9999\n");
  CHECK(gauge.may_reach(0.49));
  // What was page cache may be something else by now.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(gauge.may_reach(0.99));
  CHECK_FALSE(gauge.may_reach(1.0));
}

TEST_CASE("where much is in use all the time, only growth is told, from the least that was seen") {
  FakeSystem system;
  system.write_group("256000\n", "250000\n", "");
  MemoryGauge gauge = system.gauge();
  gauge.read();
  CHECK_FALSE(gauge.has_grown());
  system.write("cgroup/a/memory.current", "251001\n");
  CHECK(gauge.has_grown());
  gauge.read();
  CHECK_FALSE(gauge.has_grown());
  system.write("cgroup/a/memory.current", "240000\n");
  CHECK_FALSE(gauge.has_grown());
  system.write("cgroup/a/memory.current", "241001\n");
  CHECK(gauge.has_grown());
}

TEST_CASE("without any limit a look is due now and then") {
  FakeSystem system;
  MemoryGauge gauge = system.gauge();
  CHECK(gauge.read().limit == 0);
  CHECK_FALSE(gauge.may_reach(0.1));
}

TEST_CASE("limits of version 1 are read too") {
  FakeSystem system;
  system.write("proc/cgroup", "3:cpu,memory:/x\n0::/y\n");
  system.write("cgroup/memory/x/memory.limit_in_bytes", "1000\n");
  system.write("cgroup/memory/x/memory.usage_in_bytes", "900\n");
  system.write("cgroup/memory/x/memory.stat", "total_inactive_file 100\n");
  system.write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(system.read().limit != 0);
  CHECK(system.read().share == Approx(0.8));
}
