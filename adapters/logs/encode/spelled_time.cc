// The reader of times is longer than a function may be because it holds one for each spelling.
#include "adapters/logs/encode/spelled_time.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "adapters/logs/encode/timestamp.h"

namespace pillion::logs {
namespace {

constexpr std::int64_t kDay = 86'400;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

// Walks a time; every step returns false when the line does not go on like that.
struct TimeReader {
  const char* p;
  const char* end;
  CivilTime civil{};
  int second = 0;
  std::string_view fraction{};
  std::string_view zone{};
  bool has_year = true;
  bool has_date = true;

  bool skip(char c) { return p < end && *p == c && ++p != nullptr; }

  bool read_two(int& value) {
    if (end - p < 2 || !is_digit(p[0]) || !is_digit(p[1])) return false;
    value = (p[0] - '0') * 10 + (p[1] - '0');
    p += 2;
    return true;
  }

  bool read_four(int& value) {
    int high = 0;
    int low = 0;
    if (!read_two(high) || !read_two(low)) return false;
    value = high * 100 + low;
    return true;
  }

  // "15", " 5" or "5".
  bool read_day() {
    if (p < end && *p == ' ') ++p;
    if (p == end || !is_digit(*p)) return false;
    civil.day = *p++ - '0';
    if (p < end && is_digit(*p)) civil.day = civil.day * 10 + (*p++ - '0');
    return true;
  }

  bool read_month_name() {
    constexpr std::string_view kNames = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (end - p < 3) return false;
    for (int month = 0; month < 12; ++month) {
      if (std::memcmp(kNames.data() + month * 3, p, 3) != 0) continue;
      civil.month = month + 1;
      p += 3;
      return true;
    }
    return false;
  }

  bool read_clock() {
    return read_two(civil.hour) && skip(':') && read_two(civil.minute) && skip(':') &&
           read_two(second) && second <= 60;
  }

  void read_fraction() {
    if (end - p < 2 || (*p != '.' && *p != ',') || !is_digit(p[1])) return;
    const char* const begin = ++p;
    while (p < end && is_digit(*p)) ++p;
    fraction = {begin, std::min<std::size_t>(static_cast<std::size_t>(p - begin), 9)};
  }

  void read_zone() {
    const std::string_view left(p, static_cast<std::size_t>(end - p));
    for (const std::string_view name : {" UTC", " GMT", "Z"}) {
      const bool ends = left.size() == name.size() ||
                        (left.size() > name.size() && !is_letter(left[name.size()]));
      if (left.substr(0, name.size()) != name || !ends) continue;
      zone = "Z";
      p += name.size();
      return;
    }
    const char* sign = !left.empty() && *p == ' ' ? p + 1 : p;
    if (end - sign < 3 || (*sign != '+' && *sign != '-') || !is_digit(sign[1]) ||
        !is_digit(sign[2])) {
      return;
    }
    const char* q = sign + 3;
    if (end - q >= 3 && *q == ':' && is_digit(q[1]) && is_digit(q[2])) {
      q += 3;
    } else if (end - q >= 2 && is_digit(q[0]) && is_digit(q[1])) {
      q += 2;
    } else if (sign != p) {
      return;
    }
    zone = {p, static_cast<std::size_t>(q - p)};
    p = q;
  }

  bool read(TimeSpelling spelling) {
    switch (spelling) {
      case TimeSpelling::Iso: return read_iso();
      case TimeSpelling::Clf: return read_clf();
      case TimeSpelling::Syslog: return read_syslog();
      case TimeSpelling::Ctime: return read_ctime();
      case TimeSpelling::DayMonth: return read_day_month();
      case TimeSpelling::ShortDate: return read_short_date();
      case TimeSpelling::MonthDay: return read_month_day();
      case TimeSpelling::Klog: return read_klog();
      case TimeSpelling::Clock: return read_clock_alone();
      case TimeSpelling::Epoch: return false;  // see read_epoch
    }
    return false;
  }

