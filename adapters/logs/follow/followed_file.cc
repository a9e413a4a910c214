#include "adapters/logs/follow/followed_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace pillion::logs {
namespace {

constexpr std::size_t kHeadBytesMax = 1024;
constexpr std::size_t kTailBytesMax = 64;

FileFacts facts_from(const struct statx& raw) {
  FileFacts facts;
  facts.device = makedev(raw.stx_dev_major, raw.stx_dev_minor);
  facts.inode = raw.stx_ino;
  if ((raw.stx_mask & STATX_BTIME) != 0) {
    facts.born_ns = raw.stx_btime.tv_sec * 1'000'000'000 + raw.stx_btime.tv_nsec;
  }
  facts.modified_ns = raw.stx_mtime.tv_sec * 1'000'000'000 + raw.stx_mtime.tv_nsec;
  facts.size = raw.stx_size;
  facts.links = raw.stx_nlink;
  facts.is_regular = S_ISREG(raw.stx_mode);
  return facts;
}

// As many of `count` bytes at `offset` as there are; -1 on an error.
ssize_t read_at(int fd, char* out, std::size_t count, std::uint64_t offset) {
  ssize_t done = 0;
  do {
    done = ::pread(fd, out, count, static_cast<off_t>(offset));
  } while (done < 0 && errno == EINTR);
  return done;
}

// The hash of `length` bytes at `offset`, 0 when the file does not have them.
std::uint64_t hash_at(int fd, std::uint64_t offset, std::size_t length) {
  char bytes[kHeadBytesMax];
  if (read_at(fd, bytes, length, offset) != static_cast<ssize_t>(length)) return 0;
  return hash64({bytes, length});
}

}  // namespace

Result<FileFacts> facts_of(int fd) {
  struct statx raw;
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &raw) < 0) {
    return fail_errno("cannot stat an open file");
  }
  return facts_from(raw);
}

Result<FileFacts> facts_of(const std::string& path) {
  struct statx raw;
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &raw) < 0) {
    return fail_errno("cannot stat " + path);
  }
  return facts_from(raw);
}

FollowedFile::FollowedFile(Fd fd, std::string input, std::string path, const FileFacts& facts,
                           Encoder encoder, std::size_t line_bytes_max, const std::string& encoding)
    : fd_(std::move(fd)),
      input_(std::move(input)),
      path_(std::move(path)),
      facts_(facts),
      encoder_(std::move(encoder)),
      line_bytes_max_(line_bytes_max) {
  if (!Transcoder::is_needed(encoding)) return;
  char head[2] = {};
  const ssize_t count = read_at(fd_.get(), head, sizeof head, 0);
  auto transcoder =
      Transcoder::open(encoding, {head, static_cast<std::size_t>(std::max<ssize_t>(count, 0))});
  PILLION_ASSERT(transcoder);  // the configuration was checked
  transcoder_ = std::move(*transcoder);
}

// A byte of a file becomes at most three of UTF-8: offsets in the text stay apart at four times
// those in the file.
std::size_t FollowedFile::encode(std::string_view chunk, RecordBuffer& records,
                                 std::size_t records_bytes_max, bool is_rest) {
  const std::string_view text = transcoder_ ? transcoder_->to_utf8(chunk, false) : chunk;
  const std::uint64_t offset = transcoder_ ? offset_ * 4 : offset_;
  const std::size_t taken = is_rest ? encoder_.encode_rest(text, offset, records, records_bytes_max)
                                    : encoder_.encode(text, offset, records, records_bytes_max);
  return transcoder_ ? transcoder_->raw_bytes(taken) : taken;
}

void FollowedFile::encode_unfinished(std::string_view chunk, RecordBuffer& records) {
  if (transcoder_) {
    encoder_.encode_unfinished(transcoder_->to_utf8(chunk, true), offset_ * 4, records);
  } else {
    encoder_.encode_unfinished(chunk, offset_, records);
  }
}

std::size_t FollowedFile::find_line_end(std::string_view chunk) const {
  if (transcoder_) return transcoder_->find_line_end(chunk);
  const std::size_t newline = chunk.find('\n');
  return newline == std::string_view::npos ? newline : newline + 1;
}

bool FollowedFile::matches(const FileCheckpoint& checkpoint) const {
  if (checkpoint.head_length > kHeadBytesMax || checkpoint.tail_length > kTailBytesMax ||
      checkpoint.tail_length > checkpoint.offset || facts_.size < checkpoint.offset) {
    return false;
  }
  const auto has = [&](std::uint64_t offset, std::uint32_t length, std::uint64_t hash) {
    return length == 0 || hash_at(fd_.get(), offset, length) == hash;
  };
  return has(0, checkpoint.head_length, checkpoint.head_hash) &&
         has(checkpoint.offset - checkpoint.tail_length, checkpoint.tail_length,
             checkpoint.tail_hash);
}

