// The way of a child's output into its log, under a reader that is killed again and again.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <new>
#include <random>
#include <string>

#include "runtime/fd.h"
#include "supervisor/host/output_reader.h"

using namespace pillion;
using namespace pillion::supervisor::host;

namespace {

constexpr unsigned kFilesMax = 60;

struct Directory {
  std::string path;
  Directory() {
    char name[] = "/tmp/pillion-reader-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Directory() {
    ::unlink(log().c_str());
    for (unsigned number = 1; number <= kFilesMax; ++number) {
      ::unlink((log() + "." + std::to_string(number)).c_str());
    }
    ::rmdir(path.c_str());
  }
  std::string log() const { return path + "/app.log"; }
};

// Line `number` has a length between a few bytes and three parts of 16 KiB, most are short.
std::string numbered_line(unsigned number) {
  const unsigned length = number % 97 == 0 ? number % 50000 : number % 211;
  return std::to_string(number) + " " + std::string(length, static_cast<char>('a' + number % 26)) +
         "\n";
}

// What the writer and the test share.
struct Shared {
  std::atomic<bool> is_enough{false};
  std::atomic<unsigned> lines{0};
};

// Writes to the pipe in pieces that end anywhere.
[[noreturn]] void write_lines(int pipe, Shared& shared) {
  std::string bytes;
  std::mt19937 random(7);
  for (unsigned number = 0; !shared.is_enough; ++number) {
    shared.lines = number + 1;
    bytes += numbered_line(number);
    const std::size_t keep = random() % 4 == 0 ? random() % 100 : 0;
    if (bytes.size() <= keep) continue;
    const std::string_view piece = std::string_view(bytes).substr(0, bytes.size() - keep);
    if (!write_all(pipe, piece)) ::_exit(1);
    bytes.erase(0, piece.size());
  }
  ::_exit(write_all(pipe, bytes) ? 0 : 1);
}

OutputReader make_reader(int pipe, const OutputJournal& journal, OutputLog& log) {
  auto adopted = OutputJournal::adopt(Fd(::fcntl(journal.file(), F_DUPFD_CLOEXEC, 3)));
  REQUIRE(adopted);
  return OutputReader(OutputStream::Stdout, pipe, std::move(*adopted), log);
}

// A supervisor: reads until it is killed.
[[noreturn]] void read_for_ever(int pipe, const OutputJournal& journal, OutputLog& log) {
  OutputReader reader = make_reader(pipe, journal, log);
  while (true) {
    if (reader.read_some(1, {})) continue;
    pollfd watched{pipe, POLLIN, 0};
    ::poll(&watched, 1, -1);
  }
}

// The lines of the log and of its rotated files, oldest first, parts put together.
std::string text_of_log(const std::string& path, std::size_t bytes_expected) {
  std::string text;
  text.reserve(bytes_expected);
  for (int number = kFilesMax; number >= 0; --number) {
    auto file = read_file(number == 0 ? path : path + "." + std::to_string(number), 256u << 20);
    if (!file) continue;
    std::string_view rest = *file;
    while (!rest.empty()) {
      const auto end = rest.find('\n');
      REQUIRE(end != std::string_view::npos);
      const std::string_view record = rest.substr(0, end);
      REQUIRE(record.size() >= 43);
      const auto tag = record.find(" stdout ");
      REQUIRE(tag == 30);
      text += record.substr(43);  // behind "F:g1 "
      if (record[38] == 'F') text += '\n';
      rest.remove_prefix(end + 1);
    }
  }
  return text;
}

}  // namespace

TEST_CASE("a reader killed hundreds of times loses no byte and writes none twice") {
  constexpr unsigned kKills = 300;
  const std::uint64_t rotate_at = GENERATE(1ull << 30, 4ull << 20);
  Directory directory;
  auto pipe = make_pipe();
  auto journal = OutputJournal::create();
  REQUIRE((pipe && journal));
  REQUIRE(set_nonblocking(pipe->read_end.get(), true));
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  Shared& shared = *new (memory) Shared;
  const pid_t writer = ::fork();
  if (writer == 0) write_lines(pipe->write_end.get(), shared);
  pipe->write_end.reset();

  std::mt19937 random(std::random_device{}());
  for (unsigned kills = 0; kills < kKills; ++kills) {
    const pid_t reader = ::fork();
    if (reader == 0) {
      OutputLog log(directory.log(), {.file_bytes_max = rotate_at, .rotated_files = kFilesMax});
      read_for_ever(pipe->read_end.get(), *journal, log);
    }
    ::usleep(static_cast<useconds_t>(random() % 1500));
    ::kill(reader, SIGKILL);
    REQUIRE(::waitpid(reader, nullptr, 0) == reader);
  }
  shared.is_enough = true;
  OutputLog log(directory.log(), {.file_bytes_max = rotate_at, .rotated_files = kFilesMax});
  OutputReader last = make_reader(pipe->read_end.get(), *journal, log);
  // Until poll says that there is no writer and nothing to read.
  for (pollfd watched{pipe->read_end.get(), POLLIN, 0};;) {
    ::poll(&watched, 1, -1);
    if ((watched.revents & POLLIN) == 0) break;
    last.read_some(1, {});
  }
  last.finish(1, {});
  int status = 0;
  REQUIRE(::waitpid(writer, &status, 0) == writer);
  REQUIRE(status == 0);

  std::string expected;
  for (unsigned number = 0; number < shared.lines; ++number) expected += numbered_line(number);
  const std::string seen = text_of_log(directory.log(), expected.size());
  CHECK(seen.size() == expected.size());
  const bool is_equal = seen == expected;
  CHECK(is_equal);
  ::munmap(memory, sizeof(Shared));
}

