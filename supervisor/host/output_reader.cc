#include "supervisor/host/output_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "supervisor/host/failpoint.h"

namespace pillion::supervisor::host {

OutputReader::Step OutputReader::read_some(std::uint64_t generation, const LineObserver& observer) {
  if (is_dropping_ && !is_inside_line_ && has_room_again()) is_dropping_ = false;
  if (is_dropping_) return drop_some(generation, observer);
  if (queue_->fill(pipe_, generation) > 0) {
    failpoint("output read");
    queue_->observe(observer);
    return Step::Read;
  }
  if (queue_->room() > 0) return Step::Empty;
  if (!drops_) return Step::Full;
  is_dropping_ = true;
  is_inside_line_ = queue_->end_line(generation);
  queue_->observe(observer);
  return drop_some(generation, observer);
}

OutputReader::Step OutputReader::drop_some(std::uint64_t generation, const LineObserver& observer) {
  static char scratch[16 * 1024];  // a quarter of the least room there is again
  ssize_t count = 0;
  do {
    count = ::read(pipe_, scratch, sizeof scratch);
  } while (count < 0 && errno == EINTR);
  if (count <= 0) return Step::Empty;
  const std::string_view bytes(scratch, static_cast<std::size_t>(count));
  const auto newline = bytes.find('\n');
  if (newline != std::string_view::npos && has_room_again()) {
    queue_->note_dropped(1);  // the line that ends here
    is_dropping_ = is_inside_line_ = false;
    static_cast<void>(queue_->append(bytes.substr(newline + 1), generation));
    queue_->observe(observer);
    return Step::Read;
  }
  is_inside_line_ = bytes.back() != '\n';
  const auto lines = std::count(bytes.begin(), bytes.end(), '\n');
  if (lines > 0) queue_->note_dropped(static_cast<std::uint64_t>(lines));
  return Step::Read;
}

void OutputReader::finish(std::uint64_t generation, const LineObserver& observer) {
  if (is_dropping_) {
    if (is_inside_line_) queue_->note_dropped(1);
    is_inside_line_ = false;
    return;
  }
  if (queue_->end_line(generation)) queue_->observe(observer);
}

}  // namespace pillion::supervisor::host
