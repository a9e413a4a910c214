// Results, descriptors, clocks and JSON text.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/file_replacement.h"
#include "runtime/json_text.h"
#include "runtime/result.h"

using namespace pillion;
using namespace std::chrono_literals;

namespace {

struct TemporaryDirectory {
  TemporaryDirectory() {
    char name[] = "/tmp/pillion-base-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

std::string json(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

}  // namespace

TEST_CASE("an error carries its errno and gains context once per layer") {
  const Error error = Error::from_errno("cannot open /x", ENOENT);
  CHECK(error.message() == "cannot open /x: No such file or directory");
  CHECK(error.errno_value() == ENOENT);
  CHECK(error.wrap("cannot start app").message() ==
        "cannot start app: cannot open /x: No such file or directory");
  CHECK(error.wrap("cannot start app").errno_value() == ENOENT);
}

TEST_CASE("a result is a value or an error") {
  const auto half = [](int number) -> Result<int> {
    if (number % 2 != 0) return fail("odd");
    return number / 2;
  };
  CHECK(*half(4) == 2);
  CHECK(half(3).error().message() == "odd");
}

TEST_CASE("an fd closes what it owns and moves without a second close") {
  auto pipe = make_pipe();
  REQUIRE(pipe);
  const int raw = pipe->read_end.get();
  Fd moved = std::move(pipe->read_end);
  CHECK(moved.get() == raw);
  CHECK_FALSE(pipe->read_end.is_open());
  CHECK((::fcntl(raw, F_GETFD) & FD_CLOEXEC) != 0);
  moved.reset();
  CHECK(::fcntl(raw, F_GETFD) == -1);
}

TEST_CASE("an atomic write replaces the file with its mode and leaves no temporary behind") {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/file";
  const auto survives = GENERATE(Survives::ProcessCrash, Survives::PowerLoss);
  REQUIRE(replace_file(path, "one", 0600, survives));
  REQUIRE(replace_file(path, "two", 0640, survives));
  CHECK(*read_file(path) == "two");
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
  const auto entries = std::filesystem::directory_iterator(directory.path);
  CHECK(std::distance(begin(entries), end(entries)) == 1);
}

TEST_CASE("an atomic write into a missing directory names the path") {
  const auto written = write_file_atomically("/nonexistent/dir/file", "x", 0600);
  REQUIRE_FALSE(written);
  CHECK(written.error().message().find("/nonexistent/dir/file") != std::string::npos);
  CHECK(written.error().errno_value() == ENOENT);
}

TEST_CASE("reading a file larger than the limit is an error that names the limit") {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/file";
  REQUIRE(write_file_atomically(path, std::string(100, 'x'), 0600));
  CHECK(read_file(path, 99).error().message() == "cannot read " + path + ": larger than 99 bytes");
  CHECK(read_file(path, 100)->size() == 100);
}

TEST_CASE("a manual clock moves only when told, and a wall step does not move monotonic time") {
  ManualClock clock;
  const auto start = clock.now();
  clock.step_wall(-2h);
  CHECK(clock.now() == start);
  clock.advance(5s);
  CHECK(clock.now() - start == 5s);
}

TEST_CASE("JSON strings escape controls and replace what is not UTF-8") {
  CHECK(json("plain") == "\"plain\"");
  CHECK(json("a\"b\\c\n\t\r\x01") == "\"a\\\"b\\\\c\\n\\t\\r\\u0001\"");
  CHECK(json("caf\xC3\xA9 \xF0\x9F\x98\x80") == "\"caf\xC3\xA9 \xF0\x9F\x98\x80\"");
  CHECK(json("\xC3") == "\"\xEF\xBF\xBD\"");                      // cut short
  CHECK(json("\xC0\xAF") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");      // overlong
  CHECK(json("\xED\xA0\x80").find("\xED") == std::string::npos);  // surrogate
}