bool FollowedFile::begins_with(std::string_view head) const {
  char bytes[kHeadBytesMax];
  return head.size() <= sizeof bytes &&
         read_at(fd_.get(), bytes, head.size(), 0) == static_cast<ssize_t>(head.size()) &&
         std::memcmp(bytes, head.data(), head.size()) == 0;
}

void FollowedFile::resume(const FileCheckpoint& checkpoint) {
  skip_to(checkpoint.offset);
  epoch_ = checkpoint.epoch;
  head_length_ = checkpoint.head_length;
  head_hash_ = checkpoint.head_hash;
  document_id_ = checkpoint.document_id;
  if (document_id_ != 0) encoder_.set_document_id(document_id_);
}

void FollowedFile::skip_to(std::uint64_t offset) {
  offset_ = acknowledged_ = offset;
  char bytes[kTailBytesMax];
  const std::size_t wanted = std::min<std::uint64_t>(offset, kTailBytesMax);
  const ssize_t count = read_at(fd_.get(), bytes, wanted, offset - wanted);
  tail_.assign(bytes, count > 0 ? static_cast<std::size_t>(count) : 0);
}

void FollowedFile::restart() {
  ++epoch_;
  offset_ = acknowledged_ = unfinished_ = 0;
  head_length_ = 0;
  document_id_ = 0;
  tail_.clear();
  is_skipping_line_ = false;
  is_dirty = true;
  RecordBuffer dropped;  // a partial CRI line of the old content has no end any more
  encoder_.flush_joined(dropped);
}

bool FollowedFile::is_tail_intact() {
  if (tail_.empty()) return true;
  char bytes[kTailBytesMax];
  const ssize_t count = read_at(fd_.get(), bytes, tail_.size(), offset_ - tail_.size());
  return count == static_cast<ssize_t>(tail_.size()) &&
         std::memcmp(bytes, tail_.data(), tail_.size()) == 0;
}

void FollowedFile::remember_tail(const char* chunk, std::size_t consumed) {
  if (consumed >= kTailBytesMax) {
    tail_.assign(chunk + consumed - kTailBytesMax, kTailBytesMax);
    return;
  }
  tail_.append(chunk, consumed);
  if (tail_.size() > kTailBytesMax) tail_.erase(0, tail_.size() - kTailBytesMax);
}

void FollowedFile::choose_document_id(std::string_view chunk) {
  const std::string_view first_line = chunk.substr(0, std::min<std::size_t>(chunk.find('\n'), 256));
  document_id_ = hash64(first_line, hash64(fmt::format("{} {} {} {}", facts_.device, facts_.inode,
                                                       facts_.born_ns, epoch_)));
  encoder_.set_document_id(document_id_);
}

// A byte order mark, NUL bytes at the start (a writer without O_APPEND after a truncation), and the
// rest of a line that was too long. Returns how many bytes of the chunk they are.
std::size_t FollowedFile::skip_unwanted(std::string_view chunk) {
  if (is_skipping_line_) {
    const std::size_t behind = find_line_end(chunk);
    if (behind == std::string_view::npos) return chunk.size() & ~(unit() - 1);
    is_skipping_line_ = false;
    return behind;
  }
  if (offset_ == 0) {
    const bool is_wide = unit() == 2;
    if (!is_wide && chunk.starts_with("\xef\xbb\xbf")) return 3;
    if (is_wide && (chunk.starts_with("\xff\xfe") || chunk.starts_with("\xfe\xff"))) return 2;
  }
  if (unit() == 2 || chunk[0] != '\0' || (!tail_.empty() && tail_.back() != '\0')) return 0;
  return std::min(chunk.find_first_not_of('\0'), chunk.size());
}

