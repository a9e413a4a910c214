// The parts of one record: keys (each at most once), level, time, message, and what surrounds them.
// Part of the encoder's inner loops, see kernel_scan.h. Every field is written as `"key":value,`;
// the last comma becomes the closing brace.
#pragma once

#include "adapters/logs/encode/kernel_scan.h"
#include "adapters/logs/encode/timestamp.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

// ---- keys

inline bool equal(const char* a, std::size_t a_length, const char* b, std::size_t b_length) {
  return a_length == b_length && std::memcmp(a, b, a_length) == 0;
}

inline bool is_own_name(const char* key, std::size_t length) {
  return equal(key, length, "@timestamp", 10) || equal(key, length, "log.level", 9) ||
         equal(key, length, "message", 7) || equal(key, length, "log.flags", 9) ||
         equal(key, length, "log.offset", 10) || equal(key, length, "event.created", 13) ||
         equal(key, length, "event.original", 14) || equal(key, length, "stream", 6) ||
         equal(key, length, "pillion.generation", 18);
}

inline bool is_written(const Scratch& record, const char* key, std::size_t length) {
  if (is_own_name(key, length)) return true;
  for (std::uint32_t i = 0; i < record.key_count; ++i) {
    if (equal(record.keys[i].data, record.keys[i].length, key, length)) return true;
  }
  return false;
}

inline void remember_key(Scratch& record, const char* key, std::size_t length,
                         std::uint32_t bucket) {
  record.seen[bucket >> 6] |= std::uint64_t{1} << (bucket & 63);
  if (record.key_count < kFieldsMax) {
    record.keys[record.key_count++] = {key, static_cast<std::uint32_t>(length)};
  }
}

// A key whose bucket is taken. Really a repeat: written as key_2, key_3…, so that nothing is lost
// and the object stays valid for consumers that refuse duplicates. One of the envelope's: the line
// wins.
__attribute__((noinline)) inline char* put_suspect_key(EncodeState& state, char* out,
                                                       const char* key, std::size_t length) {
  Scratch& record = state.scratch;
  char* const written = out;
  out = put(out, key, length);
  std::uint64_t suffix = 2;
  while (is_written(record, written, static_cast<std::size_t>(out - written))) {
    out = written + length;
    *out++ = '_';
    out = put_number(out, suffix++);
  }
  const auto final_length = static_cast<std::size_t>(out - written);
  const auto& entries = state.envelope.entries;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (equal(entries[i].key.data(), entries[i].key.size(), written, final_length)) {
      record.envelope_skip |= 1u << i;
    }
  }
  remember_key(record, written, final_length, key_bucket(written, final_length));
  return out;
}

// Writes `"key":`. The key needs no escape (or already has them).
inline char* put_key(EncodeState& state, char* out, const char* key, std::size_t length) {
  Scratch& record = state.scratch;
  const std::uint32_t bucket = key_bucket(key, length);
  *out++ = '"';
  if ((record.seen[bucket >> 6] >> (bucket & 63) & 1) != 0) {
    out = put_suspect_key(state, out, key, length);
  } else {
    remember_key(record, key, length, bucket);
    out = put_clean(out, key, key + length);
  }
  out[0] = '"';
  out[1] = ':';
  return out + 2;
}

// As put_key, for a key that stands only at its place in the output, `out + 1`.
inline char* put_mended_key(EncodeState& state, char* out, std::size_t length) {
  Scratch& record = state.scratch;
  char key[8] = {};
  std::memcpy(key, out + 1, length < 8 ? length : 8);
  const std::uint32_t bucket = key_bucket(key, length);
  remember_key(record, out + 1, length, bucket);
  out += 1 + length;
  out[0] = '"';
  out[1] = ':';
  return out + 2;
}

// What a key of the line stands for.
enum class KeyRole : std::uint8_t { Field, Time, Level, Message };

inline KeyRole role_of(const char* key, std::size_t length) {
  const auto is = [&](const char* name) { return std::memcmp(key, name, length) == 0; };
  switch (length) {
    case 2: return is("ts") ? KeyRole::Time : KeyRole::Field;
    case 3: return is("msg") ? KeyRole::Message : is("lvl") ? KeyRole::Level : KeyRole::Field;
    case 4: return is("time") ? KeyRole::Time : KeyRole::Field;
    case 5: return is("level") ? KeyRole::Level : KeyRole::Field;
    case 7: return is("message") ? KeyRole::Message : KeyRole::Field;
    case 8:
      return is("severity") || is("loglevel") ? KeyRole::Level
             : is("datetime")                 ? KeyRole::Time
                                              : KeyRole::Field;
    case 9:
      return is("timestamp")                      ? KeyRole::Time
             : is("log.level") || is("levelname") ? KeyRole::Level
                                                  : KeyRole::Field;
    case 10: return is("@timestamp") ? KeyRole::Time : KeyRole::Field;
    default: return KeyRole::Field;
  }
}

