// Formats whose fields come as columns: CSV (RFC 4180), LTSV (http://ltsv.org) and loose lists of
// pairs; and user-written regular expressions. Part of the encoder's inner loops, see
// kernel_scan.h.
#pragma once

#include "adapters/logs/encode/kernel_layout.h"
#include "adapters/logs/encode/regex_format.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

// A column's value by the name of its column: time, level and message in their roles, as in logfmt.
inline char* put_column(EncodeState& state, char* out, const char* name, std::size_t name_length,
                        const Piece& value, bool is_quoted) {
  if (state.scratch.key_count + 1 >= kFieldsMax || name_length == 0) return out;
  if (!is_quoted && value.begin == value.end) return out;
  if (role_of(name, name_length) == KeyRole::Time && !state.scratch.has_time) {
    char* const begin = out;
    out = put(out, "\"@timestamp\":\"");
    if (read_spelled_time(state, std::nullopt, value.begin, value.end, out) == value.end) {
      state.scratch.has_time = true;
      return put(out, "\",");
    }
    out = begin;
  }
  return put_pair(state, out, name, name_length, {value, value.end, is_quoted});
}

inline char* parse_csv(EncodeState& state, char* out, const char* p, const char* end) {
  const std::vector<std::string>& columns = state.columns;
  std::size_t column = 0;
  for (;;) {
    Piece value{p, p, Text::Raw};
    const bool is_quoted = p < end && *p == '"';
    if (is_quoted) {
      const char* q = ++p;
      bool has_doubled = false;
      while (q < end && (*q != '"' || (q + 1 < end && q[1] == '"'))) {
        has_doubled = has_doubled || *q == '"';
        q += *q == '"' ? 2 : 1;
      }
      if (q >= end) {
        state.scratch.failure = "a quote is not closed";
        return nullptr;
      }
      value = {p, q, has_doubled ? Text::Doubled : Text::Raw};
      p = q + 1;
    } else {
      while (p < end && *p != ',') ++p;
      value.end = p;
    }
    if (column >= columns.size() || (p < end && *p != ',')) {
      state.scratch.failure = column >= columns.size() ? "more values than columns in `pattern`"
                                                       : "text behind a closing quote";
      return nullptr;
    }
    const std::string& name = columns[column++];
    out = put_column(state, out, name.data(), name.size(), value, is_quoted);
    if (p == end) break;
    ++p;
  }
  if (column != columns.size()) {
    state.scratch.failure = "fewer values than columns in `pattern`";
    return nullptr;
  }
  return put_message(state, out);
}

inline char* parse_ltsv(EncodeState& state, char* out, const char* p, const char* end) {
  std::uint32_t count = 0;
  while (p < end) {
    const char* stop =
        static_cast<const char*>(std::memchr(p, '\t', static_cast<std::size_t>(end - p)));
    if (stop == nullptr) stop = end;
    const char* const colon =
        static_cast<const char*>(std::memchr(p, ':', static_cast<std::size_t>(stop - p)));
    if (colon == nullptr || !is_key(p, colon)) {
      state.scratch.failure = "a column is not label:value";
      return nullptr;
    }
    out = put_column(state, out, p, static_cast<std::size_t>(colon - p),
                     {colon + 1, stop, Text::Raw}, false);
    ++count;
    p = stop + 1;
  }
  if (count == 0) state.scratch.failure = "no label:value column";
  return count == 0 ? nullptr : put_message(state, out);
}

// a=1, b = "two"; c: 3 — pairs parted by commas, semicolons, tabs or bars.
inline char* parse_key_value(EncodeState& state, char* out, const char* p, const char* end) {
  std::uint32_t count = 0;
  const auto is_separator = [](char c) { return c == ',' || c == ';' || c == '|' || c == '\t'; };
  while (p < end) {
    p = skip_blanks(p, end);
    const char* stop = p;
    bool is_in_quotes = false;
    while (stop < end && (is_in_quotes || !is_separator(*stop))) {
      if (*stop == '"') is_in_quotes = !is_in_quotes;
      ++stop;
    }
    const char* sign = p;
    while (sign < stop && *sign != '=' && *sign != ':') ++sign;
    const char* key_end = sign;
    while (key_end > p && is_blank(key_end[-1])) --key_end;
    if (sign < stop && is_key(p, key_end)) {
      const char* begin = skip_blanks(sign + 1, stop);
      const char* value_end = stop;
      while (value_end > begin && is_blank(value_end[-1])) --value_end;
      const bool is_quoted = value_end - begin >= 2 && *begin == '"' && value_end[-1] == '"';
      out = put_column(state, out, p, static_cast<std::size_t>(key_end - p),
                       {begin + is_quoted, value_end - is_quoted, Text::Raw}, is_quoted);
      ++count;
    } else if (p < stop && state.scratch.piece_count < kFieldsMax) {
      add_piece(state.scratch, {p, stop, Text::Raw});
    }
    p = stop + 1;
  }
  if (count == 0) state.scratch.failure = "no key=value or key: value pair";
  return count == 0 ? nullptr : put_message(state, out);
}

inline char* parse_regex(EncodeState& state, char* out, const char* p, const char* end) {
  RegexFormat& regex = *state.regex;
  const auto match = regex.match({p, static_cast<std::size_t>(end - p)});
  if (match != RegexFormat::Match::Yes) {
    state.scratch.failure = match == RegexFormat::Match::No
                                ? "the regular expression does not match"
                                : "the regular expression backtracks too much on this line";
    return nullptr;
  }
  for (const RegexFormat::Group& group : regex.groups()) {
    const std::string_view text = regex.group(group.number);
    if (text.data() == nullptr) continue;
    const Piece value{text.data(), text.data() + text.size(), Text::Raw};
    const char* const level = group.is_level && !state.scratch.has_level
                                  ? level_of(value.begin, text.size(), true)
                                  : nullptr;
    if (level != nullptr) {
      out = put_level(state, out, level);
    } else if (group.role == FieldRole::Message) {
      if (!text.empty()) add_piece(state.scratch, value);
    } else if (group.is_time) {
      out = put_column(state, out, "time", 4, value, false);
    } else {
      out = put_column(state, out, group.name.data(), group.name.size(), value, false);
    }
  }
  return put_message(state, out);
}

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
