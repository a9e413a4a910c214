// JSON lines (RFC 8259, strict): one object per line, checked and copied in one pass; white space
// between tokens is dropped. Part of the encoder's inner loops, see kernel_scan.h.
//
// Top-level keys that mean time, level or message get our names, when their values fit; everything
// else, nested values included, is kept as it is.
#pragma once

#include "adapters/logs/encode/kernel_record.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

inline constexpr int kJsonDepthMax = 64;
inline constexpr std::ptrdiff_t kJsonNumberBytesMax = 256;

inline const char* skip_space(const char* p, const char* end) {
  while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) ++p;
  return p;
}

// Reads from one line and writes to one place; a null position means "not JSON".
struct JsonCopier {
  EncodeState& state;
  const char* p;
  const char* end;
  char* out;

  bool fail() {
    state.scratch.failure = "not a JSON object";
    return false;
  }

  // At the byte after an opening quote: copies up to and including the closing one.
  bool copy_string_tail() {
    while (p < end) {
      const auto left = static_cast<std::size_t>(end - p);
      const std::size_t clean = first_special(copy_step(out, p), left);
      if (clean == kStep) {
        const std::size_t count = left < kStep ? left : kStep;
        p += count;
        out += count;
        continue;
      }
      p += clean;
      out += clean;
      if (*p == '"') {
        ++p;
        *out++ = '"';
        return true;
      }
      if (*p == '\\') {
        out = put_escape(out, p, end);
        if (out == nullptr) return fail();
      } else if (static_cast<unsigned char>(*p) < 0x20) {
        return fail();
      } else {
        out = put_special(state, out, p, end);  // not ASCII
      }
    }
    return fail();
  }

  // RFC 8259 §6. Numbers that most readers cannot hold become strings.
  bool copy_number() {
    const char* const begin = p;
    if (p < end && *p == '-') ++p;
    if (p == end || !is_digit(*p)) return fail();
    const bool leads_with_zero = *p++ == '0';
    if (!leads_with_zero) skip_digits();
    if (p < end && *p == '.') {
      ++p;
      if (p == end || !is_digit(*p)) return fail();
      skip_digits();
    }
    std::ptrdiff_t exponent_digits = 0;
    if (p < end && (*p == 'e' || *p == 'E')) {
      ++p;
      if (p < end && (*p == '+' || *p == '-')) ++p;
      const char* const exponent = p;
      skip_digits();
      exponent_digits = p - exponent;
      if (exponent_digits == 0) return fail();
    }
    const bool is_huge = exponent_digits > 2 || p - begin > kJsonNumberBytesMax;
    if (is_huge) *out++ = '"';
    out = put(out, begin, static_cast<std::size_t>(p - begin));
    if (is_huge) *out++ = '"';
    return true;
  }

  void skip_digits() {
    while (p < end && is_digit(*p)) ++p;
  }

  bool copy_word(const char* word, std::ptrdiff_t length) {
    if (end - p < length || std::memcmp(p, word, static_cast<std::size_t>(length)) != 0)
      return fail();
    out = put(out, word, static_cast<std::size_t>(length));
    p += length;
    return true;
  }

  bool copy_value(int depth) {
    p = skip_space(p, end);
    if (p == end) return fail();
    switch (*p) {
      case '"':
        ++p;
        *out++ = '"';
        return copy_string_tail();
      case '{': return copy_members(depth + 1, '}');
      case '[': return copy_members(depth + 1, ']');
      case 't': return copy_word("true", 4);
      case 'f': return copy_word("false", 5);
      case 'n': return copy_word("null", 4);
      default: return copy_number();
    }
  }

  // The members of a nested object or array, from its opening bracket.
  bool copy_members(int depth, char close) {
    if (depth > kJsonDepthMax) return fail();
    *out++ = *p++;
    p = skip_space(p, end);
    if (p < end && *p == close) {
      *out++ = *p++;
      return true;
    }
    for (;;) {
      if (close == '}' && !copy_member_key()) return false;
      if (!copy_value(depth)) return false;
      p = skip_space(p, end);
      if (p == end || (*p != ',' && *p != close)) return fail();
      *out++ = *p++;
      if (p[-1] == close) return true;
    }
  }

  bool copy_member_key() {
    p = skip_space(p, end);
    if (p == end || *p != '"') return fail();
    ++p;
    *out++ = '"';
    if (!copy_string_tail()) return false;
    p = skip_space(p, end);
    if (p == end || *p != ':') return fail();
    ++p;
    *out++ = ':';
    return true;
  }
};