// ---- level

inline constexpr std::uint64_t word_of(const char* text) {
  std::uint64_t word = 0;
  for (int i = 0; i < 8 && text[i] != 0; ++i) {
    word |= static_cast<std::uint64_t>(static_cast<unsigned char>(text[i])) << i * 8;
  }
  return word;
}

// The normal spelling of a level word in any case, null when it is none. Letters count only where
// the line names its level ("level":"E").
inline const char* level_of(const char* text, std::size_t length, bool allows_letters) {
  if (length == 0 || length > 11) return nullptr;
  std::uint64_t word;
  std::memcpy(&word, text, sizeof word);
  if (length < 8) word &= (std::uint64_t{1} << length * 8) - 1;
  word |=
      0x2020202020202020u & (length < 8 ? (std::uint64_t{1} << length * 8) - 1 : ~std::uint64_t{0});
  if (length > 8) {
    if (length == 11 && word == word_of("informat")) return "info";
    return length == 9 && word == word_of("emergenc") ? "fatal" : nullptr;
  }
  switch (word) {
    case word_of("info"):
    case word_of("inf"): return "info";
    case word_of("warn"):
    case word_of("warning"):
    case word_of("wrn"): return "warn";
    case word_of("error"):
    case word_of("err"):
    case word_of("severe"): return "error";
    case word_of("debug"):
    case word_of("dbg"):
    case word_of("fine"): return "debug";
    case word_of("trace"):
    case word_of("finer"):
    case word_of("finest"): return "trace";
    case word_of("notice"): return "notice";
    case word_of("critical"):
    case word_of("crit"): return "critical";
    case word_of("alert"): return "alert";
    case word_of("fatal"):
    case word_of("panic"):
    case word_of("emerg"): return "fatal";
    default: break;
  }
  if (!allows_letters || length != 1) return nullptr;
  switch (word) {
    case 't':
    case 'v': return "trace";
    case 'd': return "debug";
    case 'i': return "info";
    case 'n': return "notice";
    case 'w': return "warn";
    case 'e': return "error";
    case 'c': return "critical";
    case 'a': return "alert";
    case 'f': return "fatal";
    default: return nullptr;
  }
}

inline char* put_level(EncodeState& state, char* out, const char* level) {
  state.scratch.has_level = true;
  out = put(out, "\"log.level\":\"");
  while (*level != 0) *out++ = *level++;
  return put(out, "\",");
}

// ---- time

inline bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }
inline bool is_alpha(char c) { return static_cast<unsigned char>((c | 0x20) - 'a') < 26; }

// The zone that may follow a time: Z, +01, +0100, +01:00, " +0100", " UTC", " GMT". Empty when
// there is none.
inline std::string_view zone_at(const char* p, const char* end) {
  if (p == end) return {};
  if (*p == 'Z' || *p == 'z') return {p, 1};
  const char* sign = *p == ' ' ? p + 1 : p;
  if (sign != p && end - sign >= 3 && (*sign == 'U' || *sign == 'G')) {
    const bool is_named = std::memcmp(sign, "UTC", 3) == 0 || std::memcmp(sign, "GMT", 3) == 0;
    const bool ends = end - sign == 3 || sign[3] == ' ' || sign[3] == ']';
    return is_named && ends ? std::string_view(p, 4) : std::string_view();
  }
  if (end - sign < 3 || (*sign != '+' && *sign != '-') || !is_digit(sign[1]) ||
      !is_digit(sign[2])) {
    return {};
  }
  const char* q = sign + 3;
  if (end - q >= 3 && *q == ':' && is_digit(q[1]) && is_digit(q[2])) {
    q += 3;
  } else if (end - q >= 2 && is_digit(q[0]) && is_digit(q[1])) {
    q += 2;
  } else if (sign != p) {
    return {};  // " -5 items" is no zone
  }
  return {p, static_cast<std::size_t>(q - p)};
}

inline bool is_cached(const MinuteCache& cache, const char* key, std::size_t key_length,
                      std::string_view zone) {
  return cache.is_valid && std::memcmp(cache.key, key, key_length) == 0 &&
         cache.zone_length == zone.size() &&
         (zone.empty() || std::memcmp(cache.zone, zone.data(), zone.size()) == 0);
}

