// The way of a child's output into its log, under a reader that is killed again and again.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <thread>

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

using Log = std::shared_ptr<OutputLog>;
using Step = OutputReader::Step;

Log make_log(const std::string& path, OutputLogLimits limits = {}) {
  return std::make_shared<OutputLog>(path, limits);
}

OutputReader make_reader(int pipe, const OutputJournal& journal, const Log& log,
                         bool drops = false) {
  auto adopted = OutputJournal::adopt(Fd(::fcntl(journal.file(), F_DUPFD_CLOEXEC, 3)));
  REQUIRE(adopted);
  auto queue = std::make_shared<OutputQueue>(OutputStream::Stdout, std::move(*adopted), log);
  queue->begin(1);
  log->keep_drops_in(queue->kept_drops());
  return OutputReader(pipe, std::move(queue), drops);
}

void write_all_of(const OutputReader& reader) {
  while (reader.queue()->write_some()) {
  }
}

// Reads what is in the pipe and writes it.
void copy(OutputReader& reader, const LineObserver& observer = {}) {
  while (reader.read_some(1, observer) == Step::Read) write_all_of(reader);
  write_all_of(reader);
}

// A supervisor: reads until it is killed, and a thread of it writes.
[[noreturn]] void read_for_ever(int pipe, const OutputJournal& journal, const Log& log) {
  OutputReader reader = make_reader(pipe, journal, log);
  std::thread([&] {
    while (true) {
      if (!reader.queue()->write_some()) ::usleep(50);
    }
  }).detach();
  while (true) {
    if (reader.read_some(1, {}) == Step::Read) continue;
    pollfd watched{pipe, POLLIN, 0};
    ::poll(&watched, 1, 1);
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
      read_for_ever(
          pipe->read_end.get(), *journal,
          make_log(directory.log(), {.file_bytes_max = rotate_at, .rotated_files = kFilesMax}));
    }
    ::usleep(static_cast<useconds_t>(random() % 1500));
    ::kill(reader, SIGKILL);
    REQUIRE(::waitpid(reader, nullptr, 0) == reader);
  }
  shared.is_enough = true;
  const Log log =
      make_log(directory.log(), {.file_bytes_max = rotate_at, .rotated_files = kFilesMax});
  OutputReader last = make_reader(pipe->read_end.get(), *journal, log);
  // Until poll says that there is no writer and nothing to read.
  for (pollfd watched{pipe->read_end.get(), POLLIN, 0};;) {
    ::poll(&watched, 1, -1);
    if ((watched.revents & POLLIN) == 0) break;
    copy(last);
  }
  last.finish(1, {});
  write_all_of(last);
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

namespace {

struct Lab {
  Directory directory;
  Pipe pipe;
  std::optional<OutputJournal> journal;

  explicit Lab(std::uint64_t capacity = OutputJournal::kCapacityMin) {
    auto made = make_pipe();
    auto ring = OutputJournal::create(capacity);
    REQUIRE((made && ring));
    pipe = std::move(*made);
    journal.emplace(std::move(*ring));
    REQUIRE(set_nonblocking(pipe.read_end.get(), true));
  }
  OutputReader reader(const Log& log, bool drops = false) {
    return make_reader(pipe.read_end.get(), *journal, log, drops);
  }
  void say(const std::string& text) { REQUIRE(write_all(pipe.write_end.get(), text)); }
  std::string text() const { return read_file(directory.log()).value_or(""); }
};

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Reads until the pipe is empty, without a writer; how often a read took something.
int read_only(OutputReader& reader) {
  int reads = 0;
  while (reader.read_some(1, {}) == Step::Read) ++reads;
  return reads;
}

}  // namespace

TEST_CASE("what a log refused is counted across readers and marked once it works again") {
  Lab lab;
  lab.say("one\ntwo\nthr");
  {
    const Log nowhere = make_log("/nonexistent/app.log");
    OutputReader reader = lab.reader(nowhere);
    copy(reader);
    CHECK(nowhere->error() == ENOENT);
    CHECK(nowhere->unmarked_drops() == 2);
  }
  lab.say("ee\n");
  const Log log = make_log(lab.directory.log());
  OutputReader reader = lab.reader(log);
  copy(reader);
  CHECK(lab.text().find("[pillion: 2 records dropped") != std::string::npos);
  CHECK(lab.text().find("stdout F:g1 three\n") != std::string::npos);
  CHECK(log->unmarked_drops() == 0);
}

