#include "adapters/logs/follow/follower.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

#include "adapters/logs/follow/compressed.h"

namespace pillion::logs {
namespace {

constexpr std::size_t kFinishedMax = 256;
// No file has it.
constexpr std::uint64_t kNoInode = UINT64_MAX;
// How long after a rotation missed generations are looked for.
constexpr Duration kScanTime = std::chrono::seconds(5);
// A writer that keeps a rotated file open without writing is waited for at most this long.
constexpr Duration kIdleWriterMax = std::chrono::minutes(10);

struct PathParts {
  std::string directory;  // without the final slash, "" for the root
  std::string name;
};

// Not ahead of the kernel's coarse clock, which stamps files.
std::int64_t wall_ns() {
  timespec time;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &time);
  return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec;
}

// Generations of a rotated file are ordered by their birth; an old one may still be written to.
std::int64_t birth_ns(const FileFacts& facts) {
  return facts.born_ns != 0 ? facts.born_ns : facts.modified_ns;
}

PathParts split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

// "orders.log" → orders.log.1, orders.log-20240115, orders.log.old, orders.1.log.
bool is_rotated_name(std::string_view name, std::string_view base) {
  const auto is_stamp = [](std::string_view text) {
    return text.size() >= 2 && std::string_view(".-_").find(text[0]) != std::string_view::npos &&
           (text == ".old" || text.find_first_not_of("0123456789.-_T:") == std::string_view::npos);
  };
  if (name.size() > base.size() && name.substr(0, base.size()) == base) {
    return is_stamp(name.substr(base.size()));
  }
  const std::size_t dot = base.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  const std::string_view stem = base.substr(0, dot), extension = base.substr(dot);
  if (name.size() <= base.size() || name.substr(0, dot) != stem) return false;
  if (name.substr(name.size() - extension.size()) != extension) return false;
  return is_stamp(name.substr(dot, name.size() - base.size()));
}

// Whether somebody has the file open for writing. Only its owner may ask (fcntl(2), F_SETLEASE);
// for others the answer is no.
bool has_writer(int fd) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;
}

}  // namespace

Follower::Follower(FollowerOptions options, std::vector<FileCheckpoint> checkpoint)
    : options_(std::move(options)),
      is_pattern_(options_.pattern.find_first_of("*?[") != std::string::npos),
      has_checkpoint_(!checkpoint.empty()) {
  for (auto& entry : checkpoint) {
    if (entry.inode == 0) {  // a path that did not exist
      if (!is_pattern_) slots_[entry.path].missing_since_ns = entry.born_ns;
      continue;
    }
    (entry.is_finished ? finished_ : resumable_).push_back(std::move(entry));
  }
  if (!is_pattern_) slots_[options_.pattern];
}

std::vector<Follower::FilePtr> Follower::all_files() const {
  std::vector<FilePtr> files = draining_;
  for (const auto& [path, slot] : slots_) {
    if (slot.current) files.push_back(slot.current);
  }
  return files;
}

bool Follower::is_known(const FileFacts& facts) const {
  for (const auto& file : all_files()) {
    if (file->facts().is_same_file(facts)) return true;
  }
  return std::any_of(finished_.begin(), finished_.end(), [&](const FileCheckpoint& entry) {
    return entry.device == facts.device && entry.inode == facts.inode &&
           entry.born_ns == facts.born_ns && entry.offset <= facts.size;
  });
}

void Follower::check(MonotonicTime now) {
  now_ = now;
  const std::int64_t started_ns = wall_ns();
  if (is_pattern_ && (needs_discovery_ || now_ - discovered_at_ >= options_.discover_interval)) {
    discover();
    discovered_at_ = now_;
  }
  needs_discovery_ = false;
  for (auto& [path, slot] : slots_) {
    check_slot(path, slot);
    if (now_ >= slot.scan_until) continue;
    find_missed_generations(path, slot.floor_ns);
    find_compressed(path, slot.floor_ns);
  }
  for (const auto& file : all_files()) check_timers(*file);
  close_drained();
  checked_ns_ = started_ns;
  is_first_check_ = false;
}

