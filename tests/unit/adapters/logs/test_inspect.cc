// What `explain` and `test` say of lines.
#include <unistd.h>

#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/inspect/explain.h"
#include "adapters/logs/inspect/line_reader.h"
#include "adapters/logs/inspect/measure.h"
#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

Inspector inspector_of(Format format, bool judges_each = true) {
  Inspector inspector(options_of(format), judges_each);
  inspector.set_observed_time(kObserved);
  return inspector;
}

// A file that lives as long as this.
class TextFile {
 public:
  explicit TextFile(std::string_view text) {
    fd_ = ::mkstemp(path_.data());
    REQUIRE(fd_ >= 0);
    REQUIRE(::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::lseek(fd_, 0, SEEK_SET);
  }
  ~TextFile() {
    ::close(fd_);
    ::unlink(path_.c_str());
  }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  const std::string& path() const { return path_; }
  int fd() const { return fd_; }

 private:
  std::string path_ = "/tmp/pillion-inspect-XXXXXX";
  int fd_ = -1;
};

std::string repeat(const std::string& line, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += line;
  return text;
}

}  // namespace

TEST_CASE("fields of a record are walked at the top level only") {
  const std::string record =
      R"({"a":"x\\\"},{","b":{"c":[1,"]}"],"d":{}},"e":[],"f":-1.5,"g":null,"h":""})";
  RecordFields fields(record);
  std::string seen;
  for (RecordField field; fields.next(field);) {
    seen += std::string(field.key) + "=" + std::string(field.value) + ";";
  }
  CHECK(seen == R"(a="x\\\"},{";b={"c":[1,"]}"],"d":{}};e=[];f=-1.5;g=null;h="";)");
  RecordFields none("{}");
  RecordField field;
  CHECK_FALSE(none.next(field));
}

TEST_CASE("auto says for each line which format it has") {
  Inspector inspector = inspector_of(Format::Auto);
  CHECK(inspector.inspect("2024-01-15 14:32:01 INFO a=1 b=2").format == Format::PrefixedLogfmt);
  CHECK(inspector.inspect(R"({"a":1})").format == Format::Json);
  for (int i = 0; i < 200; ++i) inspector.inspect(R"({"a":1})");
  CHECK(inspector.inspect("level=info msg=x").format == Format::Logfmt);
}

TEST_CASE("a line of no known format says what was tried") {
  Inspector inspector = inspector_of(Format::Auto);
  LineVerdict verdict = inspector.inspect("{broken");
  CHECK_FALSE(verdict.is_parsed);
  CHECK(verdict.format == Format::Raw);
  verdict.attempts = inspector.attempts_at("{broken");
  REQUIRE(verdict.attempts.size() == 5);
  CHECK(verdict.attempts[0].format == Format::Json);
  CHECK(verdict.attempts[0].reason == "not a JSON object");
  const std::string text = explain_text(verdict, 7);
  CHECK(text.find("line 7: raw, does not parse: no format that `auto` knows fits\n") == 0);
  CHECK(text.find("\n  not json: not a JSON object\n") != std::string::npos);
  CHECK(
      explain_json(verdict, 7).find(R"("tried":[{"format":"json","error":"not a JSON object"})") !=
      std::string::npos);
}

TEST_CASE("a line that is not of the configured format says why") {
  const LineVerdict verdict = inspector_of(Format::Json).inspect("no");
  CHECK_FALSE(verdict.is_parsed);
  CHECK(verdict.format == Format::Json);
  CHECK(verdict.reason == "not a JSON object");
  CHECK(inspector_of(Format::Raw).inspect("anything").is_parsed);
}

TEST_CASE("explain shows fields and their values") {
  const LineVerdict verdict = inspector_of(Format::Logfmt).inspect("a=1 user=\"x y\"");
  CHECK(explain_text(verdict, 1) ==
        "line 1: logfmt\n  a           1\n  user        \"x y\"\n"
        "  @timestamp  \"2024-01-15T14:32:05.000Z\"\n");
  CHECK(explain_json(verdict, 1) ==
        R"({"line":1,"format":"logfmt","parsed":true,"record":)"
        R"({"a":1,"user":"x y","@timestamp":"2024-01-15T14:32:05.000Z"}})"
        "\n");
  CHECK(explain_json(inspector_of(Format::Logfmt).inspect(""), 2) ==
        "{\"line\":2,\"record\":null}\n");
}

TEST_CASE("lines are read whole, and long ones not beyond the limit") {
  const TextFile file("one\n\n" + std::string(600'000, 'x') + "\nlast");
  LineReader reader(file.fd(), 100);
  std::string line;
  REQUIRE(reader.next(line).value());
  CHECK(line == "one");
  REQUIRE(reader.next(line).value());
  CHECK(line.empty());
  REQUIRE(reader.next(line).value());
  CHECK(line == std::string(101, 'x'));
  REQUIRE(reader.next(line).value());
  CHECK(line == "last");
  CHECK_FALSE(reader.next(line).value());
}

TEST_CASE("a file is measured by the format that auto settles on") {
  const TextFile file(repeat("{\"a\":1}\n", 100) + repeat("no json\n", 7) + "\n");
  Measures measures;
  REQUIRE(measure_file(options_of(Format::Auto), file.path(), measures));
  REQUIRE(measures.size() == 1);
  const FormatMeasure& json = measures[Format::Json];
  CHECK(json.lines == 107);
  CHECK(json.parsed == 100);
  REQUIRE(json.samples.size() == 5);
  CHECK(json.samples[0].line == 101);
  CHECK(json.samples[0].text == "no json");
  CHECK(json.samples[0].reason == "not a JSON object");
  measure_speed(options_of(Format::Auto), measures);
  CHECK(json.megabytes_per_second > 0);
  CHECK(measures_json(measures).find(R"("format":"json","lines":107,"parsed":100,"failed":7,)") !=
        std::string::npos);
  CHECK(measures_text(measures).find(file.path() + ":101: not a JSON object\n    \"no json\"\n") !=
        std::string::npos);
}

TEST_CASE("a file that cannot be read is named") {
  Measures measures;
  const auto done = measure_file(options_of(Format::Auto), "/nowhere/app.log", measures);
  REQUIRE_FALSE(done);
  CHECK(done.error().message() == "/nowhere/app.log: No such file or directory");
  CHECK_FALSE(measure_file(options_of(Format::Auto), "/tmp", measures));
}

}  // namespace pillion::logs::test
