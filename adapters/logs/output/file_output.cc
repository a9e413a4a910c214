#include "adapters/logs/output/file_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr Duration kRetryDelay = std::chrono::seconds(1);

}  // namespace

Result<void> RotatedFile::open() {
  auto fd = open_file(options_.path, O_WRONLY | O_CREAT | O_APPEND, options_.mode);
  if (!fd) return fail(fd.error());
  struct stat facts;
  if (::fstat(fd->get(), &facts) < 0) return fail_errno("cannot stat " + options_.path);
  fd_ = std::move(*fd);
  size_ = S_ISREG(facts.st_mode) ? static_cast<std::uint64_t>(facts.st_size) : 0;
  return {};
}

Result<void> RotatedFile::rotate() {
  if (::fdatasync(fd_.get()) < 0) return fail_errno("cannot sync " + options_.path);
  fd_.reset();
  for (unsigned i = options_.files_max; i > 0; --i) {
    const std::string from = i == 1 ? options_.path : options_.path + "." + std::to_string(i - 1);
    const std::string to = options_.path + "." + std::to_string(i);
    if (::rename(from.c_str(), to.c_str()) < 0 && errno != ENOENT) {
      return fail_errno("cannot rename " + from + " to " + to);
    }
  }
  if (options_.files_max == 0) ::unlink(options_.path.c_str());
  return open();
}

Result<void> RotatedFile::append(const RecordBuffer& records) {
  // Somebody else may have rotated or deleted it.
  struct stat held, named;
  if (fd_ && (::stat(options_.path.c_str(), &named) < 0 || ::fstat(fd_.get(), &held) < 0 ||
              held.st_ino != named.st_ino || held.st_dev != named.st_dev)) {
    fd_.reset();
  }
  if (!fd_) {
    if (auto opened = open(); !opened) return opened;
  }
  std::size_t at = 0;
  const std::string_view bytes = records.bytes();
  if (size_ > 0 && size_ + bytes.size() > options_.bytes_max) {
    if (auto rotated = rotate(); !rotated) return rotated;
  }
  while (at < bytes.size()) {
    const ssize_t count = ::write(fd_.get(), bytes.data() + at, bytes.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const auto failure = fail_errno("cannot write to " + options_.path);
      if (at > 0 && ::ftruncate(fd_.get(), static_cast<off_t>(size_)) < 0) {
        log::warn("{} ends with part of a record", options_.path);
      }
      return failure;
    }
    at += static_cast<std::size_t>(count);
  }
  size_ += bytes.size();
  return {};
}

Result<void> RotatedFile::sync() {
  if (fd_ && ::fdatasync(fd_.get()) < 0 && errno != EINVAL) {
    return fail_errno("cannot sync " + options_.path);
  }
  return {};
}

FileOutput::FileOutput(Loop& loop, FileOutputOptions options, OnDone on_done)
    : loop_(loop),
      path_(options.path),
      on_done_(std::move(on_done)),
      shared_(std::make_shared<Shared>(std::move(options))),
      is_alive_(std::make_shared<bool>(true)),
      retry_(loop) {}

FileOutput::~FileOutput() { *is_alive_ = false; }

void FileOutput::deliver(Batch& batch) {
  queue_.push_back(&batch);
  write_next();
}

void FileOutput::write_next() {
  if (is_writing_ || queue_.empty() || retry_.is_active()) return;
  is_writing_ = true;
  auto result = std::make_shared<Result<void>>();
  loop_.queue_work(
      [shared = shared_, batch = queue_.front(), result] {
        const std::lock_guard lock(shared->mutex);
        *result = shared->file.append(batch->records);
      },
      [this, is_alive = is_alive_, result] {
        if (*is_alive) on_written(*result);
      });
}

void FileOutput::on_written(const Result<void>& result) {
  is_writing_ = false;
  if (!result) {  // a full disk, a missing directory: it may pass; the records stay pending
    if (trouble_ != result.error().message())
      log::error("{}; trying again", result.error().message());
    trouble_ = result.error().message();
    retry_.start(kRetryDelay, [this] { write_next(); });
    return;
  }
  trouble_.clear();
  Batch& batch = *queue_.front();
  queue_.pop_front();
  write_next();
  batch.delivered = batch.records.record_count();
  on_done_(batch);
}

Result<void> FileOutput::sync() {
  const std::lock_guard lock(shared_->mutex);
  return shared_->file.sync();
}

void FileOutput::hurry() {
  if (!retry_.is_active()) return;
  retry_.stop();
  write_next();
}

}  // namespace pillion::logs
