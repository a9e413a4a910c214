#include "proxy/dns/cache.h"

#include "proxy/dns/message.h"

namespace pillion::proxy::dns {

std::optional<std::string> Cache::find(const std::string& key, std::int64_t now_seconds) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  const Entries::iterator entry = found->second;
  if (now_seconds >= entry->ends_at) {
    erase(entry);
    return std::nullopt;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  std::string answer = entry->answer;
  age(answer, static_cast<std::uint32_t>(now_seconds - entry->stored_at));
  return answer;
}

void Cache::put(const std::string& key, std::string answer, std::int64_t now_seconds) {
  const auto lifetime = lifetime_of(answer);
  if (key.empty() || !lifetime || answer.size() > bytes_max_ / 4) return;
  if (const auto old = by_key_.find(key); old != by_key_.end()) erase(old->second);
  bytes_ += answer.size();
  entries_.push_front({key, std::move(answer), now_seconds, now_seconds + *lifetime});
  by_key_[key] = entries_.begin();
  while (by_key_.size() > entries_max_ || bytes_ > bytes_max_) erase(std::prev(entries_.end()));
}

void Cache::clear() {
  by_key_.clear();
  entries_.clear();
  bytes_ = 0;
}

void Cache::erase(Entries::iterator entry) {
  bytes_ -= entry->answer.size();
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

}  // namespace pillion::proxy::dns
