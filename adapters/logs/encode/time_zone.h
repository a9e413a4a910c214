// Civil time to UTC for log lines that carry no zone of their own. Rules come from the machine's
// zoneinfo files, read by Abseil (CCTZ); this header keeps Abseil out of everybody else's includes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/result.h"

namespace pillion::logs {

struct CivilTime {
  int year = 1970;
  int month = 1;
  int day = 1;
  int hour = 0;
  int minute = 0;
  int second = 0;  // 60 is accepted and means the next minute's first second
};

// Seconds since the epoch of a civil time in UTC. Any values; they are carried over.
std::int64_t unix_seconds_of(const CivilTime& civil);
CivilTime civil_of(std::int64_t unix_seconds);

class TimeZone {
 public:
  // An IANA name ("Europe/Berlin"), "utc" or "local" (the machine's, $TZ first).
  static Result<TimeZone> load(const std::string& name);
  static TimeZone utc();

  bool is_utc() const { return is_utc_; }

  struct Answer {
    std::int64_t unix_seconds = 0;
    bool is_repeated = false;  // the hour that occurs twice when clocks go back
  };
  // In a repeated hour, the first pass unless `last_unix_seconds` (the source's previous time, 0 =
  // none) lies more than a minute after it: a log does not run backwards for a minute. A time that
  // clocks skip is read with the offset before the change.
  Answer resolve(const CivilTime& civil, std::int64_t last_unix_seconds) const;

 private:
  struct Rules;
  std::shared_ptr<const Rules> rules_;  // shared: every source of an input reads the same rules
  bool is_utc_ = true;
};

}  // namespace pillion::logs
