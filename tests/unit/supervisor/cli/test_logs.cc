// Log records and the files that hold them.
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "supervisor/cli/log_files.h"
#include "supervisor/cli/log_records.h"
#include "supervisor/cli/logs_command.h"
#include "supervisor/control/time_text.h"

using namespace pillion;
using namespace pillion::supervisor;
using namespace pillion::supervisor::cli;

namespace {

class Directory {
 public:
  Directory() {
    char name[] = "/tmp/pillion-logs-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  void append(const std::string& file, const std::string& text) const {
    std::ofstream(path + "/" + file, std::ios::app) << text;
  }
  std::string path;
};

std::string read_all(LogFollower& follower) {
  std::string all;
  follower.read([&](std::string_view line) { all += std::string(line) + "|"; });
  return all;
}

}  // namespace

TEST_CASE("a record is taken apart") {
  const auto record = parse_log_record("2024-01-15T14:32:01.123456789Z stderr P:x:g12 two  words ");
  REQUIRE(record);
  CHECK(record->stream == "stderr");
  CHECK(record->is_partial);
  CHECK(record->generation == 12);
  CHECK(record->text == "two  words ");
  CHECK(record->time == WallTime(std::chrono::nanoseconds(1705329121123456789)));
  CHECK(parse_log_record("2024-01-15T14:32:01Z stdout F ")->text.empty());
}

TEST_CASE("what is no record is not taken for one") {
  for (const char* line :
       {"", "hello", "2024-01-15T14:32:01Z", "2024-01-15T14:32:01Z stdin F x",
        "2024-13-15T14:32:01Z stdout F x", "2024-01-15 14:32:01Z stdout F x",
        "2024-01-15T14:32:01.1234567890123Z stdout F x", "2024-01-15T14:32:01Z stdout X x"}) {
    CHECK_FALSE(parse_log_record(line));
  }
}

TEST_CASE("since is a duration ago or a time") {
  const WallTime now{std::chrono::seconds(1705329121)};
  CHECK(control::parse_since("10m", now) == now - std::chrono::minutes(10));
  CHECK(control::parse_since("2024-01-15T14:32:01Z", now) == now);
  CHECK_FALSE(control::parse_since("yesterday", now));
}

TEST_CASE("a log is read through its rotations, and each line once") {
  Directory directory;
  directory.append("app.log.2", "1\n");
  directory.append("app.log.1", "2\n");
  directory.append("app.log", "3\n4");
  CHECK(list_logged_children(directory.path) == std::vector<std::string>{"app"});
  LogFollower follower(directory.path, "app");
  CHECK(read_all(follower) == "1|2|3|");
  directory.append("app.log", "4\n5\n");
  std::filesystem::rename(directory.path + "/app.log", directory.path + "/app.log.1");
  directory.append("app.log", "6\n");
  CHECK(read_all(follower) == "44|5|6|");
  CHECK(read_all(follower).empty());
}

TEST_CASE("a log that does not exist yet is followed once it does") {
  Directory directory;
  LogFollower follower(directory.path, "app");
  CHECK(read_all(follower).empty());
  directory.append("app.log", "1\n");
  CHECK(read_all(follower) == "1|");
}