// Seconds "01" to "60" behind a cached minute, then a fraction of at most nine digits, then Z.
inline char* put_seconds(const MinuteCache& cache, char* out, const char* seconds,
                         const char* fraction, std::size_t fraction_length) {
  const int value = (seconds[0] - '0') * 10 + (seconds[1] - '0');
  if (value < 60) {
    out = put(out, cache.utc, sizeof cache.utc);
    *out++ = seconds[0];
    *out++ = seconds[1];
  } else {  // a leap second
    render_seconds(cache.unix_minute + value, out);
    out += 19;
  }
  if (fraction_length > 0) {
    *out++ = '.';
    for (std::size_t i = 0; i < fraction_length; ++i) *out++ = fraction[i];
  }
  *out++ = 'Z';
  return out;
}

// Reads an ISO 8601 time at `p` and writes its rendering at `out` (advanced). Returns the end of
// the time in the line, null when there is none.
inline const char* read_iso_time(EncodeState& state, MinuteCache& cache, const char* p,
                                 const char* end, char*& out) {
  if (end - p < 19 || p[16] != ':' || !is_digit(p[17]) || !is_digit(p[18]) || p[17] > '6' ||
      (p[17] == '6' && p[18] != '0')) {
    return nullptr;
  }
  const char* q = p + 19;
  const char* fraction = q + 1;
  std::size_t fraction_length = 0;
  if (end - q >= 2 && (*q == '.' || *q == ',') && is_digit(q[1])) {
    ++q;
    while (q < end && is_digit(*q)) ++q;
    fraction_length = static_cast<std::size_t>(q - fraction);
    if (fraction_length > 9) fraction_length = 9;
  }
  const std::string_view zone = zone_at(q, end);
  if (!is_cached(cache, p, 16, zone) && !fill_iso_minute(state, cache, p, zone)) return nullptr;
  q += zone.size();
  if (q < end && (is_digit(*q) || is_alpha(*q))) return nullptr;
  out = put_seconds(cache, out, p + 17, fraction, fraction_length);
  return q;
}

// `"@timestamp":"…",` from an ISO time or a number since the epoch that fills all of [p, end);
// null when it is neither.
inline char* put_time_value(EncodeState& state, char* out, const char* p, const char* end) {
  char* const begin = out;
  out = put(out, "\"@timestamp\":\"");
  if (read_iso_time(state, state.iso_minute, p, end, out) != end) {
    out = put(begin, "\"@timestamp\":\"");
    const std::size_t length = render_epoch({p, static_cast<std::size_t>(end - p)}, out);
    if (length == 0) return nullptr;
    out += length;
  }
  state.scratch.has_time = true;
  return put(out, "\",");
}

// ---- values

// A number as JSON writes it, of at most 18 digits and without exponent: what stays a number.
inline bool is_plain_number(const char* p, const char* end) {
  if (p < end && *p == '-') ++p;
  const auto length = static_cast<std::size_t>(end - p);
  if (length == 0 || length > 18 || !is_digit(*p)) return false;
  if (*p == '0' && length > 1 && p[1] != '.') return false;  // 007 is a name
  while (p < end && is_digit(*p)) ++p;
  if (p == end) return true;
  if (*p != '.' || ++p == end) return false;
  while (p < end && is_digit(*p)) ++p;
  return p == end;
}

inline char* put_string(EncodeState& state, char* out, const Piece& piece) {
  *out++ = '"';
  out = put_text(state, out, piece);
  out[0] = '"';
  out[1] = ',';
  return out + 2;
}

inline void add_piece(Scratch& record, const Piece& piece) {
  record.pieces[record.piece_count++] = piece;
}

inline char* put_further_lines(EncodeState& state, char* out) {
  state.scratch.has_further_lines = false;
  return put_escaped(state, out, state.further_lines.data(),
                     state.further_lines.data() + state.further_lines.size());
}

inline char* put_message(EncodeState& state, char* out) {
  const Scratch& record = state.scratch;
  if (record.piece_count == 0 && !record.has_further_lines) return out;
  out = put(out, "\"message\":\"");
  for (std::uint32_t i = 0; i < record.piece_count; ++i) {
    if (i > 0) *out++ = ' ';
    out = put_text(state, out, record.pieces[i]);
  }
  if (record.has_further_lines) {
    if (record.piece_count > 0) out = put(out, "\\n");
    out = put_further_lines(state, out);
  }
  return put(out, "\",");
}

