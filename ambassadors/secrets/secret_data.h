// A secret in memory: text that is wiped when it dies, and the fields that one read of a source
// delivered. Nothing here is ever logged or printed.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config/secrets.h"

namespace pillion::secrets {

// Overwrites the characters (also those a shrunk string still holds) and empties the string.
void wipe(std::string& text);

class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string_view text) : text_(text) {}
  // Takes the text over and wipes what is left at the source.
  static SecretText take(std::string& text);
  SecretText(const SecretText& other) = default;
  SecretText(SecretText&& other) noexcept { text_.swap(other.text_); }
  SecretText& operator=(SecretText other) noexcept {
    text_.swap(other.text_);
    return *this;
  }
  ~SecretText() { wipe(text_); }

  const std::string& reveal() const { return text_; }
  bool is_empty() const { return text_.empty(); }
  bool operator==(const SecretText&) const = default;

 private:
  std::string text_;
};

// What one file of the configuration is read from; reads of the same id are made once.
struct SecretId {
  config::SecretSource source = config::SecretSource::Vault;
  std::string name;  // Vault path without /v1/, or the absolute path of a local file
  auto operator<=>(const SecretId&) const = default;
};

struct SecretData {
  std::map<std::string, SecretText> fields;
  std::optional<SecretText> whole;  // the file source: all bytes, for a file without `field`
  std::uint64_t version = 0;        // counted by KV v2; 0 = the source has no versions
  // Set for leased (dynamic) secrets: to be read again before it has passed.
  std::optional<std::chrono::seconds> lease;
};

}  // namespace pillion::secrets
