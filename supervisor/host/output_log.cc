#include "supervisor/host/output_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include <fmt/format.h>

namespace pillion::supervisor::host {

std::string frame_prefix(WallTime time, OutputStream stream, bool is_partial,
                         std::uint64_t generation) {
  const auto nanoseconds = time.time_since_epoch().count();
  const std::time_t seconds = nanoseconds / 1'000'000'000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char date[32];
  const std::size_t length = std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format(
      "{}.{:09}Z {} {}:g{} ", std::string_view(date, length), nanoseconds % 1'000'000'000,
      stream == OutputStream::Stdout ? "stdout" : "stderr", is_partial ? 'P' : 'F', generation);
}

std::string frame_record(WallTime time, OutputStream stream, bool is_partial,
                         std::uint64_t generation, std::string_view line) {
  std::string record = frame_prefix(time, stream, is_partial, generation);
  record += line;
  record += '\n';
  return record;
}

OutputLog::OutputLog(std::string path, OutputLogLimits limits, DropMarker marker)
    : path_(std::move(path)),
      file_bytes_max_(limits.file_bytes_max),
      rotated_files_(limits.rotated_files),
      marker_(std::move(marker)) {}

void OutputLog::set_limits(OutputLogLimits limits) {
  file_bytes_max_ = limits.file_bytes_max;
  rotated_files_ = limits.rotated_files;
}

std::string OutputLog::mark_dropped_records(std::uint64_t dropped) {
  return frame_record(SystemClock().wall_now(), OutputStream::Stderr, false, 0,
                      fmt::format("[pillion: {} records dropped, the disk refused them]", dropped));
}

void OutputLog::keep_drops_in(std::atomic<std::uint64_t>* counter) {
  const std::lock_guard lock(kept_mutex_);
  if (kept_drops_ != nullptr) return;
  kept_drops_ = counter;
  dropped_ += *counter;
  *counter = dropped_;
}

void OutputLog::stop_keeping_drops_in(const std::atomic<std::uint64_t>* counter) {
  const std::lock_guard lock(kept_mutex_);
  if (kept_drops_ == counter) kept_drops_ = nullptr;
}

void OutputLog::set_drops(std::uint64_t dropped) {
  const std::lock_guard lock(kept_mutex_);
  dropped_ = dropped;
  if (kept_drops_ != nullptr) *kept_drops_ = dropped;
}

bool OutputLog::open() {
  auto file = open_file(path_, O_WRONLY | O_APPEND | O_CREAT, 0640);
  if (!file) {
    error_ = file.error().errno_value();
    return false;
  }
  file_ = std::move(*file);
  return look();
}

// Who may write the directory may also have removed or emptied the file.
bool OutputLog::look() {
  struct stat status {};
  if (::fstat(file_.get(), &status) < 0 || status.st_nlink == 0) {
    file_.reset();
    return false;
  }
  inode_ = status.st_ino;
  size_ = static_cast<std::uint64_t>(status.st_size);
  return true;
}

// Only the files before the first gap move up: a rotation that ended half-way is continued, and
// pushes none out that need not go.
void OutputLog::rotate() {
  file_.reset();
  size_ = 0;
  const unsigned rotated_files = rotated_files_;
  if (rotated_files == 0) {
    static_cast<void>(::unlink(path_.c_str()));
    return;
  }
  const auto name = [&](unsigned number) { return fmt::format("{}.{}", path_, number); };
  unsigned gap = 1;
  while (gap < rotated_files && ::access(name(gap).c_str(), F_OK) == 0) ++gap;
  for (unsigned number = gap; number > 1; --number) {
    static_cast<void>(::rename(name(number - 1).c_str(), name(number).c_str()));
  }
  static_cast<void>(::rename(path_.c_str(), name(1).c_str()));
}

void OutputLog::write(std::string_view records, unsigned count, const BeforeWrite& before_write) {
  if (file_) static_cast<void>(look());
  bool is_open = file_ || open();
  if (is_open && size_ > 0 && size_ + records.size() > file_bytes_max_) {
    rotate();
    is_open = open();
  }
  std::string marked;
  if (dropped_ > 0) {
    marked = marker_(dropped_) + std::string(records);
    records = marked;
  }
  if (is_open && before_write) before_write({inode_, size_, records.size()});
  const ssize_t written = is_open ? ::write(file_.get(), records.data(), records.size()) : -1;
  if (written == static_cast<ssize_t>(records.size())) {
    size_ += records.size();
    error_ = 0;
    if (dropped_ > 0) set_drops(0);
    return;
  }
  if (is_open) error_ = written < 0 ? errno : ENOSPC;
  // A part of a record would be read as a record: take it back.
  if (written > 0) static_cast<void>(!::ftruncate(file_.get(), static_cast<off_t>(size_)));
  set_drops(dropped_ + count);
  dropped_total_ += count;
}

void OutputLog::add_dropped(std::uint64_t records) { set_drops(dropped_ + records); }

bool OutputLog::has_written(const LogWrite& write) {
  const bool is_open = file_ ? look() : open();
  if (!is_open || inode_ != write.inode || size_ <= write.offset) return false;
  if (size_ >= write.offset + write.length) return true;
  static_cast<void>(!::ftruncate(file_.get(), static_cast<off_t>(write.offset)));
  return false;
}

std::optional<OutputLine> first_line(std::string_view bytes, bool is_end) {
  constexpr std::size_t kPart = OutputLine::kPartBytes;
  const auto newline = bytes.substr(0, kPart + 1).find('\n');
  if (newline != std::string_view::npos) {
    return OutputLine{bytes.substr(0, newline), newline + 1, false};
  }
  if (bytes.size() > kPart) return OutputLine{bytes.substr(0, kPart), kPart, true};
  if (is_end && !bytes.empty()) return OutputLine{bytes, bytes.size(), false};
  return std::nullopt;
}

}  // namespace pillion::supervisor::host
