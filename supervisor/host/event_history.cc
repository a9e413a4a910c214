#include "supervisor/host/event_history.h"

#include <algorithm>

#include "runtime/fd.h"

namespace pillion::supervisor::host {
namespace {

constexpr unsigned kRotatedFiles = 3;

void cut(std::string& text) {
  if (text.size() <= EventHistory::kTextBytesMax) return;
  text.resize(EventHistory::kTextBytesMax);
  text += "…";
}

}  // namespace

EventHistory::EventHistory(std::string path)
    : file_(path, {kFileBytesMax, kRotatedFiles}, [](std::uint64_t) { return std::string(); }) {
  read(path + ".1");
  read(path);
}

void EventHistory::read(const std::string& path) {
  const auto text = read_file(path, 2 * kFileBytesMax);
  if (!text) return;
  for (std::size_t start = 0, newline; (newline = text->find('\n', start)) != std::string::npos;
       start = newline + 1) {
    auto event = control::parse_event(std::string_view(*text).substr(start, newline - start));
    // A line that a full disk has cut is not worth more than its loss.
    if (!event || event->sequence <= last_sequence_) continue;
    last_sequence_ = event->sequence;
    events_.push_back(std::move(*event));
    if (events_.size() > kEventsMax) events_.pop_front();
  }
}

void EventHistory::add(control::EventRecord event) {
  event.sequence = ++last_sequence_;
  cut(event.text);
  for (auto& [key, value] : event.fields) cut(value);
  file_.write(control::to_json(event) + "\n");
  events_.push_back(std::move(event));
  if (events_.size() > kEventsMax) events_.pop_front();
  if (listener_) listener_(events_.back());
}

std::vector<const control::EventRecord*> EventHistory::select(const control::EventFilter& filter,
                                                              std::size_t count_max) const {
  std::vector<const control::EventRecord*> found;
  for (auto event = events_.rbegin(); event != events_.rend() && found.size() < count_max;
       ++event) {
    if (filter.matches(*event)) found.push_back(&*event);
  }
  std::reverse(found.begin(), found.end());
  return found;
}

}  // namespace pillion::supervisor::host