void Follower::discover() {
  glob_t found{};
  if (::glob(options_.pattern.c_str(), 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc; ++i) {
      const std::string path = found.gl_pathv[i];
      const bool is_excluded =
          std::any_of(options_.exclude.begin(), options_.exclude.end(), [&](const auto& pattern) {
            return ::fnmatch(pattern.c_str(), path.c_str(), 0) == 0 ||
                   ::fnmatch(pattern.c_str(), split(path).name.c_str(), 0) == 0;
          });
      if (is_excluded || slots_.contains(path)) continue;
      const auto facts = facts_of(path);
      if (!facts || !facts->is_regular || is_known(*facts)) continue;
      if (slots_.size() >= options_.files_max) {
        if (!is_limit_said_)
          log::warn("{}: more than {} files match; the rest is not read", options_.pattern,
                    options_.files_max);
        is_limit_said_ = true;
        break;
      }
      Slot& slot = slots_[path];
      if (!is_first_check_) slot.missing_since_ns = checked_ns_;
    }
  }
  ::globfree(&found);
  std::erase_if(slots_, [](const auto& entry) {  // gone, and nothing left to read
    return !entry.second.current && entry.second.is_waiting_said;
  });
}

void Follower::check_slot(const std::string& path, Slot& slot) {
  const auto facts = facts_of(path);
  if (!facts) {
    if (!slot.current) {
      if (slot.missing_since_ns == 0) {
        slot.missing_since_ns = wall_ns();
        has_new_file_ = true;
      }
      if (!slot.is_waiting_said) say("waiting for {} ({})", path, facts.error().message());
      slot.is_waiting_said = true;
      if (is_first_check_) find_rotated_while_away(path);
      return;
    }
    const auto held = facts_of(slot.current->fd());
    const bool is_gone = held && held->links == 0;
    // Renamed without a successor yet: still the file that is written to.
    if (is_gone || is_pattern_) drain(std::exchange(slot.current, nullptr));
    return;
  }
  if (slot.current) {
    if (facts->is_same_file(slot.current->facts())) return;
    const FileFacts older = slot.current->facts();
    drain(std::exchange(slot.current, nullptr));
    take_up(path, slot);
    scan_for_missed(slot, birth_ns(older));
    return;
  }
  take_up(path, slot);
  if (is_first_check_) find_rotated_while_away(path);
}

void Follower::take_up(const std::string& path, Slot& slot) {
  FilePtr file = open(path, path);
  if (!file) return;
  if (slot.is_waiting_said) say("{} is there now", path);
  slot.is_waiting_said = false;
  slot.current = std::move(file);
  if (const std::int64_t since = std::exchange(slot.missing_since_ns, 0); since != 0) {
    scan_for_missed(slot, since);
  }
}

void Follower::drain(FilePtr file) {
  say("{} was rotated or deleted; reading its rest from byte {}", file->path(), file->offset());
  file->is_dirty = true;
  file->grown_at = now_;
  ++closed_.rotations;
  draining_.push_back(std::move(file));
}

Follower::FilePtr Follower::open(const std::string& path, const std::string& named,
                                 const FileFacts* expected) {
  auto fd = open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    log::warn("{}", fd.error().message());
    return nullptr;
  }
  const auto facts = facts_of(fd->get());
  if (!facts || !facts->is_regular) {
    log::warn("cannot follow {}: not a regular file", path);
    return nullptr;
  }
  if (expected != nullptr && !facts->is_same_file(*expected)) return nullptr;
  auto file = follow(std::move(*fd), named, *facts);
  resume_from_checkpoint(*file);
  if (is_first_check_ && !has_checkpoint_ && options_.starts_at_end) file->skip_to(facts->size);
  return file;
}

Follower::FilePtr Follower::follow(Fd fd, const std::string& named, const FileFacts& facts) {
  auto file = std::make_shared<FollowedFile>(std::move(fd), options_.pattern, named, facts,
                                             options_.make_encoder(named), options_.line_bytes_max,
                                             options_.encoding);
  file->grown_at = now_;
  file->size_seen = facts.size;
  has_new_file_ = true;
  return file;
}

