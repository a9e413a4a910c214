// What `auto` makes of lines that have a time among their first words and no known format. Part of
// the encoder's inner loops, see kernel_scan.h.
#pragma once

#include "adapters/logs/encode/kernel_layout.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

inline constexpr int kTimedWordsMax = 6;

// A time in seconds since 1970 counts only in the column where the line before had one too: other
// numbers have ten digits. Returns its end, null when there is none.
inline const char* read_epoch_column(EncodeState& state, int column, const char* p, const char* end,
                                     char*& out) {
  const char* const after = read_spelled_time(state, TimeSpelling::Epoch, p, end, out);
  if (after == nullptr || (after < end && !is_blank(*after))) return nullptr;
  const bool is_expected = state.epoch_column == column;
  if (state.next_epoch_column < 0) state.next_epoch_column = static_cast<std::int8_t>(column);
  return is_expected ? after : nullptr;
}

inline char* parse_timed(EncodeState& state, char* out, const char* const begin, const char* end) {
  state.epoch_column = state.next_epoch_column;
  state.next_epoch_column = -1;
  const char* p = skip_blanks(begin, end);
  for (int column = 0; column < kTimedWordsMax && p < end; ++column) {
    const bool is_bracketed = *p == '[' || *p == '(';
    const char* const at = p + is_bracketed;
    char* written = put(out, "\"@timestamp\":\"");
    const char* after = nullptr;
    if (at < end && (is_digit(*at) || is_alpha(*at))) {
      after = read_spelled_time(state, std::nullopt, at, end, written);
      if (after == nullptr) {
        written = put(out, "\"@timestamp\":\"");
        after = read_epoch_column(state, column, at, end, written);
      }
    }
    if (after != nullptr && is_bracketed)
      after = after < end && (*after == ']' || *after == ')') ? after + 1 : nullptr;
    if (after != nullptr) {
      out = put(written, "\",");
      state.scratch.has_time = true;
      if (p > begin) add_piece(state.scratch, {begin, p - 1, Text::Raw});
      p = skip_separator(after, end);
      const char* level = nullptr;
      p = read_level(p, end, level);
      if (level != nullptr) {
        out = put_level(state, out, level);
        p = skip_separator(p, end);
      }
      if (p < end) add_piece(state.scratch, {p, end, Text::Raw});
      return put_message(state, out);
    }
    while (p < end && !is_blank(*p)) ++p;
    p = skip_blanks(p, end);
  }
  state.scratch.failure = "no time among the first words";
  return nullptr;
}

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
