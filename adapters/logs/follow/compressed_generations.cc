// The part of Follower that reads generations which were compressed before we had read them. They
// are told by their content: the head that the checkpoint knows, and what stands before our
// position.
#include <algorithm>

#include "adapters/logs/follow/compressed.h"
#include "adapters/logs/follow/follower.h"

namespace pillion::logs {
namespace {

constexpr std::size_t kHeadBytes = 1024;
constexpr std::size_t kSeenMax = 4096;

bool has_head(const FileCheckpoint& entry, const std::string& head) {
  return entry.head_length > 0 && head.size() >= entry.head_length &&
         hash64(std::string_view(head).substr(0, entry.head_length)) == entry.head_hash;
}

}  // namespace

Follower::FilePtr Follower::open_compressed(const Sibling& packed, const std::string& named) {
  auto fd = decompress_to_temporary(packed.path, options_.temporary_directory);
  if (!fd) {
    log::warn("{}", fd.error().message());
    return nullptr;
  }
  const auto facts = facts_of(fd->get());
  return facts ? follow(std::move(*fd), named, *facts) : nullptr;
}

// Whether a generation with this head is open, or was read to its end.
bool Follower::is_read_already(const std::string& head, const std::string& path) const {
  const auto files = all_files();
  return std::any_of(files.begin(), files.end(),
                     [&](const FilePtr& file) { return file->begins_with(head); }) ||
         std::any_of(finished_.begin(), finished_.end(), [&](const FileCheckpoint& entry) {
           return entry.path == path && has_head(entry, head);
         });
}

// The one that we had read in part is read on; those that were written after it, or after the
// newest one that we had read, from their start. What is older was never ours.
void Follower::find_compressed(const std::string& path, std::int64_t floor_ns) {
  auto packed = rotated_siblings(path, true);
  if (packed.empty()) return;
  std::stable_sort(packed.begin(), packed.end(), [](const Sibling& a, const Sibling& b) {
    return a.facts.modified_ns < b.facts.modified_ns;
  });
  if (packed_seen_.size() > kSeenMax) packed_seen_.clear();
  bool has_anchor = false;
  const auto others = static_cast<std::ptrdiff_t>(draining_.size());
  for (const Sibling& sibling : packed) {
    const auto seen = std::make_pair(sibling.facts.inode, sibling.facts.modified_ns);
    if (!is_first_check_ && packed_seen_.contains(seen)) continue;
    const auto head = decompressed_head(sibling.path, kHeadBytes);
    if (!head || head->empty()) continue;
    const auto entry = std::find_if(resumable_.begin(), resumable_.end(), [&](const auto& known) {
      return known.path == path && has_head(known, *head);
    });
    const bool is_resumable = entry != resumable_.end();
    const bool is_read = !is_resumable && is_read_already(*head, path);
    const bool is_newer = has_anchor || sibling.facts.modified_ns > floor_ns;
    has_anchor = has_anchor || is_read;
    if (is_read || (!is_resumable && !is_newer)) {
      packed_seen_.insert(seen);
      continue;
    }
    FilePtr file = open_compressed(sibling, path);
    if (!file || (is_resumable && !file->matches(*entry))) continue;
    packed_seen_.insert(seen);
    if (is_resumable) {
      file->resume(*entry);
      resumable_.erase(entry);
    }
    has_anchor = true;
    say("{} holds what was not read of {}; reading it from byte {}", sibling.path, path,
        file->offset());
    drain(std::move(file));
  }
  // They are older than those that nobody has compressed yet.
  std::rotate(draining_.begin(), draining_.begin() + others, draining_.end());
}

}  // namespace pillion::logs