// By device and inode, confirmed by the bytes at the head and before the position; else by those
// bytes alone, for a file that was copied or moved to another volume.
void Follower::resume_from_checkpoint(FollowedFile& file) {
  const FileFacts& facts = file.facts();
  const auto is_same_inode = [&](const FileCheckpoint& entry) {
    return entry.device == facts.device && entry.inode == facts.inode;
  };
  for (auto entry = resumable_.begin(); entry != resumable_.end(); ++entry) {
    const bool is_candidate =
        is_same_inode(*entry) || (entry->path == file.path() && entry->offset > 0);
    if (!is_candidate || !file.matches(*entry)) continue;
    file.resume(*entry);
    resumable_.erase(entry);
    return;
  }
  for (FileCheckpoint& entry : resumable_) {
    if (!is_same_inode(entry)) continue;
    log::warn(
        "{} is not the file that the checkpoint knows (rewritten or truncated while away); "
        "reading it from the start",
        file.path());
    // Its inode was given to another file, perhaps, and it is compressed now: find_compressed().
    entry.device = entry.inode = kNoInode;
  }
  if (is_first_check_) return;
  std::erase_if(resumable_, [](const FileCheckpoint& entry) { return entry.inode == kNoInode; });
}

std::vector<Follower::Sibling> Follower::rotated_siblings(const std::string& path,
                                                          bool is_compressed) const {
  const PathParts parts = split(path);
  std::vector<Sibling> siblings;
  DIR* const directory = ::opendir(parts.directory.empty() ? "/" : parts.directory.c_str());
  if (directory == nullptr) return siblings;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name =
        is_compressed ? without_compression_suffix(entry->d_name) : entry->d_name;
    if (!is_rotated_name(name, parts.name)) continue;
    const std::string sibling = parts.directory + "/" + entry->d_name;
    const auto facts = facts_of(sibling);
    if (facts && facts->is_regular) siblings.push_back({sibling, *facts});
  }
  ::closedir(directory);
  std::sort(siblings.begin(), siblings.end(), [](const Sibling& a, const Sibling& b) {
    return birth_ns(a.facts) < birth_ns(b.facts);
  });
  return siblings;
}

// Files of the checkpoint that were rotated while we did not run, and the generations after them.
void Follower::find_rotated_while_away(const std::string& path) {
  const auto siblings = rotated_siblings(path);
  const auto sibling_of = [&](const FileCheckpoint& entry) {
    return std::find_if(siblings.begin(), siblings.end(), [&](const Sibling& sibling) {
      return sibling.facts.inode == entry.inode && sibling.facts.device == entry.device;
    });
  };
  std::vector<FileCheckpoint> wanted;
  for (const auto& entry : resumable_) {
    if (entry.path == path) wanted.push_back(entry);
  }
  for (const auto& entry : wanted) {
    const auto sibling = sibling_of(entry);
    FilePtr found;
    if (sibling != siblings.end()) found = open(sibling->path, path, &sibling->facts);
    if (found) {
      scan_for_missed(slots_[path], birth_ns(found->facts()));
      drain(std::move(found));
    }
  }
  find_compressed(path);
  for (const auto& entry : wanted) {
    const bool is_left = std::find(resumable_.begin(), resumable_.end(), entry) != resumable_.end();
    if (!is_left || !facts_of(path)) continue;
    log::warn(
        "{}: a file that was read up to byte {} has gone while away; what followed cannot be "
        "read",
        path, entry.offset);
    std::erase(resumable_, entry);
  }
  const FileFacts* newest_finished = nullptr;
  for (const auto& entry : finished_) {
    const auto sibling = sibling_of(entry);
    if (sibling == siblings.end()) continue;
    if (newest_finished == nullptr || birth_ns(sibling->facts) > birth_ns(*newest_finished)) {
      newest_finished = &sibling->facts;
    }
  }
  if (wanted.empty() && newest_finished != nullptr)
    scan_for_missed(slots_[path], birth_ns(*newest_finished));
}

void Follower::scan_for_missed(Slot& slot, std::int64_t floor_ns) {
  slot.floor_ns = now_ < slot.scan_until ? std::min(slot.floor_ns, floor_ns) : floor_ns;
  slot.scan_until = now_ + kScanTime;
}

// Generations between the ones we had and the one at the path now: rotated before we looked.
void Follower::find_missed_generations(const std::string& path, std::int64_t floor_ns) {
  for (const auto& sibling : rotated_siblings(path)) {
    if (birth_ns(sibling.facts) < floor_ns || is_known(sibling.facts)) continue;
    const bool is_awaited =
        std::any_of(resumable_.begin(), resumable_.end(), [&](const FileCheckpoint& entry) {
          return entry.inode == sibling.facts.inode && entry.device == sibling.facts.device;
        });
    if (is_awaited) continue;
    if (FilePtr file = open(sibling.path, path, &sibling.facts)) drain(std::move(file));
  }
}

