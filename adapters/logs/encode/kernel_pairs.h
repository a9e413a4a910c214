// key=value lines: logfmt, and logfmt behind a time and a level. Part of the encoder's inner loops,
// see kernel_scan.h.
//
//   2024-01-15 14:32:01 INFO order shipped order_id=ORD-9921 note="two \"boxes\""
//
// Words that are no pair are the message, in their order. A quoted value may hold anything; its
// escapes are JSON's.
#pragma once

#include "adapters/logs/encode/kernel_record.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

inline bool is_blank(char c) { return c == ' ' || c == '\t'; }

struct KeyBytes {
  bool is_allowed[256] = {};
  constexpr KeyBytes() {
    for (int c = 'a'; c <= 'z'; ++c) is_allowed[c] = is_allowed[c - 32] = true;
    for (int c = '0'; c <= '9'; ++c) is_allowed[c] = true;
    for (const char c : {'_', '.', '-', '@', '/'}) is_allowed[static_cast<int>(c)] = true;
  }
};
inline constexpr KeyBytes kKeyBytes;

inline bool is_key(const char* begin, const char* end) {
  const auto length = static_cast<std::size_t>(end - begin);
  if (length == 0 || length > kKeyBytesMax) return false;
  if (!is_alpha(*begin) && *begin != '_' && *begin != '@') return false;
  for (const char* p = begin + 1; p < end; ++p) {
    if (!kKeyBytes.is_allowed[static_cast<unsigned char>(*p)]) return false;
  }
  return true;
}

struct Value {
  Piece piece;
  const char* next;  // where the next token starts
  bool is_quoted;
};

// The value whose first byte is at `v`; the cursor stands behind the '='. False when a quote is not
// closed; the cursor is used up then.
inline bool read_value(Cursor& cursor, const char* v, const char* end, Value& value) {
  value.is_quoted = v < end && *v == '"';
  Text text = Text::Clean;
  if (value.is_quoted) {
    cursor.next();  // the quote itself
    const char* escaped = nullptr;
    for (;;) {
      const char* const at = cursor.next();
      if (at == end) return false;
      if (at == escaped) continue;
      if (*at == '"') {
        value.piece = {v + 1, at, text};
        value.next = at + 1;
        if (value.next < end && is_blank(*value.next)) value.next = cursor.next() + 1;
        return true;
      }
      if (*at == '\\') {
        text = Text::Backslash;
        escaped = at + 1;
      } else if (*at != ' ' && *at != '=' && text == Text::Clean) {
        text = Text::Raw;
      }
    }
  }
  for (;;) {
    const char* const at = cursor.next();
    if (at == end || is_blank(*at)) {
      value.piece = {v, at, text};
      value.next = at == end ? end : at + 1;
      return true;
    }
    if (*at != '=') text = Text::Raw;
  }
}

inline char* put_pair(EncodeState& state, char* out, const char* key, std::size_t length,
                      const Value& value) {
  Scratch& record = state.scratch;
  const Piece& piece = value.piece;
  const auto value_length = static_cast<std::size_t>(piece.end - piece.begin);
  switch (role_of(key, length)) {
    case KeyRole::Field: break;
    case KeyRole::Message: add_piece(record, piece); return out;
    case KeyRole::Level:
      if (record.has_level) break;
      if (const char* level = level_of(piece.begin, value_length, true)) {
        return put_level(state, out, level);
      }
      break;
    case KeyRole::Time:
      if (record.has_time) break;
      if (char* const written = put_time_value(state, out, piece.begin, piece.end)) return written;
      break;
  }
  out = put_key(state, out, key, length);
  if (!value.is_quoted && is_plain_number(piece.begin, piece.end)) {
    out = put_clean(out, piece.begin, piece.end);
    *out++ = ',';
    return out;
  }
  return put_string(state, out, piece);
}

// Words between pairs, gathered while they are contiguous.
class TextRun {
 public:
  void extend(const char* begin, const char* end, bool is_clean) {
    if (begin_ == nullptr) {
      begin_ = begin;
      is_clean_ = true;
    }
    end_ = end;
    is_clean_ = is_clean_ && is_clean;
  }
  void flush(Scratch& record) {
    if (begin_ == nullptr) return;
    add_piece(record, {begin_, end_, is_clean_ ? Text::Clean : Text::Raw});
    begin_ = nullptr;
  }
  void mark_unclean() { is_clean_ = false; }

