#include "runtime/fingerprints.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <charconv>

namespace pillion {
namespace {

constexpr std::string_view kHeader = "pillion-fingerprints 1 ";
constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kDigestBytes = 16;
constexpr std::uint32_t kPrefixMax = 0xffffff;

std::string to_hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

Result<std::string> bytes_of(std::string_view hex, std::size_t count) {
  if (hex.size() != count * 2) return fail("not of the length it should have");
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    unsigned value = 0;
    const auto parsed = std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    if (parsed.ec != std::errc() || parsed.ptr != hex.data() + i + 2)
      return fail("not hexadecimal");
    bytes += static_cast<char>(value);
  }
  return bytes;
}

FingerprintKey key_of(std::string bytes) {
  PILLION_ASSERT(bytes.size() == kKeyBytes);
  std::uint64_t words[2] = {};
  std::memcpy(words, bytes.data(), sizeof words);
  FingerprintKey key;
  key.mix = words[0];
  key.factor = words[1] | 1;
  key.bytes = std::move(bytes);
  return key;
}

// Takes the next word off `line`.
std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

template<class Number>
bool read_number(std::string_view word, Number& number, int base = 10) {
  const auto parsed = std::from_chars(word.data(), word.data() + word.size(), number, base);
  return parsed.ec == std::errc() && parsed.ptr == word.data() + word.size();
}

Result<Fingerprint> parse_value(std::string_view line) {
  Fingerprint value;
  const bool is_read =
      read_number(next_word(line), value.length) && read_number(next_word(line), value.prefix, 16);
  auto digest = bytes_of(next_word(line), kDigestBytes);
  if (!is_read || !digest || !read_number(line, value.retired_at) || value.prefix > kPrefixMax ||
      value.length < kFingerprintBytesMin) {
    return fail("a line is no fingerprint");
  }
  value.digest = std::move(*digest);
  return value;
}

}  // namespace

FingerprintKey FingerprintKey::random() {
  std::string bytes(kKeyBytes, '\0');
  PILLION_ASSERT(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), kKeyBytes) == 1);
  return key_of(std::move(bytes));
}

Result<FingerprintKey> FingerprintKey::from_hex(std::string_view hex) {
  auto bytes = bytes_of(hex, kKeyBytes);
  if (!bytes) return fail(bytes.error().wrap("the key"));
  return key_of(std::move(*bytes));
}

std::string FingerprintKey::hex() const { return to_hex(bytes); }

std::string FingerprintKey::digest(std::string_view text) const {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  HMAC(EVP_sha256(), bytes.data(), static_cast<int>(bytes.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &length);
  return {reinterpret_cast<const char*>(out), kDigestBytes};
}

Fingerprint fingerprint_of(const FingerprintKey& key, std::string_view text) {
  PILLION_ASSERT(text.size() >= kFingerprintBytesMin);
  return {static_cast<std::uint32_t>(text.size()), key.prefix(text.data()), key.digest(text), 0};
}

std::string render_fingerprints(const FingerprintFile& file) {
  std::string text = std::string(kHeader) + file.key.hex() + "\n";
  for (const Fingerprint& value : file.values) {
    char prefix[8];
    const auto end = std::to_chars(prefix, prefix + sizeof prefix, value.prefix, 16).ptr;
    text += std::to_string(value.length) + " " + std::string(prefix, end) + " " +
            to_hex(value.digest) + " " + std::to_string(value.retired_at) + "\n";
  }
  return text;
}

Result<FingerprintFile> parse_fingerprints(std::string_view text) {
  FingerprintFile file;
  const auto next_line = [&](std::string_view& line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    line = text.substr(0, end);
    text.remove_prefix(end + 1);
    return true;
  };
  std::string_view line;
  if (!next_line(line) || !line.starts_with(kHeader)) return fail("not a file of fingerprints");
  auto key = FingerprintKey::from_hex(line.substr(kHeader.size()));
  if (!key) return fail(key.error());
  file.key = std::move(*key);
  while (next_line(line)) {
    auto value = parse_value(line);
    if (!value) return fail(value.error());
    file.values.push_back(std::move(*value));
  }
  if (!text.empty()) return fail("the last line is not complete");
  return file;
}

FingerprintSearch::FingerprintSearch(const FingerprintFile& file)
    : key_(file.key), count_(file.values.size()), has_prefix_((1u << 16) / 64) {
  for (const Fingerprint& value : file.values) {
    const std::uint32_t upper = value.prefix >> 8;
    has_prefix_[upper >> 6] |= std::uint64_t{1} << (upper & 63);
    values_.emplace(value.prefix, value);
  }
}

FingerprintSearch::Found FingerprintSearch::find_at(std::string_view text, std::size_t at,
                                                    std::uint32_t prefix) const {
  Found found;
  const auto [begin, end] = values_.equal_range(prefix);
  for (auto value = begin; value != end; ++value) {
    const std::size_t length = value->second.length;
    if (length > text.size() - at || length <= found.length) continue;
    if (key_.digest(text.substr(at, length)) == value->second.digest) found = {at, length};
  }
  return found;
}

FingerprintSearch::Found FingerprintSearch::find(std::string_view text, std::size_t from) const {
  if (count_ == 0) return {};
  for (std::size_t at = from; at + kFingerprintBytesMin <= text.size(); ++at) {
    const std::uint32_t prefix = key_.prefix(text.data() + at);
    const std::uint32_t upper = prefix >> 8;
    if ((has_prefix_[upper >> 6] >> (upper & 63) & 1) == 0) continue;
    const Found found = find_at(text, at, prefix);
    if (found.length > 0) return found;
  }
  return {};
}

}  // namespace pillion
