#include "supervisor/host/output_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include <fmt/format.h>

namespace pillion::supervisor::host {

std::string frame_record(WallTime time, OutputStream stream, bool is_partial,
                         std::uint64_t generation, std::string_view line) {
  const auto nanoseconds = time.time_since_epoch().count();
  const std::time_t seconds = nanoseconds / 1'000'000'000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char date[32];
  const std::size_t length = std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:09}Z {} {}:g{} {}\n", std::string_view(date, length),
                     nanoseconds % 1'000'000'000,
                     stream == OutputStream::Stdout ? "stdout" : "stderr", is_partial ? 'P' : 'F',
                     generation, line);
}

OutputLog::OutputLog(std::string path, OutputLogLimits limits, DropMarker marker)
    : path_(std::move(path)), limits_(limits), marker_(std::move(marker)) {}

std::string OutputLog::mark_dropped_records(std::uint64_t dropped) {
  return frame_record(SystemClock().wall_now(), OutputStream::Stderr, false, 0,
                      fmt::format("[pillion: {} records dropped, the disk refused them]", dropped));
}

bool OutputLog::open() {
  auto file = open_file(path_, O_WRONLY | O_APPEND | O_CREAT, 0640);
  if (!file) return false;
  struct stat status {};
  if (::fstat(file->get(), &status) == 0) size_ = static_cast<std::uint64_t>(status.st_size);
  file_ = std::move(*file);
  return true;
}

void OutputLog::rotate() {
  file_.reset();
  for (unsigned number = limits_.rotated_files; number > 1; --number) {
    const std::string newer = fmt::format("{}.{}", path_, number - 1);
    static_cast<void>(::rename(newer.c_str(), fmt::format("{}.{}", path_, number).c_str()));
  }
  if (limits_.rotated_files == 0) {
    static_cast<void>(::unlink(path_.c_str()));
  } else {
    static_cast<void>(::rename(path_.c_str(), (path_ + ".1").c_str()));
  }
  size_ = 0;
}

void OutputLog::write(std::string_view record) {
  if (file_ && size_ > 0 && size_ + record.size() > limits_.file_bytes_max) rotate();
  const std::string marker = dropped_ > 0 ? marker_(dropped_) : std::string();
  const std::string bytes = marker + std::string(record);
  const bool is_open = file_ || open();
  const ssize_t written = is_open ? ::write(file_.get(), bytes.data(), bytes.size()) : -1;
  if (written == static_cast<ssize_t>(bytes.size())) {
    size_ += bytes.size();
    dropped_ = 0;
    return;
  }
  // A part of a record would be read as a record: take it back.
  if (written > 0) static_cast<void>(!::ftruncate(file_.get(), static_cast<off_t>(size_)));
  ++dropped_;
  ++dropped_total_;
}

void LineSplitter::feed(std::string_view bytes, const OnLine& on_line) {
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    const auto room = kPartBytes - rest_.size();
    const auto length = std::min(newline, bytes.size());
    if (length > room) {
      rest_.append(bytes.substr(0, room));
      bytes.remove_prefix(room);
      on_line(rest_, true);
      rest_.clear();
      continue;
    }
    if (newline == std::string_view::npos) {
      rest_.append(bytes);
      return;
    }
    if (rest_.empty()) {
      on_line(bytes.substr(0, length), false);
    } else {
      rest_.append(bytes.substr(0, length));
      on_line(rest_, false);
      rest_.clear();
    }
    bytes.remove_prefix(length + 1);
  }
}

void LineSplitter::finish(const OnLine& on_line) {
  if (rest_.empty()) return;
  on_line(rest_, false);
  rest_.clear();
}

}  // namespace pillion::supervisor::host
