// What counts as issued, in which spellings, and for how long it stays known.
#include "ambassadors/secrets/issued_values.h"

#include <unistd.h>

#include <algorithm>

#include <catch2/catch.hpp>

#include "runtime/fd.h"

namespace pillion::secrets {
namespace {

using Strings = std::vector<std::string>;

struct Scratch {
  std::string path = "/tmp/issued-values-test-" + std::to_string(::getpid());
  ~Scratch() { ::unlink(path.c_str()); }
  FingerprintFile read() const { return parse_fingerprints(read_file(path).value()).value(); }
  bool knows(const std::string& text) const {
    return FingerprintSearch(read()).find(text).length > 0;
  }
};

TEST_CASE("A value has the spellings in which logs show it") {
  CHECK(spellings_of("short").empty());
  CHECK(spellings_of("plain-value_1\n") == Strings{"plain-value_1", "cGxhaW4tdmFsdWVf"});
  CHECK(spellings_of("a b/c&d=e") == Strings{"a b/c&d=e", "a%20b%2Fc%26d%3De"});
  const auto lines =
      spellings_of("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nshort\n-----END KEY-----\n");
  CHECK(lines.back() == "MIIEvQIBADANBgkqhkiG9w0BAQ");
  CHECK(std::find(lines.begin(), lines.end(), "short") == lines.end());
  const auto pairs = spellings_of("USER=app\nDB_PASSWORD=\"quoted secret\"\n");
  CHECK(std::find(pairs.begin(), pairs.end(), "quoted secret") != pairs.end());
}

TEST_CASE("An answer of Vault gives its data and tokens, and nothing about itself") {
  CHECK(values_in_answer("/v1/secret/data/o",
                         R"({"request_id":"not-a-secret","data":{"data":{"k":"value-one"},
                             "metadata":{"created_time":"2024-01-15T14:32:01Z"}}})") ==
        Strings{"value-one"});
  CHECK(values_in_answer("/v1/db/creds/a",
                         R"({"lease_id":"db/creds/a/1","data":{"p":"value-two"}})") ==
        Strings{"value-two"});
  CHECK(
      values_in_answer("/v1/auth/approle/login",
                       R"({"auth":{"client_token":"s.tok3nvalue"},"data":{"x":"no-secret-1"}})") ==
      Strings{"s.tok3nvalue", "cy50b2szbnZhbHVl"});
  CHECK(
      values_in_answer("/v1/secret/metadata/", R"({"data":{"keys":["orders-service"]}})").empty());
  CHECK(values_in_answer("/v1/x", "no json").empty());
}

TEST_CASE("A replaced value stays known for a week, one in use for good") {
  Scratch scratch;
  ManualClock clock;
  IssuedValues issued(clock, scratch.path);
  issued.issue("/run/a", SecretText("the old value"));
  issued.issue("/run/b", SecretText("other value"));
  issued.issue("/run/a", SecretText("the new value"));
  CHECK(scratch.knows("the old value"));
  clock.advance(std::chrono::hours(24 * 6));
  issued.issue("/run/b", SecretText("third value"));
  CHECK(scratch.knows("the old value"));
  clock.advance(std::chrono::hours(24 * 2));
  issued.issue("/run/b", SecretText("fourth value"));
  CHECK_FALSE(scratch.knows("the old value"));
  CHECK(scratch.knows("the new value"));
  CHECK(scratch.knows("other value"));  // retired two days ago
}

TEST_CASE("A value that two files hold is in use as long as one of them holds it") {
  Scratch scratch;
  ManualClock clock;
  IssuedValues issued(clock, scratch.path);
  issued.issue("/run/a", SecretText("shared value"));
  issued.issue("/run/b", SecretText("shared value"));
  issued.issue("/run/a", SecretText("another value"));
  clock.advance(std::chrono::hours(24 * 30));
  issued.issue("/run/c", SecretText("third value"));
  CHECK(scratch.knows("shared value"));
}

TEST_CASE("What an earlier run has issued stays known") {
  Scratch scratch;
  ManualClock clock;
  { IssuedValues(clock, scratch.path).issue("/run/a", SecretText("of the first run")); }
  IssuedValues second(clock, scratch.path);
  second.issue("/run/a", SecretText("of the second run"));
  CHECK(scratch.knows("of the first run"));
  CHECK(scratch.knows("of the second run"));
}

}  // namespace
}  // namespace pillion::secrets