TEST_CASE("what a log refused is counted across readers and marked once it works again") {
  Directory directory;
  auto pipe = make_pipe();
  auto journal = OutputJournal::create();
  REQUIRE((pipe && journal));
  REQUIRE(set_nonblocking(pipe->read_end.get(), true));
  REQUIRE(write_all(pipe->write_end.get(), "one\ntwo\nthr"));
  {
    OutputLog nowhere("/nonexistent/app.log", {});
    OutputReader reader = make_reader(pipe->read_end.get(), *journal, nowhere);
    nowhere.keep_drops_in(reader.journal().kept_drops());
    while (reader.read_some(1, {})) {
    }
    CHECK(nowhere.error() == ENOENT);
    CHECK(nowhere.unmarked_drops() == 2);
  }
  REQUIRE(write_all(pipe->write_end.get(), "ee\n"));
  OutputLog log(directory.log(), {});
  OutputReader reader = make_reader(pipe->read_end.get(), *journal, log);
  log.keep_drops_in(reader.journal().kept_drops());
  while (reader.read_some(1, {})) {
  }
  const auto text = read_file(directory.log());
  REQUIRE(text);
  CHECK(text->find("[pillion: 2 records dropped") != std::string::npos);
  CHECK(text->find("stdout F:g1 three\n") != std::string::npos);
  CHECK(log.unmarked_drops() == 0);
}

TEST_CASE("each line is told after it was written, a long one in its parts") {
  Directory directory;
  auto pipe = make_pipe();
  auto journal = OutputJournal::create();
  REQUIRE((pipe && journal));
  REQUIRE(set_nonblocking(pipe->read_end.get(), true));
  const std::string part(OutputLine::kPartBytes, 'x');
  REQUIRE(write_all(pipe->write_end.get(), "a\n" + part + "tail\nlast"));
  OutputLog log(directory.log(), {});
  OutputReader reader = make_reader(pipe->read_end.get(), *journal, log);
  std::string told;
  const LineObserver observer = [&](OutputStream, std::string_view line, bool is_partial) {
    told += std::to_string(line.size()) + (is_partial ? "P " : "F ");
  };
  while (reader.read_some(1, observer)) {
  }
  CHECK(told == "1F 16384P 4F ");
  reader.finish(1, observer);
  CHECK(told == "1F 16384P 4F 4F ");
}

TEST_CASE("a rotation that ended half-way is continued without losing a file") {
  Directory directory;
  for (const char* name : {".1", ".2", ".4"}) {  // .3 had become .4 already
    REQUIRE(write_file_atomically(directory.log() + name, name, 0600));
  }
  OutputLog log(directory.log(), {.file_bytes_max = 4, .rotated_files = 4});
  log.write("old\n");
  log.write("new\n");
  CHECK(*read_file(directory.log()) == "new\n");
  CHECK(*read_file(directory.log() + ".1") == "old\n");
  CHECK(*read_file(directory.log() + ".2") == ".1");
  CHECK(*read_file(directory.log() + ".3") == ".2");
  CHECK(*read_file(directory.log() + ".4") == ".4");
}

TEST_CASE("a log that was removed or emptied by somebody is written to again") {
  Directory directory;
  OutputLog log(directory.log(), {});
  log.write("one\n");
  REQUIRE(::unlink(directory.log().c_str()) == 0);
  log.write("two\n");
  CHECK(*read_file(directory.log()) == "two\n");
  REQUIRE(::truncate(directory.log().c_str(), 0) == 0);
  log.write("three\n");
  CHECK(*read_file(directory.log()) == "three\n");
}