// The string or number at `p` as a view without quotes, when it holds nothing special; empty else.
inline std::string_view simple_value(const char* p, const char* end, bool& is_string) {
  is_string = p < end && *p == '"';
  const char* const begin = p + is_string;
  const char* q = begin;
  if (is_string) {
    while (q < end && *q != '"' && *q != '\\' && q - begin < 40) ++q;
    if (q == end || *q != '"') return {};
  } else {
    while (q < end && (is_digit(*q) || *q == '.' || *q == '-') && q - begin < 40) ++q;
  }
  return {begin, static_cast<std::size_t>(q - begin)};
}

// pino and bunyan number their levels.
inline const char* level_of_number(std::string_view text) {
  if (text.size() != 2 || text[1] != '0') return nullptr;
  constexpr const char* kLevels[] = {"trace", "debug", "info", "warn", "error", "fatal"};
  const int index = text[0] - '1';
  return index >= 0 && index < 6 ? kLevels[index] : nullptr;
}

// Writes the value at json.p under our name when the key has a role that the value fits. True when
// it did; json.p stands behind the value then.
inline bool put_json_role(JsonCopier& json, const char* key, std::size_t length) {
  EncodeState& state = json.state;
  Scratch& record = state.scratch;
  const KeyRole role = role_of(key, length);
  if (role == KeyRole::Field) return false;
  if (role == KeyRole::Message) {
    if (record.piece_count != 0 || json.p == json.end || *json.p != '"') return false;
    record.piece_count = 1;  // a message was written; there are no pieces in JSON
    json.out = put(json.out, "\"message\":\"");
    ++json.p;
    return json.copy_string_tail();
  }
  bool is_string = false;
  const std::string_view text = simple_value(json.p, json.end, is_string);
  if (text.empty()) return false;
  if (role == KeyRole::Time) {
    if (record.has_time) return false;
    char* const written = put_time_value(state, json.out, text.data(), text.data() + text.size());
    if (written == nullptr) return false;
    json.out = written - 1;  // the caller writes the comma
  } else {
    if (record.has_level) return false;
    const char* const level =
        is_string ? level_of(text.data(), text.size(), true) : level_of_number(text);
    if (level == nullptr) return false;
    json.out = put_level(state, json.out, level) - 1;
  }
  json.p = text.data() + text.size() + is_string;
  return true;
}

inline bool put_json_member(JsonCopier& json) {
  EncodeState& state = json.state;
  json.p = skip_space(json.p, json.end);
  if (json.p == json.end || *json.p != '"') return json.fail();
  const char* const key = ++json.p;
  // The key is copied to where it would go, and so checked; roles and repeats may rewrite it.
  char* const begin = json.out;
  *json.out++ = '"';
  if (!json.copy_string_tail()) return false;
  const auto source_length = static_cast<std::size_t>(json.p - 1 - key);
  const auto length = static_cast<std::size_t>(json.out - 1 - (begin + 1));
  const bool is_verbatim = length == source_length && std::memcmp(begin + 1, key, length) == 0;
  json.p = skip_space(json.p, json.end);
  if (json.p == json.end || *json.p != ':') return json.fail();
  json.p = skip_space(json.p + 1, json.end);
  json.out = begin;
  if (put_json_role(json, key, source_length)) return true;
  if (state.scratch.failure != nullptr || state.scratch.key_count >= kFieldsMax) return json.fail();
  if (is_verbatim) {
    json.out = put_key(state, json.out, key, length);
  } else {  // the key was mended (bad UTF-8); its text lives in the output only
    json.out = put_mended_key(state, json.out, length);
  }
  return json.copy_value(0);
}

inline char* parse_json(EncodeState& state, char* out, const char* p, const char* end) {
  JsonCopier json{state, skip_space(p, end), end, out};
  if (json.p == end || *json.p != '{') {
    json.fail();
    return nullptr;
  }
  json.p = skip_space(json.p + 1, end);
  const bool is_empty = json.p < end && *json.p == '}';
  while (!is_empty) {
    if (!put_json_member(json)) return nullptr;
    *json.out++ = ',';
    json.p = skip_space(json.p, end);
    if (json.p == end || (*json.p != ',' && *json.p != '}')) {
      json.fail();
      return nullptr;
    }
    if (*json.p++ == '}') break;
  }
  if (is_empty) ++json.p;
  if (skip_space(json.p, end) != end) {
    json.fail();
    return nullptr;
  }
  return json.out;
}

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
