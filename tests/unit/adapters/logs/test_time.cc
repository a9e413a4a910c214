// Timestamps: zones, daylight saving, fractions, the edges of the calendar.
#include <catch2/catch.hpp>

#include "adapters/logs/encode/timestamp.h"
#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

// The @timestamp values of lines that hold a time each.
std::vector<std::string> times(const std::vector<std::string>& lines, const std::string& zone) {
  std::string text;
  for (const auto& line : lines) text += line + " x\n";
  std::vector<std::string> result;
  for (const auto& record : encode(text, options_of(Format::PrefixedLogfmt, zone))) {
    const auto begin = record.find("@timestamp\":\"") + 13;
    result.push_back(record.find("_parsefailure") != std::string::npos
                         ? "failure"
                         : record.substr(begin, record.find('"', begin) - begin));
  }
  return result;
}
std::string time(const std::string& line, const std::string& zone = "utc") {
  return times({line}, zone).at(0);
}

TEST_CASE("ISO times are read in all their spellings and written in UTC") {
  CHECK(time("2024-01-15 14:32:01") == "2024-01-15T14:32:01Z");
  CHECK(time("2024-01-15T14:32:01Z") == "2024-01-15T14:32:01Z");
  CHECK(time("2024-01-15T14:32:01.123456789Z") == "2024-01-15T14:32:01.123456789Z");
  CHECK(time("2024-01-15T14:32:01.1234567891234Z") == "2024-01-15T14:32:01.123456789Z");
  CHECK(time("2024-01-15 14:32:01,007") == "2024-01-15T14:32:01.007Z");
  CHECK(time("2024-01-15T14:32:01+02:00") == "2024-01-15T12:32:01Z");
  CHECK(time("2024-01-15T14:32:01-0530") == "2024-01-15T20:02:01Z");
  CHECK(time("2024-01-15 14:32:01 +0100") == "2024-01-15T13:32:01Z");
  CHECK(time("2024-01-15T00:30:00+01") == "2024-01-14T23:30:00Z");
  CHECK(time("2024-12-31T23:59:60Z") == "2025-01-01T00:00:00Z");
  CHECK(time("2024-02-29 00:00:00") == "2024-02-29T00:00:00Z");
}

TEST_CASE("What is no time is not taken for one") {
  for (const char* text :
       {"2023-02-29 00:00:00", "2024-13-01 00:00:00", "2024-00-01 00:00:00", "2024-01-00 00:00:00",
        "2024-01-32 00:00:00", "2024-01-15 24:00:00", "2024-01-15 23:60:00", "2024-01-15 23:59:61",
        "2024-01-15 23:59:5", "2024-01-15_23:59:59", "2024-01/15 23:59:59", "2o24-01-15 23:59:59",
        "2024-01-15 23:59:599", "2024-01-15T14:32:01+25:00", "2024-01-15 14:32", "2024"}) {
    INFO(text);
    CHECK(time(text) == "failure");
  }
}

TEST_CASE("A time without zone is read in the zone of the input, summer and winter") {
  CHECK(time("2024-01-15 14:32:01", "Europe/Berlin") == "2024-01-15T13:32:01Z");
  CHECK(time("2024-07-15 14:32:01", "Europe/Berlin") == "2024-07-15T12:32:01Z");
  CHECK(time("2024-07-15 14:32:01", "America/New_York") == "2024-07-15T18:32:01Z");
  CHECK(time("2024-07-15 23:32:01", "Asia/Kathmandu") == "2024-07-15T17:47:01Z");
  CHECK(time("2050-07-15 12:00:00", "Europe/Berlin") == "2050-07-15T10:00:00Z");
  CHECK(time("2024-07-15 14:32:01Z", "Europe/Berlin") == "2024-07-15T14:32:01Z");
}

TEST_CASE("The hour that occurs twice is told apart by the lines before it") {
  // Berlin, 2024-10-27: 03:00 summer time becomes 02:00 winter time.
  CHECK(times({"2024-10-27 01:59:59", "2024-10-27 02:10:00", "2024-10-27 02:59:59",
               "2024-10-27 02:00:01", "2024-10-27 02:30:00", "2024-10-27 03:00:00"},
              "Europe/Berlin") ==
        std::vector<std::string>{"2024-10-26T23:59:59Z", "2024-10-27T00:10:00Z",
                                 "2024-10-27T00:59:59Z", "2024-10-27T01:00:01Z",
                                 "2024-10-27T01:30:00Z", "2024-10-27T02:00:00Z"});
}

TEST_CASE("A time that the clocks skip is read with the offset before the change") {
  CHECK(time("2024-03-31 02:30:00", "Europe/Berlin") == "2024-03-31T01:30:00Z");
}

TEST_CASE("Lines of one minute, of several and of several zones do not mix") {
  CHECK(times({"2024-01-15 14:32:01", "2024-01-15 14:32:02.5", "2024-01-15T14:32:02",
               "2024-01-15 14:32:02Z", "2024-01-15 14:33:02", "2024-01-15 14:32:59+01:00"},
              "Europe/Berlin") ==
        std::vector<std::string>{"2024-01-15T13:32:01Z", "2024-01-15T13:32:02.5Z",
                                 "2024-01-15T13:32:02Z", "2024-01-15T14:32:02Z",
                                 "2024-01-15T13:33:02Z", "2024-01-15T13:32:59Z"});
}

TEST_CASE("Epoch numbers are told apart by their size") {
  char out[kTimeBytesMax];
  const auto rendered = [&](std::string_view text) {
    return std::string(out, render_epoch(text, out));
  };
  CHECK(rendered("1705329121") == "2024-01-15T14:32:01Z");
  CHECK(rendered("1705329121.25") == "2024-01-15T14:32:01.25Z");
  CHECK(rendered("1705329121123") == "2024-01-15T14:32:01.123Z");
  CHECK(rendered("1705329121123456") == "2024-01-15T14:32:01.123456Z");
  CHECK(rendered("1705329121123456789") == "2024-01-15T14:32:01.123456789Z");
  CHECK(rendered("170532912") == "");
  CHECK(rendered("17053291x1") == "");
}

TEST_CASE("An unknown time zone is an error that says what to look for") {
  const auto zone = TimeZone::load("Europe/Atlantis");
  REQUIRE_FALSE(zone);
  CHECK(zone.error().message() ==
        "cannot load time zone \"Europe/Atlantis\": not in the machine's zoneinfo (is the package "
        "tzdata installed?)");
}

}  // namespace
}  // namespace pillion::logs::test
