// Calendar work of timestamps that the inner loops do once per minute of log, and the rendering of
// times as "2024-01-15T14:32:01.123Z" (always UTC).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "adapters/logs/encode/state.h"

namespace pillion::logs {

// Longest rendering: seconds, nine digits of fraction, Z.
inline constexpr std::size_t kTimeBytesMax = 32;

// "Z", "+01", "+0100", "+01:00", with or without a leading space: seconds east of Greenwich.
std::optional<int> parse_zone_offset(std::string_view text);

// Fills `cache` with the minute of `civil` (its second does not count) under `key` of at most 24
// bytes. `zone` is the line's own, empty for the source's. False for a time that does not exist. In
// an hour that occurs twice the cache is filled but stays invalid, so that every line is decided
// anew.
bool fill_minute(EncodeState& state, MinuteCache& cache, const CivilTime& civil,
                 std::string_view key, std::string_view zone);

// fill_minute() from "2024-01-15T14:32" (T or space, - or /; 16 readable bytes), or from
// "15/Jan/2024:14:32" (17 bytes). False when it is no such time.
bool fill_iso_minute(EncodeState& state, MinuteCache& cache, const char* text,
                     std::string_view zone);
bool fill_clf_minute(EncodeState& state, MinuteCache& cache, const char* text,
                     std::string_view zone);

// Writes 19 characters "2024-01-15T14:32:01" without zone.
void render_seconds(std::int64_t unix_seconds, char* out);

// A number of seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by its
// size (2001 to 2286): "1705329121", "1705329121.123", "1705329121123". Writes the rendering and
// returns its length, 0 when the text is none.
std::size_t render_epoch(std::string_view text, char* out);

// The time of the wall clock with milliseconds; returns the length.
std::size_t render_wall_time(std::int64_t unix_nanoseconds, char* out);

}  // namespace pillion::logs
