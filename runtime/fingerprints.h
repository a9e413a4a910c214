// Recognising secrets without knowing them: what one program has issued, another can find in a text
// and take out, though it never sees the secrets themselves.
//
// Of each value the file holds its length, 24 keyed bits of its first eight bytes (to look quickly)
// and 128 bits of HMAC-SHA256 over all of it (to be sure). Who reads the file can test a guess, so
// a weak password can be guessed from it: it belongs in memory (tmpfs), readable to those two
// programs only. Values shorter than eight bytes have no fingerprint.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace pillion {

inline constexpr std::size_t kFingerprintBytesMin = 8;

struct FingerprintKey {
  std::string bytes;  // 32, random
  std::uint64_t mix = 0;
  std::uint64_t factor = 0;  // odd

  static FingerprintKey random();
  static Result<FingerprintKey> from_hex(std::string_view hex);
  std::string hex() const;

  // Of eight readable bytes; 24 bits.
  std::uint32_t prefix(const char* text) const {
    std::uint64_t word;
    std::memcpy(&word, text, sizeof word);
    return static_cast<std::uint32_t>(((word ^ mix) * factor) >> 40);
  }
  // 16 bytes.
  std::string digest(std::string_view text) const;
};

struct Fingerprint {
  std::uint32_t length = 0;
  std::uint32_t prefix = 0;
  std::string digest;
  std::int64_t retired_at = 0;  // unix seconds; 0 = still in use
  bool operator==(const Fingerprint&) const = default;
};

// A text of at least eight bytes.
Fingerprint fingerprint_of(const FingerprintKey& key, std::string_view text);

struct FingerprintFile {
  FingerprintKey key;
  std::vector<Fingerprint> values;
};

// One header line with the key, then a line per value.
std::string render_fingerprints(const FingerprintFile& file);
Result<FingerprintFile> parse_fingerprints(std::string_view text);

// Finds values in texts.
class FingerprintSearch {
 public:
  FingerprintSearch() = default;
  explicit FingerprintSearch(const FingerprintFile& file);

  bool is_empty() const { return count_ == 0; }
  struct Found {
    std::size_t begin = std::string_view::npos;  // npos: nothing
    std::size_t length = 0;
  };
  // The first value in `text` from `from` on; of several that begin there, the longest.
  Found find(std::string_view text, std::size_t from = 0) const;

 private:
  Found find_at(std::string_view text, std::size_t at, std::uint32_t prefix) const;

  FingerprintKey key_;
  std::size_t count_ = 0;
  std::vector<std::uint64_t> has_prefix_;  // a bit per upper 16 bits of a prefix
  std::multimap<std::uint32_t, Fingerprint> values_;
};

}  // namespace pillion