void Follower::check_timers(FollowedFile& file) {
  const auto facts = facts_of(file.fd());
  if (!facts) return;
  if (facts->size != file.size_seen) {
    file.size_seen = facts->size;
    file.grown_at = now_;
  }
  if (facts->size != file.offset() + file.unfinished_bytes()) file.is_dirty = true;
  if (!file.has_unfinished()) return;
  const Duration waited = now_ - file.grown_at;
  if (options_.group_timeout > Duration::zero() && waited >= options_.group_timeout) {
    file.is_group_due = file.is_dirty = true;
  }
  if (waited >= options_.partial_line_timeout) file.is_partial_due = file.is_dirty = true;
}

bool Follower::is_quiet(const FollowedFile& file) const {
  const Duration idle = now_ - file.grown_at;
  if (file.is_dirty || idle < options_.rotate_wait) return false;
  return idle >= kIdleWriterMax || !has_writer(file.fd());
}

void Follower::close_drained() {
  for (auto& file : draining_) {
    if (!file->is_closing && is_quiet(*file)) {
      file->is_closing = true;
      file->is_partial_due = file->is_dirty = file->has_unfinished();
    }
    file->is_finished = file->is_closing && !file->is_dirty;
  }
  std::erase_if(draining_, [this](const FilePtr& file) {
    if (!file->is_finished || !file->is_all_acknowledged()) return false;
    finished_.push_back(file->checkpoint());
    closed_.bytes_read += file->bytes_read();
    closed_.encode += file->encoder().counters();
    return true;
  });
  if (finished_.size() > kFinishedMax) {
    finished_.erase(finished_.begin(), finished_.end() - static_cast<std::ptrdiff_t>(kFinishedMax));
  }
}

void Follower::handle_truncation(const FilePtr& file) {
  ++closed_.truncations;
  bool has_copy = false;
  for (const auto& sibling : rotated_siblings(file->path())) {
    if (is_known(sibling.facts)) continue;
    const auto fd = open_file(sibling.path, O_RDONLY | O_NONBLOCK);
    if (!fd || !file->is_continued_by(fd->get(), sibling.facts)) continue;
    if (FilePtr copy = open(sibling.path, file->path(), &sibling.facts)) {
      copy->skip_to(file->offset());
      drain(std::move(copy));
      has_copy = true;
    }
    break;
  }
  for (const auto& packed : rotated_siblings(file->path(), true)) {
    if (has_copy) break;
    FilePtr copy = open_compressed(packed, file->path());
    if (!copy || !file->is_continued_by(copy->fd(), copy->facts())) continue;
    copy->skip_to(file->offset());
    drain(std::move(copy));
    has_copy = true;
  }
  say("{} was truncated after byte {}; {}", file->path(), file->offset(),
      has_copy ? "reading the rest from its copy" : "reading it from its start");
  file->restart();
  file->size_seen = 0;
}

void Follower::on_event(const std::string& directory, std::string_view name, bool is_content_only) {
  for (const auto& file : draining_) file->is_dirty = file->is_dirty || !file->is_closing;
  if (!is_content_only) {
    needs_discovery_ = true;
    return;
  }
  const auto slot = slots_.find(directory + "/" + std::string(name));
  if (slot != slots_.end() && slot->second.current) slot->second.current->is_dirty = true;
}

void Follower::mark_all_dirty() {
  needs_discovery_ = true;
  for (const auto& file : all_files()) file->is_dirty = true;
}