  bool read_iso() {
    if (!read_four(civil.year) || p == end || (*p != '-' && *p != '/')) return false;
    const char separator = *p++;
    if (!read_two(civil.month) || !skip(separator) || !read_two(civil.day)) return false;
    if (!skip(' ') && !skip('T') && !skip('t')) return false;
    if (!read_clock()) return false;
    read_fraction();
    read_zone();
    return true;
  }

  bool read_clf() {
    if (!read_two(civil.day) || !skip('/') || !read_month_name() || !skip('/') ||
        !read_four(civil.year) || !skip(':') || !read_clock()) {
      return false;
    }
    read_fraction();
    read_zone();
    return true;
  }

  bool read_syslog() {
    has_year = false;
    if (!read_month_name() || !skip(' ') || !read_day() || !skip(' ')) return false;
    if (end - p >= 5 && is_digit(p[3]) && p[4] == ' ') {  // Cisco: Jan 15 2024 14:32:01
      if (!read_four(civil.year) || !skip(' ')) return false;
      has_year = true;
    }
    if (!read_clock()) return false;
    read_fraction();
    return true;
  }

  bool read_ctime() {
    if (end - p < 4 || !is_letter(p[0]) || !is_letter(p[1]) || !is_letter(p[2]) || p[3] != ' ') {
      return false;
    }
    p += 4;
    if (!read_month_name() || !skip(' ') || !read_day() || !skip(' ') || !read_clock()) {
      return false;
    }
    read_fraction();
    return skip(' ') && read_four(civil.year);
  }

  bool read_day_month() {
    if (!read_day() || !skip(' ') || !read_month_name() || !skip(' ')) return false;
    has_year = end - p >= 5 && p[4] == ' ';
    if (has_year && (!read_four(civil.year) || !skip(' '))) return false;
    if (!read_clock()) return false;
    read_fraction();
    return true;
  }

  bool read_short_date() {
    if (!read_two(civil.year)) return false;
    civil.year += 2000;
    const bool has_slashes = skip('/');
    if (!read_two(civil.month) || (has_slashes && !skip('/')) || !read_two(civil.day) ||
        !skip(' ')) {
      return false;
    }
    if (!has_slashes && end - p >= 6 && is_digit(p[2])) {
      return read_two(civil.hour) && read_two(civil.minute) && read_two(second) && second <= 60;
    }
    if (!has_slashes && p < end && *p == ' ') ++p;  // old MySQL: "240115  9:05:01"
    if (!has_slashes && end - p >= 2 && p[1] == ':' && is_digit(*p)) {
      civil.hour = *p - '0';
      p += 2;
      if (!read_two(civil.minute) || !skip(':') || !read_two(second) || second > 60) return false;
    } else if (!read_clock()) {
      return false;
    }
    read_fraction();
    return true;
  }

  bool read_month_day() {
    has_year = false;
    if (!read_two(civil.month) || !skip('.') || !read_two(civil.day) || !skip(' ') ||
        !read_clock()) {
      return false;
    }
    read_fraction();
    return true;
  }

  bool read_klog() {
    has_year = false;
    if (!read_two(civil.month) || !read_two(civil.day) || !skip(' ') || !read_clock()) return false;
    read_fraction();
    return true;
  }