ReadOutcome FollowedFile::read(ReadBuffer& buffer, RecordBuffer& records,
                               std::size_t records_bytes_max) {
  if (is_fresh_ && !is_tail_intact()) return ReadOutcome::Truncated;
  is_fresh_ = false;
  for (;;) {
    const ssize_t count = read_at(fd_.get(), buffer.data(), buffer.size(), offset_);
    if (count < 0) {
      failure_ = Error::from_errno("cannot read " + path_, errno).message();
      return ReadOutcome::Failed;
    }
    const auto length = static_cast<std::size_t>(count);
    unfinished_ = length;
    if (length == 0) break;
    const std::string_view chunk(buffer.data(), length);
    std::size_t consumed = skip_unwanted(chunk);
    if (consumed == 0) {
      if (document_id_ == 0) choose_document_id(chunk);
      consumed = encode(chunk, records, records_bytes_max, false);
    }
    if (consumed == 0 && records.size() < records_bytes_max) {
      if (length < buffer.size()) break;  // a line that is not finished
      if (length <= line_bytes_max_) {
        buffer.grow_to(std::min(buffer.size() * 4, line_bytes_max_ + kHeadBytesMax));
        continue;
      }
      consumed = length & ~(unit() - 1);
      encode_unfinished(chunk.substr(0, consumed), records);  // too long: its head
      is_skipping_line_ = true;
    }
    take(buffer.data(), consumed);
    unfinished_ = length - consumed;
    if (records.size() >= records_bytes_max) return ReadOutcome::Full;
  }
  is_fresh_ = true;
  const auto facts = facts_of(fd_.get());
  if (facts) facts_ = *facts;
  if (facts_.size >= offset_) update_head();
  return facts_.size < offset_ ? ReadOutcome::Truncated : ReadOutcome::AtEnd;
}

void FollowedFile::take(const char* chunk, std::size_t bytes) {
  remember_tail(chunk, bytes);
  offset_ += bytes;
  bytes_read_ += bytes;
}

void FollowedFile::flush_groups(ReadBuffer& buffer, RecordBuffer& records) {
  while (!is_skipping_line_) {
    const ssize_t count = read_at(fd_.get(), buffer.data(), buffer.size(), offset_);
    if (count <= 0) break;
    const auto length = static_cast<std::size_t>(count);
    const std::size_t taken = encode({buffer.data(), length}, records, SIZE_MAX, true);
    take(buffer.data(), taken);
    unfinished_ = length - taken;
    if (taken == 0) break;
  }
  encoder_.flush_groups(records);
}

void FollowedFile::flush_partial(ReadBuffer& buffer, RecordBuffer& records) {
  flush_groups(buffer, records);
  const ssize_t count = read_at(fd_.get(), buffer.data(), buffer.size(), offset_);
  // Half a character is left where it is: more must come.
  const auto length = static_cast<std::size_t>(std::max<ssize_t>(count, 0)) & ~(unit() - 1);
  const std::string_view left(buffer.data(), length);
  if (length > 0 && find_line_end(left) == std::string_view::npos) {
    if (!is_skipping_line_) encode_unfinished(left, records);
    take(buffer.data(), length);
    unfinished_ = 0;
  }
  encoder_.flush_joined(records);
}

void FollowedFile::acknowledge(std::uint64_t offset, std::uint32_t epoch) {
  if (epoch == epoch_) acknowledged_ = std::max(acknowledged_, offset);
}

void FollowedFile::update_head() {
  if (head_length_ == kHeadBytesMax) return;
  char bytes[kHeadBytesMax];
  const ssize_t count = read_at(fd_.get(), bytes, sizeof bytes, 0);
  if (count <= 0) return;
  head_length_ = static_cast<std::uint32_t>(count);
  head_hash_ = hash64({bytes, static_cast<std::size_t>(count)});
}

FileCheckpoint FollowedFile::checkpoint() const {
  FileCheckpoint entry;
  entry.input = input_;
  entry.path = path_;
  entry.device = facts_.device;
  entry.inode = facts_.inode;
  entry.born_ns = facts_.born_ns;
  entry.head_length = head_length_;
  entry.head_hash = head_hash_;
  entry.offset = acknowledged_;
  entry.tail_length =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(acknowledged_, kTailBytesMax));
  entry.tail_hash = hash_at(fd_.get(), acknowledged_ - entry.tail_length, entry.tail_length);
  entry.document_id = document_id_;
  entry.epoch = epoch_;
  entry.is_finished = is_finished && is_all_acknowledged();
  return entry;
}

bool FollowedFile::is_continued_by(int fd, const FileFacts& other) const {
  if (other.size < offset_ || other.is_same_file(facts_)) return false;
  char bytes[kTailBytesMax];
  return head_hash_ == hash_at(fd, 0, head_length_) &&
         read_at(fd, bytes, tail_.size(), offset_ - tail_.size()) ==
             static_cast<ssize_t>(tail_.size()) &&
         std::memcmp(bytes, tail_.data(), tail_.size()) == 0;
}

}  // namespace pillion::logs
