#include "adapters/logs/receive/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <vector>

#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr std::uint64_t kSegmentBytesMax = 16u << 20;

struct Segment {
  std::string path;
  std::uint64_t number = 0;
};

std::vector<Segment> segments_of(const std::string& path) {
  const std::filesystem::path whole(path);
  const std::string prefix = whole.filename().string() + ".";
  std::vector<Segment> segments;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(whole.parent_path(), error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    Segment segment{entry.path().string(), 0};
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + prefix.size(), end, segment.number);
    if (parsed.ec == std::errc() && parsed.ptr == end) segments.push_back(std::move(segment));
  }
  return segments;
}

}  // namespace

Result<void> Spool::open() {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  auto fd = open_file(path_, O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (!fd) return fail(fd.error());
  fd_ = std::move(*fd);
  const auto facts = facts_of(fd_.get());
  if (!facts) return fail(facts.error());
  current_bytes_ = facts->size;
  segments_bytes_ = 0;
  for (const Segment& segment : segments_of(path_)) {
    next_number_ = std::max(next_number_, segment.number + 1);
    if (const auto older = facts_of(segment.path)) segments_bytes_ += older->size;
  }
  return {};
}

Result<void> Spool::append(std::string_view lines) {
  // Several segments, so that there is always one that may go.
  if (current_bytes_ >= std::min(kSegmentBytesMax, bytes_max_ / 4)) {
    if (auto rotated = rotate(); !rotated) return rotated;
  }
  for (std::size_t at = 0; at < lines.size();) {
    const ssize_t count = ::write(fd_.get(), lines.data() + at, lines.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const auto failure = fail_errno("cannot write to " + path_);
      if (at > 0 && ::ftruncate(fd_.get(), static_cast<off_t>(current_bytes_)) < 0) {
        log::warn("{} ends with part of a line", path_);
      }
      return failure;
    }
    at += static_cast<std::size_t>(count);
  }
  current_bytes_ += lines.size();
  return {};
}

Result<void> Spool::rotate() {
  const std::string older = path_ + "." + std::to_string(next_number_);
  if (::rename(path_.c_str(), older.c_str()) < 0) return fail_errno("cannot rename " + path_);
  fd_.reset();
  return open();
}

void Spool::collect(const std::function<bool(const FileFacts&)>& is_delivered) {
  if (segments_bytes_ == 0) return;
  for (const Segment& segment : segments_of(path_)) {
    const auto facts = facts_of(segment.path);
    if (!facts || !is_delivered(*facts)) continue;
    if (::unlink(segment.path.c_str()) == 0)
      segments_bytes_ -= std::min(segments_bytes_, facts->size);
  }
}

}  // namespace pillion::logs