 private:
  const char* begin_ = nullptr;
  const char* end_ = nullptr;
  bool is_clean_ = true;
};

// Pairs and words of [p, end). `pairs` counts the pairs.
inline char* put_pairs(EncodeState& state, char* out, const char* p, const char* end,
                       std::uint32_t& pairs) {
  Scratch& record = state.scratch;
  Cursor cursor(p, end);
  TextRun run;
  const char* token = p;
  bool is_clean = true;    // nothing in the token needs an escape
  bool may_be_key = true;  // no '=' in the token yet
  for (;;) {
    const char* const at = cursor.next();
    if (at == end || is_blank(*at)) {
      if (at > token) run.extend(token, at, is_clean);
      if (at == end) break;
      if (*at == '\t') run.mark_unclean();
      token = at + 1;
      is_clean = may_be_key = true;
      continue;
    }
    if (*at != '=') {
      is_clean = false;
      continue;
    }
    const bool is_pair = may_be_key && is_clean && pairs < kFieldsMax - 1 && is_key(token, at);
    may_be_key = false;
    if (!is_pair) continue;
    Value value;
    if (!read_value(cursor, at + 1, end, value)) {
      run.extend(token, end, false);
      break;
    }
    run.flush(record);
    out = put_pair(state, out, token, static_cast<std::size_t>(at - token), value);
    ++pairs;
    token = value.next;
    is_clean = may_be_key = true;
    if (token >= end) break;
  }
  run.flush(record);
  return out;
}

// Null with record.failure set when the line is not of the format; likewise all parsers.
inline char* parse_logfmt(EncodeState& state, char* out, const char* p, const char* end) {
  std::uint32_t pairs = 0;
  out = put_pairs(state, out, p, end, pairs);
  if (pairs == 0) {
    state.scratch.failure = "no key=value pair";
    return nullptr;
  }
  return put_message(state, out);
}

inline const char* skip_blanks(const char* p, const char* end) {
  while (p < end && is_blank(*p)) ++p;
  return p;
}

// Blanks, and one '-', '|' or ':' that stands alone between columns.
inline const char* skip_separator(const char* p, const char* end) {
  p = skip_blanks(p, end);
  if (end - p >= 2 && (*p == '-' || *p == '|' || *p == ':') && is_blank(p[1])) {
    p = skip_blanks(p + 1, end);
  }
  return p;
}

// A level word at `p`, bare, in brackets or before a colon. Returns where the line goes on; `p`
// itself when there is none.
inline const char* read_level(const char* p, const char* end, const char*& level) {
  const bool is_bracketed = p < end && *p == '[';
  const char* const word = p + is_bracketed;
  const char* q = word;
  while (q < end && is_alpha(*q)) ++q;
  level = level_of(word, static_cast<std::size_t>(q - word), false);
  if (level == nullptr) return p;
  if (is_bracketed) {
    q = skip_blanks(q, end);
    if (q == end || *q != ']') {
      level = nullptr;
      return p;
    }
    return q + 1;
  }
  if (q < end && *q == ':') return q + 1;
  if (q == end || is_blank(*q)) return q;
  level = nullptr;  // "INFO-desk"
  return p;
}

inline char* parse_prefixed(EncodeState& state, char* out, const char* p, const char* end) {
  Scratch& record = state.scratch;
  p = skip_blanks(p, end);
  const bool is_bracketed = p < end && *p == '[';
  p += is_bracketed;
  out = put(out, "\"@timestamp\":\"");
  p = read_iso_time(state, state.iso_minute, p, end, out);
  if (p == nullptr || (is_bracketed && (p == end || *p++ != ']'))) {
    record.failure = "no ISO 8601 time at the start of the line";
    return nullptr;
  }
  record.has_time = true;
  out = put(out, "\",");
  p = skip_separator(p, end);
  const char* level = nullptr;
  p = read_level(p, end, level);
  if (level != nullptr) {
    out = put_level(state, out, level);
    p = skip_separator(p, end);
  }
  std::uint32_t pairs = 0;
  out = put_pairs(state, out, p, end, pairs);
  return put_message(state, out);
}

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
