#include "adapters/logs/encode/time_zone.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>

namespace pillion::logs {
namespace {

constexpr std::int64_t kBackwardsMax = 60;  // seconds that lines of one source may be out of order

absl::CivilSecond to_absl(const CivilTime& civil) {
  return absl::CivilSecond(civil.year, civil.month, civil.day, civil.hour, civil.minute,
                           civil.second);
}

}  // namespace

std::int64_t unix_seconds_of(const CivilTime& civil) {
  return absl::ToUnixSeconds(absl::FromCivil(to_absl(civil), absl::UTCTimeZone()));
}

CivilTime civil_of(std::int64_t unix_seconds) {
  const auto civil = absl::ToCivilSecond(absl::FromUnixSeconds(unix_seconds), absl::UTCTimeZone());
  return {static_cast<int>(civil.year()),
          civil.month(),
          civil.day(),
          civil.hour(),
          civil.minute(),
          civil.second()};
}

struct TimeZone::Rules {
  absl::TimeZone zone;
};

TimeZone TimeZone::utc() { return TimeZone(); }

Result<TimeZone> TimeZone::load(const std::string& name) {
  if (name == "utc" || name == "UTC") return utc();
  absl::TimeZone zone;
  if (name == "local") {
    zone = absl::LocalTimeZone();
  } else if (!absl::LoadTimeZone(name, &zone)) {
    return fail("cannot load time zone \"" + name +
                "\": not in the machine's zoneinfo (is the package tzdata installed?)");
  }
  TimeZone result;
  result.is_utc_ = zone == absl::UTCTimeZone() || zone.name() == "UTC" || zone.name() == "Etc/UTC";
  result.rules_ = std::make_shared<const Rules>(Rules{zone});
  return result;
}

TimeZone::Answer TimeZone::resolve(const CivilTime& civil, std::int64_t last_unix_seconds) const {
  if (!rules_) return {unix_seconds_of(civil), false};
  const auto info = rules_->zone.At(to_absl(civil));
  const std::int64_t first = absl::ToUnixSeconds(info.pre);
  if (info.kind != absl::TimeZone::TimeInfo::REPEATED) return {first, false};
  const bool is_second_pass = last_unix_seconds != 0 && last_unix_seconds > first + kBackwardsMax;
  return {is_second_pass ? absl::ToUnixSeconds(info.post) : first, true};
}

}  // namespace pillion::logs
