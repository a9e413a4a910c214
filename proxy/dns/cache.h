// Answers that were given before, as whole messages, until their records' time is over. Bounded by
// number and bytes; the one not used for longest goes first. Time comes in as an argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

namespace pillion::proxy::dns {

class Cache {
 public:
  static constexpr std::size_t kEntriesMax = 4096;
  static constexpr std::size_t kBytesMax = 4 * 1024 * 1024;

  explicit Cache(std::size_t entries_max = kEntriesMax, std::size_t bytes_max = kBytesMax)
      : entries_max_(entries_max), bytes_max_(bytes_max) {}

  // The answer with its records' time reduced; its id is not the asker's.
  std::optional<std::string> find(const std::string& key, std::int64_t now_seconds);
  // Keeps an answer that may be kept (see lifetime_of()).
  void put(const std::string& key, std::string answer, std::int64_t now_seconds);
  void clear();
  std::size_t size() const { return by_key_.size(); }

 private:
  struct Entry {
    std::string key;
    std::string answer;
    std::int64_t stored_at = 0;
    std::int64_t ends_at = 0;
  };
  using Entries = std::list<Entry>;  // most recently used first

  void erase(Entries::iterator entry);

  const std::size_t entries_max_;
  const std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  Entries entries_;
  std::unordered_map<std::string, Entries::iterator> by_key_;
};

}  // namespace pillion::proxy::dns
