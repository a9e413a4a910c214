// The supervisor's part in the network: when capture is lifted, and name files that follow the
// host's.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/loop.h"
#include "supervisor/host/capture_guard.h"
#include "supervisor/host/name_file_follower.h"

using namespace pillion;
using namespace pillion::supervisor;
using namespace pillion::supervisor::host;

namespace {

const std::string kHead = "# Written by Pillion for one service\n";

core::ServiceStatus status_with(core::ChildState proxy, bool is_ready) {
  core::ServiceStatus status;
  status.state = core::ServiceState::Running;
  core::ChildStatus child;
  child.state = proxy;
  child.is_ready = is_ready;
  status.children = {core::ChildStatus{}, child};
  return status;
}

// A directory that is gone afterwards.
struct Place {
  std::string path;
  Place() {
    char name[] = "/tmp/pillion-test-XXXXXX";
    path = ::mkdtemp(name);
    std::filesystem::create_directories(path + "/etc");
    std::filesystem::create_directories(path + "/own");
  }
  ~Place() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path + name) << text;
  }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path + name).rdbuf();
    return text.str();
  }
};

}  // namespace

TEST_CASE("capture is lifted while the proxy waits, and restored when it is ready") {
  using State = core::ChildState;
  const auto wish = [](State state, bool is_ready, bool is_lifted) {
    return choose_capture_wish(status_with(state, is_ready), 1, is_lifted);
  };
  CHECK(wish(State::Running, true, false) == CaptureWish::Keep);
  CHECK(wish(State::Backoff, false, false) == CaptureWish::Lift);
  CHECK(wish(State::Failed, false, false) == CaptureWish::Lift);
  CHECK(wish(State::Backoff, false, true) == CaptureWish::Keep);
  CHECK(wish(State::Gating, false, true) == CaptureWish::Keep);
  CHECK(wish(State::Running, false, true) == CaptureWish::Keep);
  CHECK(wish(State::Running, true, true) == CaptureWish::Restore);
  core::ServiceStatus stopping = status_with(State::Stopped, false);
  stopping.state = core::ServiceState::StoppingHelpers;
  CHECK(choose_capture_wish(stopping, 1, false) == CaptureWish::Keep);
}

TEST_CASE("name files follow the host's, in place, and only those that are there") {
  Loop loop;
  Place place;
  place.write("/etc/resolv.conf", "nameserver 192.0.2.1\n");
  place.write("/etc/hosts", "192.0.2.9 first\n");
  place.write("/own/resolv.conf", "nameserver 192.0.2.1\noptions a-long-line-that-goes-away\n");
  place.write("/own/hosts", "");
  netns::Wanted wanted;
  wanted.service = "orders";
  const auto inode = [&] {
    struct stat status {};
    REQUIRE(::stat((place.path + "/own/resolv.conf").c_str(), &status) == 0);
    return status.st_ino;
  };
  const auto before = inode();
  std::string told;
  {
    NameFileFollower follower(loop, wanted, netns::Facts{}, place.path + "/own", place.path);
    CHECK(follower.update() == "resolv.conf, hosts");
    CHECK(place.read("/own/resolv.conf") == kHead + "nameserver 192.0.2.1\n");
    CHECK(follower.update().empty());
    REQUIRE(follower.start([&](const std::string& names) {
      told = names;
      loop.stop();
    }));
    // As programs do it: a new file, renamed over the old one.
    place.write("/etc/resolv.conf.new", "nameserver 198.51.100.7\n");
    std::filesystem::rename(place.path + "/etc/resolv.conf.new", place.path + "/etc/resolv.conf");
    Timer limit(loop);
    limit.start(std::chrono::seconds(20), [&] { loop.stop(); });
    loop.run();
    limit.stop();
  }
  CHECK(told == "resolv.conf");
  CHECK(place.read("/own/resolv.conf") == kHead + "nameserver 198.51.100.7\n");
  CHECK(place.read("/own/hosts").find("192.0.2.9 first") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(place.path + "/own/helper_hosts"));
  CHECK(inode() == before);
  loop.close();
}
