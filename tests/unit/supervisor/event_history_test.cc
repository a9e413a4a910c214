// The history of events: its file, its bounds, and a new supervisor that goes on with it.
#include "supervisor/host/event_history.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using namespace pillion;
using namespace pillion::supervisor;
using host::EventHistory;

namespace {

class Directory {
 public:
  Directory() {
    char name[] = "/tmp/pillion-events-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string file() const { return path + "/events.ndjson"; }
  std::string path;
};

control::EventRecord event_of(std::string text) {
  control::EventRecord event;
  event.time = WallTime(std::chrono::seconds(1705329121));
  event.kind = "child_exited";
  event.level = "info";
  event.text = std::move(text);
  return event;
}

}  // namespace

TEST_CASE("a new supervisor goes on with the history") {
  Directory directory;
  {
    EventHistory history(directory.file());
    history.add(event_of("one"));
    history.add(event_of("two"));
  }
  EventHistory history(directory.file());
  std::string heard;
  history.on_added([&](const control::EventRecord& event) { heard += event.text; });
  history.add(event_of("three"));
  CHECK(heard == "three");
  const auto all = history.select({});
  REQUIRE(all.size() == 3);
  CHECK(all[0]->text == "one");
  CHECK(all[2]->sequence == 3);
  control::EventFilter after_one;
  after_one.after = 1;
  CHECK(history.select(after_one).size() == 2);
  CHECK(history.select({}, 1)[0]->text == "three");
}

TEST_CASE("a broken line costs only itself") {
  Directory directory;
  EventHistory(directory.file()).add(event_of("one"));
  std::ofstream(directory.file(), std::ios::app) << "{\"sequence\":2,\"ti\nnonsense\n";
  EventHistory history(directory.file());
  history.add(event_of("two"));
  CHECK(history.select({}).size() == 2);
  CHECK(EventHistory(directory.file()).select({}).size() == 2);
}

TEST_CASE("memory and files are bounded, and long texts are cut") {
  Directory directory;
  EventHistory history(directory.file());
  for (std::size_t i = 0; i < EventHistory::kEventsMax + 10; ++i) {
    history.add(event_of(std::string(5000, 'x')));
  }
  const auto all = history.select({});
  CHECK(all.size() == EventHistory::kEventsMax);
  CHECK(all.back()->sequence == EventHistory::kEventsMax + 10);
  CHECK(all.back()->text.size() < EventHistory::kTextBytesMax + 8);
  std::uintmax_t bytes = 0;
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path)) {
    bytes += entry.file_size();
    ++files;
  }
  CHECK(files == 4);
  CHECK(bytes <= 4 * EventHistory::kFileBytesMax);
}

TEST_CASE("a disk that refuses does not stop the history") {
  EventHistory history("/proc/nowhere/events.ndjson");
  history.add(event_of("one"));
  CHECK(history.select({}).size() == 1);
}
