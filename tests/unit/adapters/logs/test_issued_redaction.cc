// Issued secrets in records: every place, every escape, and records that stay byte for byte.
#include <unistd.h>

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "adapters/logs/issued_redaction.h"
#include "runtime/fd.h"

namespace pillion::logs {
namespace {

struct Issued {
  explicit Issued(const std::vector<std::string>& values) {
    FingerprintFile file{FingerprintKey::random(), {}};
    for (const auto& value : values) file.values.push_back(fingerprint_of(file.key, value));
    REQUIRE(write_file_atomically(path, render_fingerprints(file), 0600));
  }
  ~Issued() { ::unlink(path.c_str()); }
  std::string path = "/tmp/issued-redaction-test-" + std::to_string(::getpid());
};

void add(RecordBuffer& records, const std::string& record) {
  char* const place = records.reserve(record.size());
  record.copy(place, record.size());
  records.end_record(place + record.size());
}

// What becomes of each record.
std::vector<std::string> after(const std::vector<std::string>& values,
                               const std::vector<std::string>& before) {
  const Issued issued(values);
  IssuedRedaction redaction({issued.path});
  REQUIRE(redaction.refresh());
  RecordBuffer records;
  for (const auto& record : before) add(records, record + "\n");
  redaction.apply(records);
  std::vector<std::string> result;
  for (std::size_t i = 0; i < records.record_count(); ++i) {
    result.emplace_back(records.record(i));
    REQUIRE(result.back().back() == '\n');
    result.back().pop_back();
  }
  return result;
}

std::string one(const std::string& value, const std::string& record) {
  return after({value}, {record}).at(0);
}

TEST_CASE("A secret goes from keys, texts, numbers and whatever is nested") {
  CHECK(one("hunter2hunter2", R"({"a":"x hunter2hunter2 y hunter2hunter2"})") ==
        R"({"a":"x [REDACTED] y [REDACTED]"})");
  CHECK(one("hunter2hunter2", R"({"hunter2hunter2":{"b":["hunter2hunter2",[{}],null]}})") ==
        R"({"[REDACTED]":{"b":["[REDACTED]",[{}],null]}})");
  CHECK(one("12345678", R"({"pin":12345678,"more":[-123456789.5,1]})") ==
        R"({"pin":"[REDACTED]","more":["[REDACTED]",1]})");
}

TEST_CASE("A secret is found behind escapes, however they are spelled") {
  const std::string secret = "a\"b\\c/d\n\xc3\xa4";
  CHECK(one(secret, R"({"m":"<a\"b\\c/d\nä>"})") == R"({"m":"<[REDACTED]>"})");
  CHECK(one(secret, R"({"m":"<a\u0022b\u005cc\/d\u000a\u00e4>","n":"\t"})") ==
        R"({"m":"<[REDACTED]>","n":"\t"})");
}

TEST_CASE("The action line of a bulk request stays, and other records stay byte for byte") {
  const std::vector<std::string> before{R"({"create":{"_id":"abc"}})"
                                        "\n"
                                        R"({"m":"hunter2hunter2"})",
                                        R"({"create":{}})"
                                        "\n"
                                        R"({"m":"a\/b","n":1.50})"};
  const auto result = after({"hunter2hunter2"}, before);
  CHECK(result[0] == "{\"create\":{\"_id\":\"abc\"}}\n{\"m\":\"[REDACTED]\"}");
  CHECK(result[1] == before[1]);
}

TEST_CASE("A file that comes, changes or breaks is noticed") {
  std::string path = "/tmp/issued-redaction-late-" + std::to_string(::getpid());
  IssuedRedaction redaction({path});
  CHECK(redaction.refresh());  // not there yet: nothing is issued
  RecordBuffer records;
  add(records, "{\"m\":\"hunter2hunter2\"}\n");
  CHECK(redaction.apply(records) == 0);
  {
    const Issued issued({"hunter2hunter2"});
    path = issued.path;
    IssuedRedaction other({path});
    REQUIRE(other.refresh());
    REQUIRE(write_file_atomically(path, "broken", 0600));
    CHECK_FALSE(other.refresh());
    CHECK(other.apply(records) == 1);  // what it held before still counts
  }
}

}  // namespace
}  // namespace pillion::logs