  bool read_clock_alone() {
    has_date = false;
    if (!read_clock()) return false;
    read_fraction();
    return true;
  }
};

std::int64_t resolve_here(const EncodeState& state, const CivilTime& civil) {
  return state.zone.resolve(civil, 0).unix_seconds;
}

// The latest year in which the time lies at most a day after the moment of reading.
void complete_year(const EncodeState& state, CivilTime& civil) {
  civil.year = civil_of(state.observed_unix + kDay).year + 1;
  for (int i = 0; i < 2 && resolve_here(state, civil) > state.observed_unix + kDay; ++i) {
    --civil.year;
  }
  // 29 February exists in one year of four.
  const auto is_leap = [](int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  };
  while (civil.month == 2 && civil.day == 29 && !is_leap(civil.year)) --civil.year;
}

void complete_date(const EncodeState& state, CivilTime& civil) {
  for (const std::int64_t shift : {kDay, std::int64_t{0}, -kDay}) {
    const CivilTime day = civil_of(state.observed_unix + shift);
    civil.year = day.year;
    civil.month = day.month;
    civil.day = day.day;
    // Up to an hour ahead: clocks differ; more means yesterday.
    if (resolve_here(state, civil) <= state.observed_unix + 3600) return;
  }
}

std::uint64_t pack(const CivilTime& civil) {
  return ((((static_cast<std::uint64_t>(civil.year) * 16 + static_cast<unsigned>(civil.month)) *
                32 +
            static_cast<unsigned>(civil.day)) *
               32 +
           static_cast<unsigned>(civil.hour)) *
          64) +
         static_cast<unsigned>(civil.minute);
}

bool is_cached(const MinuteCache& cache, std::uint64_t key, std::string_view zone) {
  return cache.is_valid && std::memcmp(cache.key, &key, sizeof key) == 0 &&
         zone == std::string_view(cache.zone, cache.zone_length);
}

char* put_time(const MinuteCache& cache, int second, std::string_view fraction, char* out) {
  if (second < 60) {
    std::memcpy(out, cache.utc, sizeof cache.utc);
    out[17] = static_cast<char>('0' + second / 10);
    out[18] = static_cast<char>('0' + second % 10);
  } else {  // a leap second
    render_seconds(cache.unix_minute + second, out);
  }
  out += 19;
  if (!fraction.empty()) {
    *out++ = '.';
    std::memcpy(out, fraction.data(), fraction.size());
    out += fraction.size();
  }
  *out++ = 'Z';
  return out;
}

const char* read_epoch(const char* p, const char* end, char*& out) {
  const char* q = p;
  while (q < end && is_digit(*q)) ++q;
  if (q - p != 10 && q - p != 13 && q - p != 16 && q - p != 19) return nullptr;
  if (q - p == 10 && end - q >= 2 && *q == '.' && is_digit(q[1])) {
    ++q;
    while (q < end && is_digit(*q)) ++q;
  }
  if (q < end && (is_letter(*q) || *q == '.' || *q == '-' || *q == '_')) return nullptr;
  const std::size_t length = render_epoch({p, static_cast<std::size_t>(q - p)}, out);
  if (length == 0) return nullptr;
  out += length;
  return q;
}

const char* read_as(EncodeState& state, TimeSpelling spelling, const char* p, const char* end,
                    char*& out) {
  if (spelling == TimeSpelling::Epoch) return read_epoch(p, end, out);
  TimeReader reader{p, end};
  if (!reader.read(spelling)) return nullptr;
  if (reader.p < end && (is_digit(*reader.p) || is_letter(*reader.p))) return nullptr;
  CivilTime& civil = reader.civil;
  if (!reader.has_date) {
    complete_date(state, civil);
  } else if (!reader.has_year) {
    if (civil.month < 1 || civil.month > 12 || civil.day < 1 || civil.day > 31) return nullptr;
    complete_year(state, civil);
  }
  MinuteCache& cache = state.spelled_minute;
  const std::uint64_t key = pack(civil);
  if (!is_cached(cache, key, reader.zone) &&
      !fill_minute(state, cache, civil, {reinterpret_cast<const char*>(&key), sizeof key},
                   reader.zone)) {
    return nullptr;
  }
  out = put_time(cache, reader.second, reader.fraction, out);
  return reader.p;
}

}  // namespace

const char* read_spelled_time(EncodeState& state, std::optional<TimeSpelling> spelling,
                              const char* p, const char* end, char*& out) {
  if (spelling) return read_as(state, *spelling, p, end, out);
  if (p == end || !(is_digit(*p) || is_letter(*p) || *p == ' ')) return nullptr;
  const auto usual = static_cast<TimeSpelling>(state.time_spelling);
  if (const char* const after = read_as(state, usual, p, end, out)) return after;
  for (int i = 0; i < static_cast<int>(TimeSpelling::Klog); ++i) {
    const auto other = static_cast<TimeSpelling>(i);
    if (other == usual) continue;
    if (const char* const after = read_as(state, other, p, end, out)) {
      state.time_spelling = static_cast<std::uint8_t>(i);
      return after;
    }
  }
  return nullptr;
}

}  // namespace pillion::logs
