// The history of a service: the latest events in memory, all of them in a rotated file of JSON
// lines, which a new supervisor reads again. Never fails its caller: what the disk refuses is only
// in memory.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "supervisor/control/event_record.h"
#include "supervisor/host/output_log.h"

namespace pillion::supervisor::host {

class EventHistory {
 public:
  static constexpr std::size_t kEventsMax = 4096;          // in memory
  static constexpr std::size_t kTextBytesMax = 2048;       // of one text or field; more is cut
  static constexpr std::uint64_t kFileBytesMax = 2 << 20;  // and three rotated ones

  // `path` is the file's, its directory exists. Reads what is there.
  explicit EventHistory(std::string path);

  // Gives it its sequence number, keeps it, writes it down, and tells the listener.
  void add(control::EventRecord event);

  // Those that match, oldest first; the latest `count_max` of them.
  std::vector<const control::EventRecord*> select(const control::EventFilter& filter,
                                                  std::size_t count_max = kEventsMax) const;

  // Called with each event that is added; one listener.
  void on_added(std::function<void(const control::EventRecord&)> listener) {
    listener_ = std::move(listener);
  }

 private:
  void read(const std::string& path);

  OutputLog file_;
  std::deque<control::EventRecord> events_;
  std::uint64_t last_sequence_ = 0;
  std::function<void(const control::EventRecord&)> listener_;
};

}  // namespace pillion::supervisor::host