// Of a JSON line, whose message may be written already.
__attribute__((noinline)) inline char* put_left_lines(EncodeState& state, char* out) {
  if (state.scratch.piece_count == 0) return put_message(state, out);
  static constexpr char kKey[17 + kScanPadding] = "error.stack_trace";
  out = put_key(state, out, kKey, 17);
  *out++ = '"';
  return put(put_further_lines(state, out), "\",");
}

// ---- around a record

inline char* begin_record(EncodeState& state, char* out, std::uint64_t offset) {
  Scratch& record = state.scratch;
  std::memcpy(record.seen, state.reserved_keys, sizeof record.seen);
  record.key_count = 0;
  record.envelope_skip = 0;
  record.piece_count = 0;
  record.has_time = false;
  record.has_level = false;
  record.has_further_lines = !state.further_lines.empty();
  record.failure = nullptr;
  const Envelope& envelope = state.envelope;
  if (!envelope.id_prefix.empty()) {
    out = put(out, envelope.id_prefix.data(), envelope.id_prefix.size());
    out = put_number(out, offset);
    out = put(out, envelope.id_suffix.data(), envelope.id_suffix.size());
  } else {
    out = put(out, envelope.record_prefix.data(), envelope.record_prefix.size());
  }
  *out++ = '{';
  return out;
}

__attribute__((noinline)) inline char* put_fallback_time(EncodeState& state, char* out) {
  out = put(out, "\"@timestamp\":\"");
  const char* const cri_end = state.cri_time.data() + state.cri_time.size();
  char* const begin = out;
  const bool is_from_cri =
      state.has_cri &&
      read_iso_time(state, state.cri_minute, state.cri_time.data(), cri_end, out) != nullptr;
  if (!is_from_cri) out = put(begin, state.observed, state.observed_length);
  return put(out, "\",");
}

// What only some records have.
__attribute__((noinline)) inline char* put_extras(EncodeState& state, char* out,
                                                  std::string_view line, std::uint64_t offset) {
  const Scratch& record = state.scratch;
  if (state.has_cri) {
    out = put(out, "\"stream\":\"");
    out = put(out, state.cri_stream.data(), state.cri_stream.size());
    out = put(out, "\",");
    if (state.cri_generation != 0) {
      out = put(out, "\"pillion.generation\":");
      out = put_number(out, state.cri_generation);
      *out++ = ',';
    }
  }
  if (record.failure != nullptr) {
    out = put(out, "\"tags\":[\"_parsefailure\"],\"error.message\":\"");
    for (const char* p = record.failure; *p != 0; ++p) *out++ = *p;
    out = put(out, "\",");
  }
  if (record.is_truncated || record.is_partial) {
    out = record.is_truncated ? put(out, "\"log.flags\":[\"truncated\"],")
                              : put(out, "\"log.flags\":[\"partial\"],");
  }
  if (state.envelope.has_offset) {
    out = put(out, "\"log.offset\":");
    out = put_number(out, offset);
    *out++ = ',';
  }
  if (state.envelope.has_created) {
    out = put(out, "\"event.created\":\"");
    out = put(out, state.observed, state.observed_length);
    out = put(out, "\",");
  }
  if (state.envelope.has_original) {
    out = put(out, "\"event.original\":\"");
    out = put_escaped(state, out, line.data(), line.data() + line.size());
    out = put(out, "\",");
  }
  return out;
}

inline char* end_record(EncodeState& state, char* out, std::string_view line,
                        std::uint64_t offset) {
  const Scratch& record = state.scratch;
  const Envelope& envelope = state.envelope;
  if (record.has_further_lines) out = put_left_lines(state, out);
  if (!record.has_time) out = put_fallback_time(state, out);
  if (state.has_cri || record.failure != nullptr || record.is_truncated || record.is_partial ||
      envelope.has_offset || envelope.has_created || envelope.has_original) {
    out = put_extras(state, out, line, offset);
  }
  if (record.envelope_skip == 0) {
    out = put(out, envelope.tail.data(), envelope.tail.size());
  } else {
    for (std::size_t i = 0; i < envelope.entries.size(); ++i) {
      if ((record.envelope_skip >> i & 1) != 0) continue;
      out = put(out, envelope.entries[i].rendered.data(), envelope.entries[i].rendered.size());
    }
  }
  out[-1] = '}';  // there is always a field, the time
  *out++ = '\n';
  return out;
}

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