TEST_CASE("each line is told when it was read, a long one in its parts") {
  Lab lab;
  const std::string part(OutputLine::kPartBytes, 'x');
  lab.say("a\n" + part + "tail\nlast");
  OutputReader reader = lab.reader(make_log(lab.directory.log()));
  std::string told;
  const LineObserver observer = [&](OutputStream, std::string_view line, bool is_partial) {
    told += std::to_string(line.size()) + (is_partial ? "P " : "F ");
  };
  while (reader.read_some(1, observer) == Step::Read) {
  }
  CHECK(told == "1F 16384P 4F ");
  reader.finish(1, observer);
  CHECK(told == "1F 16384P 4F 4F ");
  write_all_of(reader);
  CHECK(lab.text().ends_with("stdout F:g1 last\n"));
}

TEST_CASE("lines that come while nothing is written keep the time and generation of their read") {
  Lab lab;
  OutputReader reader = lab.reader(make_log(lab.directory.log()));
  lab.say("first\n");
  REQUIRE(reader.read_some(1, {}) == Step::Read);
  ::usleep(5000);
  lab.say("second\n");
  REQUIRE(reader.read_some(2, {}) == Step::Read);
  write_all_of(reader);
  const std::string text = lab.text();
  CHECK(text.find("stdout F:g1 first\n") != std::string::npos);
  CHECK(text.find("stdout F:g2 second\n") != std::string::npos);
  CHECK(text.substr(0, 30) < text.substr(text.find('\n') + 1, 30));
}

TEST_CASE("a log that does not keep up loses whole records, counted and marked where they were") {
  Lab lab;
  const Log log = make_log(lab.directory.log());
  OutputReader reader = lab.reader(log, true);
  // More than the ring takes, and the writer does nothing; then it works again.
  const std::string line(99, 'x');
  unsigned said = 0;
  for (; said < 3000; ++said) {
    lab.say(std::to_string(100000 + said) + line + "\n");
    if (said % 100 == 99) CHECK(read_only(reader) > 0);  // the pipe is always drained
  }
  CHECK(lab.text().empty());
  const std::uint64_t dropped = reader.queue()->dropped_records();
  CHECK(dropped > 2000);
  write_all_of(reader);
  lab.say("after\n");
  copy(reader);
  const std::string text = lab.text();
  const std::string marker =
      "[pillion: " + std::to_string(dropped) + " records dropped, the log could not keep up]\n";
  CHECK(count_of(text, "records dropped") == 1);
  CHECK(text.find(marker) != std::string::npos);
  CHECK(text.find(marker) < text.find("F:g1 after\n"));
  // Every record is there or counted; one was cut, which counts as dropped.
  CHECK(count_of(text, "stdout") == said - dropped + 2);
}

TEST_CASE("records that were dropped are marked although the supervisor was killed meanwhile") {
  Lab lab;
  std::uint64_t dropped = 0;
  {
    OutputReader reader = lab.reader(make_log(lab.directory.log()), true);
    for (int i = 0; i < 40; ++i) {
      lab.say(std::string(4000, 'y') + "\n");
      read_only(reader);
    }
    dropped = reader.queue()->dropped_records();
  }
  REQUIRE(dropped > 10);
  OutputReader reader = lab.reader(make_log(lab.directory.log()), true);
  copy(reader);
  CHECK(lab.text().find("[pillion: " + std::to_string(dropped) + " records dropped") !=
        std::string::npos);
  OutputReader another = lab.reader(make_log(lab.directory.log()), true);
  copy(another);
  CHECK(count_of(lab.text(), "records dropped") == 1);
}

TEST_CASE("a reader that must not drop leaves the rest in the pipe") {
  Lab lab;
  OutputReader reader = lab.reader(make_log(lab.directory.log()));
  std::string expected;
  for (int i = 0; i < 30; ++i) {
    expected += std::string(4000, 'z') + "\n";
    lab.say(std::string(4000, 'z') + "\n");
    read_only(reader);
    if (reader.read_some(1, {}) == Step::Full) write_all_of(reader);
  }
  copy(reader);
  CHECK(reader.queue()->dropped_records() == 0);
  CHECK(count_of(lab.text(), "stdout F:g1 z") == 30);
}

TEST_CASE("a ring gives its memory back when all is written") {
  Lab lab(1 << 20);
  OutputReader reader = lab.reader(make_log(lab.directory.log()));
  struct stat before {};
  for (int round = 0; round < 20; ++round) {
    lab.say(std::string(40000, 'm') + "\n");
    read_only(reader);
  }
  REQUIRE(::fstat(lab.journal->file(), &before) == 0);
  CHECK(before.st_blocks * 512 > 700 * 1024);
  write_all_of(reader);
  lab.say("once more\n");
  copy(reader);
  struct stat after {};
  REQUIRE(::fstat(lab.journal->file(), &after) == 0);
  CHECK(after.st_blocks * 512 < 100 * 1024);
  CHECK(lab.text().ends_with("once more\n"));
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
