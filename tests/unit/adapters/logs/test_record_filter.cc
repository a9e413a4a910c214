// Which records an output gets.
#include <catch2/catch.hpp>

#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

std::shared_ptr<RegexFormat> regex(const std::string& expression) {
  return RegexFormat::compile(expression, false).value();
}

// The messages of `text` that pass.
std::vector<std::string> passed(std::string_view text, RecordFilterOptions filter) {
  EncoderOptions options = options_of(Format::Logfmt);
  options.filter = std::make_shared<RecordFilter>(std::move(filter));
  options.envelope.record_prefix = "{\"create\":{}}\n";
  std::vector<std::string> messages;
  for (const auto& record : encode(text, options)) {
    const std::size_t begin = record.find("\"message\":\"") + 11;
    messages.push_back(record.substr(begin, record.find('"', begin) - begin));
  }
  return messages;
}

using Texts = std::vector<std::string>;

const std::string kLines =
    "level=debug msg=a user=ann\nlevel=warn msg=b user=bob n=17\nmsg=c user=\"ann \\\"x\"\n"
    "level=error msg=d\n";

}  // namespace

TEST_CASE("Records are chosen by level and by what fields say") {
  CHECK(passed(kLines, {.min_level = "warn"}) == Texts{"b", "c", "d"});
  CHECK(passed(kLines, {.match = {{"user", regex("^ann")}}}) == Texts{"a", "c"});
  CHECK(passed(kLines, {.match = {{"user", regex(" \"x$")}, {"message", regex("c")}}}) ==
        Texts{"c"});
  CHECK(passed(kLines, {.match = {{"user", regex(".")}, {"n", regex("^17$")}}}) == Texts{"b"});
  CHECK(passed(kLines, {.exclude = {{"user", regex("ann|bob")}}}) == Texts{"d"});
}

TEST_CASE("What is filtered out leaves nothing behind and is counted") {
  EncoderOptions options = options_of(Format::Raw);
  options.filter =
      std::make_shared<RecordFilter>(RecordFilterOptions{.match = {{"message", regex("^keep")}}});
  Encoder encoder(options);
  RecordBuffer buffer;
  const Padded text("drop this\nkeep this\ndrop that\n");
  CHECK(encoder.encode(text.view(), 0, buffer) == text.view().size());
  CHECK(buffer.record_count() == 1);
  CHECK(buffer.bytes() == buffer.record(0));
  CHECK(encoder.counters().filtered == 2);
  CHECK(encoder.counters().records == 1);
}

TEST_CASE("A sample is a share, the same for the same records") {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "msg=m n=" + std::to_string(i) + "\n";
  const auto some = passed(text, {.sample = 0.1});
  CHECK(some.size() > 800);
  CHECK(some.size() < 1200);
  CHECK(passed(text, {.sample = 0.1}).size() == some.size());
  CHECK(passed(text, {.sample = 0}).empty());
}

TEST_CASE("So many a second, with as many at once") {
  RecordFilter filter(RecordFilterOptions{.rate_limit = 10});
  const std::string record = "{\"message\":\"x\"}\n";
  constexpr std::int64_t kSecond = 1'000'000'000;
  int count = 0;
  for (int i = 0; i < 100; ++i) count += filter.passes(record, kSecond);
  CHECK(count == 10);
  CHECK_FALSE(filter.passes(record, kSecond + kSecond / 20));
  CHECK(filter.passes(record, kSecond + kSecond / 10));
  CHECK_FALSE(filter.passes(record, kSecond));  // the clock was set back: nothing for free
  for (int i = 0; i < 100; ++i) count += filter.passes(record, 100 * kSecond);
  CHECK(count == 20);
}

TEST_CASE("The same again is left out for a while, whatever its time") {
  RecordFilter filter(RecordFilterOptions{.deduplicate = std::chrono::seconds(5)});
  const auto record = [](int second, const char* text) {
    return "{\"@timestamp\":\"2024-01-15T14:32:0" + std::to_string(second) + "Z\",\"message\":\"" +
           text + "\"}\n";
  };
  constexpr std::int64_t kSecond = 1'000'000'000;
  CHECK(filter.passes(record(1, "x"), 1 * kSecond));
  CHECK_FALSE(filter.passes(record(2, "x"), 2 * kSecond));
  CHECK(filter.passes(record(2, "y"), 2 * kSecond));
  CHECK(filter.passes(record(7, "x"), 7 * kSecond));
  for (int i = 0; i < 30000; ++i)
    filter.passes(record(8, std::to_string(i).c_str()), 8 * kSecond + i);
  CHECK_FALSE(filter.passes(record(9, "29999"), 9 * kSecond));  // the newest are remembered
}

}  // namespace pillion::logs::test
