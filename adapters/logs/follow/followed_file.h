// One open log file: where reading stands, what identifies it, and its encoder. While the file is
// open its descriptor is its identity; the hashes are for finding it again after a restart.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/encoder.h"
#include "adapters/logs/follow/checkpoint.h"
#include "adapters/logs/follow/transcoder.h"
#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::logs {

// What stat says about a file, as far as we need it.
struct FileFacts {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t born_ns = 0;
  std::int64_t modified_ns = 0;
  std::uint64_t size = 0;
  std::uint64_t links = 0;
  bool is_regular = false;

  bool is_same_file(const FileFacts& other) const {
    return device == other.device && inode == other.inode;
  }
};
Result<FileFacts> facts_of(int fd);
Result<FileFacts> facts_of(const std::string& path);

// The shared read buffer of a pipeline: grows while a long line needs it.
class ReadBuffer {
 public:
  explicit ReadBuffer(std::size_t bytes) : bytes_(bytes + kScanPadding), size_(bytes) {}
  char* data() { return bytes_.data(); }
  std::size_t size() const { return size_; }
  void grow_to(std::size_t bytes) {
    bytes_.resize(bytes + kScanPadding);
    size_ = bytes;
  }
  void shrink_to(std::size_t bytes) {
    if (size_ == bytes) return;
    std::vector<char>(bytes + kScanPadding).swap(bytes_);
    size_ = bytes;
  }

 private:
  std::vector<char> bytes_;
  std::size_t size_;
};

enum class ReadOutcome {
  Full,       // the record buffer is full; call again
  AtEnd,      // read to the end, or to a line that is not finished
  Truncated,  // the file shrank or was rewritten: what was read is no longer in it
  Failed      // see FollowedFile::failure()
};

class FollowedFile {
 public:
  FollowedFile(Fd fd, std::string input, std::string path, const FileFacts& facts, Encoder encoder,
               std::size_t line_bytes_max, const std::string& encoding = "utf-8");

  // Whether the file's bytes are those that the checkpoint was made of.
  bool matches(const FileCheckpoint& checkpoint) const;
  // Whether these are the file's first bytes; at most 1024.
  bool begins_with(std::string_view head) const;
  // Continues where a checkpoint of this file stands.
  void resume(const FileCheckpoint& checkpoint);
  // Ignores what is there already.
  void skip_to(std::uint64_t offset);

  // Reads and encodes complete lines until `records` holds `records_bytes_max`.
  ReadOutcome read(ReadBuffer& buffer, RecordBuffer& records, std::size_t records_bytes_max);
  // Encodes lines that would be one record with lines to come.
  void flush_groups(ReadBuffer& buffer, RecordBuffer& records);
  // As flush_groups, then an unfinished last line, and joined partial CRI lines.
  void flush_partial(ReadBuffer& buffer, RecordBuffer& records);
  // After a truncation: everything is new, from the start.
  void restart();

  // The position up to which everything is in records already handed over.
  std::uint64_t safe_offset() const { return encoder_.safe_offset(offset_); }
  std::uint64_t offset() const { return offset_; }
  std::uint64_t unfinished_bytes() const { return unfinished_; }
  bool has_unfinished() const {
    return unfinished_ > 0 || encoder_.safe_offset(offset_) != offset_;
  }

  // Delivered up to here; moves forward only. Of an earlier epoch: ignored.
  void acknowledge(std::uint64_t offset, std::uint32_t epoch);
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint32_t epoch() const { return epoch_; }
  // Of the file's content from its start; 0 before the first read.
  std::uint64_t identity() const { return document_id_; }
  bool is_all_acknowledged() const { return acknowledged_ >= offset_; }

  FileCheckpoint checkpoint() const;
  // Whether the bytes before `offset_` in another file are the ones we have read.
  bool is_continued_by(int fd, const FileFacts& other) const;

  int fd() const { return fd_.get(); }
  const FileFacts& facts() const { return facts_; }
  const std::string& path() const { return path_; }
  const std::string& failure() const { return failure_; }
  Encoder& encoder() { return encoder_; }
  std::uint64_t bytes_read() const { return bytes_read_; }

  // When the file last grew, for its owner's timers.
  MonotonicTime grown_at{};
  std::uint64_t size_seen = 0;
  bool is_dirty = true;         // may have more to read
  bool is_group_due = false;    // its last lines have waited long enough for more of their record
  bool is_partial_due = false;  // its unfinished line has waited long enough
  bool is_closing = false;      // rotated away, complete: close when acknowledged
  bool is_finished = false;

 private:
  bool is_tail_intact();
  void remember_tail(const char* chunk, std::size_t consumed);
  void update_head();
  void choose_document_id(std::string_view chunk);
  std::size_t skip_unwanted(std::string_view chunk);
  void take(const char* chunk, std::size_t bytes);
  std::size_t encode(std::string_view chunk, RecordBuffer& records, std::size_t records_bytes_max,
                     bool is_rest);
  void encode_unfinished(std::string_view chunk, RecordBuffer& records);
  std::size_t unit() const { return transcoder_ ? transcoder_->unit() : 1; }
  // Behind the first line feed; npos when there is none.
  std::size_t find_line_end(std::string_view chunk) const;

  Fd fd_;
  std::string input_;
  std::string path_;
  FileFacts facts_;
  Encoder encoder_;
  std::size_t line_bytes_max_;
  std::optional<Transcoder> transcoder_;  // none for UTF-8
  std::uint64_t offset_ = 0;              // next byte to read; the start of a line
  std::uint64_t acknowledged_ = 0;
  std::uint64_t unfinished_ = 0;  // bytes behind offset_ that wait for a newline
  std::uint32_t epoch_ = 0;
  std::uint32_t head_length_ = 0;
  std::uint64_t head_hash_ = 0;
  std::uint64_t document_id_ = 0;
  std::uint64_t bytes_read_ = 0;
  std::string tail_;               // the last bytes before offset_, at most 64
  bool is_skipping_line_ = false;  // behind a line that was too long
  bool is_fresh_ = true;           // tail not yet verified in this round of reads
  std::string failure_;
};

}  // namespace pillion::logs
