// The CRI records of captured output, and their rotation.
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "runtime/fd.h"
#include "supervisor/host/output_log.h"

using namespace pillion;
using namespace pillion::supervisor::host;

namespace {

struct Part {
  std::string line;
  bool is_partial;
  bool operator==(const Part&) const = default;
};

std::vector<Part> split(const std::vector<std::string>& chunks) {
  std::vector<Part> parts;
  std::string rest;
  const auto take = [&](bool is_end) {
    while (const auto line = first_line(rest, is_end)) {
      parts.push_back({std::string(line->text), line->is_partial});
      rest.erase(0, line->consumed);
    }
  };
  for (const auto& chunk : chunks) {
    rest += chunk;
    take(false);
  }
  take(true);
  return parts;
}

}  // namespace

TEST_CASE("a record is framed as the container runtime interface frames it") {
  const WallTime time{std::chrono::nanoseconds(1705329121123456789)};
  CHECK(frame_record(time, OutputStream::Stdout, false, 3, "the line") ==
        "2024-01-15T14:32:01.123456789Z stdout F:g3 the line\n");
  CHECK(frame_record(WallTime{std::chrono::seconds(1)}, OutputStream::Stderr, true, 1, "") ==
        "1970-01-01T00:00:01.000000000Z stderr P:g1 \n");
}

TEST_CASE("bytes are cut into lines wherever the reads fall") {
  CHECK(split({"a\nb", "c\n", "\n", "d"}) ==
        std::vector<Part>{{"a", false}, {"bc", false}, {"", false}, {"d", false}});
}

TEST_CASE("a line longer than 16 KiB comes in parts") {
  const std::string part(OutputLine::kPartBytes, 'x');
  CHECK(split({part + part + "end\n"}) ==
        std::vector<Part>{{part, true}, {part, true}, {"end", false}});
  CHECK(split({part + "\n"}) == std::vector<Part>{{part, false}});
}

TEST_CASE("the log rotates by rename and keeps a bounded number of files") {
  char directory[] = "/tmp/pillion-log-XXXXXX";
  REQUIRE(::mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/app.log";
  {
    OutputLog log(path, {.file_bytes_max = 10, .rotated_files = 2});
    for (const char* record : {"1234567\n", "abcdefg\n", "ABCDEFG\n", "last...\n"})
      log.write(record);
    CHECK(log.dropped_records() == 0);
  }
  CHECK(*read_file(path) == "last...\n");
  CHECK(*read_file(path + ".1") == "ABCDEFG\n");
  CHECK(*read_file(path + ".2") == "abcdefg\n");
  CHECK_FALSE(read_file(path + ".3"));
  for (const char* suffix : {"", ".1", ".2"}) ::unlink((path + suffix).c_str());
  CHECK(::rmdir(directory) == 0);
}

TEST_CASE("what the disk refuses is counted and marked") {
  OutputLog log("/nonexistent/app.log", {});
  log.write("x\n");
  CHECK(log.dropped_records() == 1);
}
