// An entry of the journal as one JSON line, under ECS names. Pure.
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL, systemd.journal-fields(7))
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pillion::logs {

class JournalEntry {
 public:
  // A text longer than this is cut.
  explicit JournalEntry(std::size_t value_bytes_max) : value_bytes_max_(value_bytes_max) {}

  void begin(std::uint64_t realtime_us);
  // "MESSAGE=…", as sd_journal_enumerate_data(3) gives it.
  void add(std::string_view field);
  // With its final newline; valid until the next begin().
  std::string_view finish();

 private:
  void put_text(std::string_view name, std::string_view value);
  void put_number(std::string_view name, std::string_view value);
  void put_custom(std::string_view name, std::string_view value);

  std::size_t value_bytes_max_;
  std::uint64_t time_us_ = 0;
  std::string line_;
};

}  // namespace pillion::logs
