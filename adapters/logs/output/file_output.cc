#include "adapters/logs/output/file_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr Duration kRetryDelay = std::chrono::seconds(1);
constexpr std::size_t kBlocksPerWrite = 64;

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

// Somebody else may have rotated or deleted the file.
Result<void> RotatedFile::follow_name() {
  struct stat held, named;
  if (fd_ && (::stat(options_.path.c_str(), &named) < 0 || ::fstat(fd_.get(), &held) < 0 ||
              held.st_ino != named.st_ino || held.st_dev != named.st_dev)) {
    fd_.reset();
  }
  return fd_ ? Result<void>{} : open();
}

// Writes the first blocks that fit in this generation of the file; returns how many.
Result<std::size_t> RotatedFile::write_together(std::span<const std::string_view> blocks) {
  if (size_ > 0 && size_ + blocks.front().size() > options_.bytes_max) {
    if (auto rotated = rotate(); !rotated) return fail(rotated.error());
  }
  iovec parts[kBlocksPerWrite];
  std::size_t count = 0;
  std::size_t bytes = 0;
  for (const auto block : blocks) {
    if (count == kBlocksPerWrite ||
        (count > 0 && size_ + bytes + block.size() > options_.bytes_max))
      break;
    parts[count++] = {const_cast<char*>(block.data()), block.size()};
    bytes += block.size();
  }
  std::size_t whole = 0;
  for (std::size_t at = 0; whole < count;) {
    iovec* const first = parts + whole;
    const ssize_t written = ::writev(fd_.get(), first, static_cast<int>(count - whole));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const auto failure = fail_errno("cannot write to " + options_.path);
      if (at > 0 && ::ftruncate(fd_.get(), static_cast<off_t>(size_)) < 0)
        log::warn("{} has part of a record", options_.path);
      if (whole > 0) return whole;  // the next attempt fails again, or not
      return failure;
    }
    auto rest = static_cast<std::size_t>(written);
    for (; whole < count && rest >= parts[whole].iov_len; at = 0) {
      rest -= parts[whole].iov_len;
      size_ += at + parts[whole++].iov_len;
    }
    if (rest == 0) continue;
    at += rest;
    parts[whole].iov_base = static_cast<char*>(parts[whole].iov_base) + rest;
    parts[whole].iov_len -= rest;
  }
  return whole;
}

std::size_t RotatedFile::append(std::span<const std::string_view> blocks, Result<void>& result) {
  result = follow_name();
  std::size_t done = 0;
  while (result && done < blocks.size()) {
    auto count = write_together(blocks.subspan(done));
    if (count)
      done += *count;
    else
      result = fail(count.error());
  }
  return done;
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

// All that waits goes in one piece of work: a change of threads per batch would cost more than its
// writing does.
void FileOutput::write_next() {
  if (is_writing_ || queue_.empty() || retry_.is_active()) return;
  is_writing_ = true;
  auto written = std::make_shared<Written>();
  std::vector<std::string_view> blocks;
  for (const Batch* batch : queue_) blocks.push_back(batch->records.bytes());
  loop_.queue_work(
      [shared = shared_, blocks = std::move(blocks), written] {
        const std::lock_guard lock(shared->mutex);
        written->blocks = shared->file.append(blocks, written->result);
      },
      [this, is_alive = is_alive_, written] {
        if (*is_alive) on_written(*written);
      });
}

void FileOutput::on_written(const Written& written) {
  is_writing_ = false;
  const std::vector<Batch*> done(queue_.begin(), queue_.begin() + std::ptrdiff_t(written.blocks));
  queue_.erase(queue_.begin(), queue_.begin() + std::ptrdiff_t(written.blocks));
  if (!written.result) {  // a full disk, a missing directory: it may pass; the rest stays pending
    const auto& message = written.result.error().message();
    if (trouble_ != message) log::error("{}; trying again", message);
    trouble_ = message;
    retry_.start(kRetryDelay, [this] { write_next(); });
  } else {
    trouble_.clear();
    write_next();
  }
  for (Batch* batch : done) on_done_(*batch);
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
