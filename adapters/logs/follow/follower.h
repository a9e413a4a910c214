// Follows the files of one input: a path, or a pattern. Finds them, waits for those that are not
// there yet, and keeps to the lines through every way of rotation.
//
// Rename: the old descriptor is read to its end and held until the file has not grown for
// `rotate_wait` and nobody has it open for writing (as far as the kernel tells us); the successor
// is opened at once. Copy and truncate: when the file shrank, or the bytes before our position
// changed, a copy beside it with the same head is read to its end, then the file from its start.
// Deletion: the descriptor is read to its end. A generation that was compressed before we had read
// it is unpacked and read on from where we were.
//
// Does no waiting of its own: the owner calls check() about once a second and after directory
// events.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/logs/follow/followed_file.h"
#include "runtime/log.h"

namespace pillion::logs {

// How far a batch takes a file; acknowledged when the batch is delivered.
struct FileMark {
  std::shared_ptr<FollowedFile> file;  // shared: a batch in flight outlives the follower's interest
  std::uint64_t offset = 0;
  std::uint32_t epoch = 0;
  std::uint64_t begin = 0;  // where the batch's first byte of the file is
};

struct FollowerOptions {
  std::size_t input = 0;  // its place in the configuration
  std::string pattern;    // absolute path; may hold * and ?
  std::vector<std::string> exclude;
  bool starts_at_end = false;  // of files that are there at the first start
  // How often a pattern is matched anew when no directory event asks for it.
  Duration discover_interval = std::chrono::seconds(1);
  Duration rotate_wait = std::chrono::seconds(5);
  Duration partial_line_timeout = std::chrono::seconds(5);
  // How long lines wait for more of their record; zero when every line is a record.
  Duration group_timeout = Duration::zero();
  std::size_t line_bytes_max = 1u << 20;  // or more, when a group of lines may have more
  std::string encoding = "utf-8";
  // Where compressed generations are unpacked to.
  std::string temporary_directory = "/var/tmp";
  std::size_t files_max = 4096;
  // Of what happens to files. Several followers see the same: only one should say it aloud.
  log::Level event_level = log::Level::Info;
  // The encoder of a file that is followed under `path`.
  std::function<Encoder(const std::string& path)> make_encoder;
};

class Follower {
 public:
  Follower(FollowerOptions options, std::vector<FileCheckpoint> checkpoint);

  // Looks at paths, sizes and timers.
  void check(MonotonicTime now);
  // A directory event: something happened to `name` in `directory`.
  void on_event(const std::string& directory, std::string_view name, bool is_content_only);
  void mark_all_dirty();

  // Encodes what there is until `records` holds `records_bytes_max`, and adds marks for the files
  // read. False when everything there is has been read.
  bool read(ReadBuffer& buffer, RecordBuffer& records, std::size_t records_bytes_max,
            std::vector<FileMark>& marks, std::int64_t wall_ns);
  // For the end: unfinished lines become records, too.
  void flush_partials(ReadBuffer& buffer, RecordBuffer& records, std::vector<FileMark>& marks);

  std::vector<FileCheckpoint> checkpoint() const;
  // Whether a file was opened since the last call: the checkpoint should know it soon.
  bool take_has_new_file() { return std::exchange(has_new_file_, false); }
  // Whether this file was read to its end, delivered and closed.
  bool has_finished(const FileFacts& facts) const;
  // Directories whose events matter.
  std::vector<std::string> directories() const;
  // Paths that do not exist yet.
  std::vector<std::string> awaited_paths() const;

  struct Counts {
    std::size_t files_open = 0;
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_unread = 0;
    EncodeCounters encode;
    std::uint64_t rotations = 0;
    std::uint64_t truncations = 0;
  };
  Counts counts() const;
  // Records that the output's filter has left out, as counts().encode.filtered, without a look at
  // every file.
  std::uint64_t filtered() const { return filtered_; }

 private:
  using FilePtr = std::shared_ptr<FollowedFile>;
  struct Slot {
    FilePtr current;
    bool is_waiting_said = false;
    // Generations may be renamed while we list them, so we list again until it is quiet: those not
    // older than `floor` (the first file that was rotated away), until `scan_until`.
    std::int64_t floor_ns = 0;
    MonotonicTime scan_until{};
    // Since when the path is known not to exist (wall clock); what was born since and is rotated
    // away before we look is ours, too.
    std::int64_t missing_since_ns = 0;
  };
  struct Sibling {
    std::string path;
    FileFacts facts;
  };

  // Says what happened to a file.
  template<class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    log::write_formatted(options_.event_level, format, std::forward<Args>(args)...);
  }
  void discover();
  void check_slot(const std::string& path, Slot& slot);
  void take_up(const std::string& path, Slot& slot);
  void find_rotated_while_away(const std::string& path);
  void find_missed_generations(const std::string& path, std::int64_t floor_ns);
  void scan_for_missed(Slot& slot, std::int64_t floor_ns);
  void drain(FilePtr file);
  void check_timers(FollowedFile& file);
  bool is_quiet(const FollowedFile& file) const;
  void close_drained();
  void handle_truncation(const FilePtr& file);
  // `expected`: give up when another file has that name by now.
  FilePtr open(const std::string& path, const std::string& named,
               const FileFacts* expected = nullptr);
  void resume_from_checkpoint(FollowedFile& file);
  std::vector<Sibling> rotated_siblings(const std::string& path, bool is_compressed = false) const;
  FilePtr follow(Fd fd, const std::string& named, const FileFacts& facts);
  // `floor_ns`: what was written to after it is ours, if we have not read it.
  void find_compressed(const std::string& path, std::int64_t floor_ns = INT64_MAX);
  FilePtr open_compressed(const Sibling& packed, const std::string& named);
  bool is_read_already(const std::string& head, const std::string& path) const;
  bool is_known(const FileFacts& facts) const;
  bool read_file(const FilePtr& file, ReadBuffer& buffer, RecordBuffer& records,
                 std::size_t records_bytes_max, std::vector<FileMark>& marks);
  std::vector<FilePtr> all_files() const;

  FollowerOptions options_;
  bool is_pattern_;
  bool has_checkpoint_;                    // else this is the first start
  std::vector<FileCheckpoint> resumable_;  // from the checkpoint, not yet taken up
  std::vector<FileCheckpoint> finished_;   // read to the end and closed: not to be read again
  std::map<std::string, Slot> slots_;
  std::vector<FilePtr> draining_;  // rotated away, oldest first
  std::string last_read_;          // path whose turn was last
  // Compressed files that have been looked into: inode and modification time.
  std::set<std::pair<std::uint64_t, std::int64_t>> packed_seen_;
  bool needs_discovery_ = true;
  bool is_first_check_ = true;
  bool is_limit_said_ = false;
  bool has_new_file_ = false;
  std::uint64_t filtered_ = 0;
  std::int64_t checked_ns_ = 0;  // wall clock of the last look at directories
  MonotonicTime now_{};
  MonotonicTime discovered_at_{};
  Counts closed_;  // what files that are closed have counted
};

}  // namespace pillion::logs