bool Follower::read_file(const FilePtr& file, ReadBuffer& buffer, RecordBuffer& records,
                         std::size_t records_bytes_max, std::vector<FileMark>& marks) {
  const std::uint64_t before = file->offset();
  const std::uint64_t filtered_before = file->encoder().counters().filtered;
  const ReadOutcome outcome = file->read(buffer, records, records_bytes_max);
  if (outcome == ReadOutcome::AtEnd) {
    file->is_dirty = false;
    if (std::exchange(file->is_partial_due, false)) {
      file->flush_partial(buffer, records);
    } else if (file->is_group_due) {
      file->flush_groups(buffer, records);
    }
    file->is_group_due = false;
  }
  filtered_ += file->encoder().counters().filtered - filtered_before;
  if (file->offset() != before) marks.push_back({file, file->safe_offset(), file->epoch(), before});
  if (const std::string choice = file->encoder().take_choice(); !choice.empty()) {
    say("{}: format {}", file->path(), choice);
  }
  if (outcome == ReadOutcome::Truncated) {
    handle_truncation(file);
    return true;
  }
  if (outcome == ReadOutcome::Failed) {
    log::error("{}", file->failure());
    file->is_dirty = false;
  }
  return outcome == ReadOutcome::Full;
}

bool Follower::read(ReadBuffer& buffer, RecordBuffer& records, std::size_t records_bytes_max,
                    std::vector<FileMark>& marks, std::int64_t wall_ns) {
  const auto read_dirty = [&](const FilePtr& file) {
    if (!file->is_dirty) return false;
    file->encoder().set_observed_time(wall_ns);
    return read_file(file, buffer, records, records_bytes_max, marks);
  };
  for (std::size_t i = 0; i < draining_.size(); ++i) {  // older generations first
    if (read_dirty(draining_[i])) return true;
  }
  auto slot = slots_.upper_bound(last_read_);  // take turns: one busy file does not starve others
  for (std::size_t i = 0; i < slots_.size(); ++i, ++slot) {
    if (slot == slots_.end()) slot = slots_.begin();
    if (!slot->second.current) continue;
    last_read_ = slot->first;
    if (read_dirty(slot->second.current)) return true;
  }
  return false;
}

void Follower::flush_partials(ReadBuffer& buffer, RecordBuffer& records,
                              std::vector<FileMark>& marks) {
  for (const auto& file : all_files()) {
    if (!file->has_unfinished()) continue;
    const std::uint64_t before = file->offset();
    const std::uint64_t filtered_before = file->encoder().counters().filtered;
    file->flush_partial(buffer, records);
    filtered_ += file->encoder().counters().filtered - filtered_before;
    marks.push_back({file, file->safe_offset(), file->epoch(), before});
  }
}

std::vector<FileCheckpoint> Follower::checkpoint() const {
  std::vector<FileCheckpoint> entries = finished_;
  entries.insert(entries.end(), resumable_.begin(), resumable_.end());
  for (const auto& file : all_files()) entries.push_back(file->checkpoint());
  for (const auto& [path, slot] : slots_) {
    if (slot.missing_since_ns == 0 || is_pattern_) continue;
    FileCheckpoint missing;
    missing.input = options_.pattern;
    missing.path = path;
    missing.born_ns = slot.missing_since_ns;
    entries.push_back(std::move(missing));
  }
  return entries;
}

bool Follower::has_finished(const FileFacts& facts) const {
  return std::any_of(finished_.begin(), finished_.end(), [&](const FileCheckpoint& entry) {
    return entry.device == facts.device && entry.inode == facts.inode &&
           entry.born_ns == facts.born_ns && entry.offset >= facts.size;
  });
}

std::vector<std::string> Follower::directories() const {
  std::vector<std::string> result;
  const auto add_directory = [&](const std::string& path) {
    std::string directory = split(path).directory;
    if (directory.find_first_of("*?[") != std::string::npos) return;
    if (std::find(result.begin(), result.end(), directory) == result.end()) {
      result.push_back(std::move(directory));
    }
  };
  add_directory(options_.pattern);
  for (const auto& [path, slot] : slots_) add_directory(path);
  return result;
}

std::vector<std::string> Follower::awaited_paths() const {
  std::vector<std::string> result;
  if (is_pattern_ && slots_.empty()) result.push_back(options_.pattern);
  for (const auto& [path, slot] : slots_) {
    if (!slot.current) result.push_back(path);
  }
  return result;
}

Follower::Counts Follower::counts() const {
  Counts counts = closed_;
  for (const auto& file : all_files()) {
    ++counts.files_open;
    counts.bytes_read += file->bytes_read();
    const std::uint64_t size = std::max(file->size_seen, file->facts().size);
    if (size > file->offset()) counts.bytes_unread += size - file->offset();
    counts.encode += file->encoder().counters();
  }
  return counts;
}

}  // namespace pillion::logs
