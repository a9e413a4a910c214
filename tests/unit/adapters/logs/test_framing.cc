// Lines and CRI records, cut anywhere; and random bytes, which must always come out as valid JSON.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

const std::string kLines =
    "2024-01-15 14:32:01 INFO a=1\r\n"
    "\n"
    "2024-01-15 14:32:02 WARN caf\xc3\xa9 note=\"x y\" b=2\n"
    "\tat com.example.Main\n"
    "2024-01-15 14:32:03 ERROR last\n";

const std::string kCri =
    "2024-01-15T14:32:01.123456789Z stdout F:g3 2024-01-15 14:32:00 INFO a=1\n"
    "2024-01-15T14:32:02.1Z stdout P:g3 first half, \n"
    "2024-01-15T14:32:02.2Z stderr F:g3 an error between\n"
    "2024-01-15T14:32:02.3Z stdout F:g3 second half\n"
    "2024-01-15T14:32:02.4Z stdout F \n"
    "not cri\n";

// Reads `text` in two pieces, the way a file is read: what is not taken is offered again.
std::vector<std::string> encode_split(const std::string& text, std::size_t split,
                                      EncoderOptions options, const Kernel& kernel) {
  Encoder encoder(std::move(options), kernel);
  encoder.set_observed_time(kObserved);
  RecordBuffer buffer;
  const Padded first(std::string_view(text).substr(0, split));
  const std::size_t taken = encoder.encode(first.view(), 0, buffer);
  const Padded second(std::string_view(text).substr(taken));
  encoder.encode(second.view(), taken, buffer);
  return records_of(buffer);
}

TEST_CASE("Records do not depend on where reads end") {
  for (const Kernel* kernel : kernels()) {
    for (const bool is_cri : {false, true}) {
      auto options = options_of(Format::PrefixedLogfmt);
      options.is_cri = is_cri;
      options.envelope.has_offset = true;
      const std::string& text = is_cri ? kCri : kLines;
      const auto whole = encode(text, options, *kernel);
      CHECK(whole.size() == 4);
      for (std::size_t split = 0; split <= text.size(); ++split) {
        INFO(split);
        CHECK(encode_split(text, split, options, *kernel) == whole);
      }
    }
  }
}

TEST_CASE("CRI records carry stream and generation, and partial lines are joined per stream") {
  auto options = options_of(Format::Auto);
  options.is_cri = true;
  const auto records = encode(kCri, options);
  REQUIRE(records.size() == 4);
  CHECK(
      records[0] ==
      R"({"@timestamp":"2024-01-15T14:32:00Z","log.level":"info","a":1,"stream":"stdout","pillion.generation":3})"
      "\n");
  CHECK(
      records[1] ==
      R"({"message":"an error between","@timestamp":"2024-01-15T14:32:02.2Z","stream":"stderr","pillion.generation":3})"
      "\n");
  CHECK(
      records[2] ==
      R"({"message":"first half, second half","@timestamp":"2024-01-15T14:32:02.3Z","stream":"stdout","pillion.generation":3})"
      "\n");
  CHECK(records[3] == R"({"message":"not cri","@timestamp":"2024-01-15T14:32:05.000Z"})"
                      "\n");
}

TEST_CASE("Docker's lines carry stream and time, and parts are joined per stream") {
  auto options = options_of(Format::Auto);
  options.is_docker = true;
  const auto records = encode(
      R"({"log":"2024-01-15 14:32:00 INFO a=1 caf\u00e9 \"x\"\n","stream":"stdout","time":"2024-01-15T14:32:01.123456789Z"})"
      "\n"
      R"({"log":"first half, ","stream":"stdout","time":"2024-01-15T14:32:02Z"})"
      "\n"
      R"({"log":"between\r\n","stream":"stderr","attrs":{"tag":"t,}"},"time":"2024-01-15T14:32:03Z"})"
      "\n"
      R"({"log":"second half\n","stream":"stdout","time":"2024-01-15T14:32:04Z"})"
      "\n"
      R"({"log":"no stream\n","time":"2024-01-15T14:32:04Z"})"
      "\n"
      R"({"log":"torn\n","str)"
      "\n",
      options);
  REQUIRE(records.size() == 5);
  CHECK(
      records[0] ==
      R"({"@timestamp":"2024-01-15T14:32:00Z","log.level":"info","a":1,"message":"café \"x\"","stream":"stdout"})"
      "\n");
  CHECK(records[1] ==
        R"({"message":"between","@timestamp":"2024-01-15T14:32:03Z","stream":"stderr"})"
        "\n");
  CHECK(
      records[2] ==
      R"({"message":"first half, second half","@timestamp":"2024-01-15T14:32:04Z","stream":"stdout"})"
      "\n");
  // What is no such line is read as it is.
  CHECK(records[3].find("\"log\":\"no stream") != std::string::npos);
  CHECK(records[4].find("torn") != std::string::npos);
}

TEST_CASE("A joined line that waits for its end holds the safe offset back") {
  auto options = options_of(Format::Raw);
  options.is_cri = true;
  Encoder encoder(options);
  RecordBuffer buffer;
  const std::string text =
      "2024-01-15T14:32:01Z stdout F a\n2024-01-15T14:32:02Z stdout P b\n"
      "2024-01-15T14:32:03Z stderr F c\n";
  const Padded padded(text);
  CHECK(encoder.encode(padded.view(), 0, buffer) == text.size());
  CHECK(encoder.safe_offset(text.size()) == 32);
  encoder.flush_joined(buffer);
  CHECK(encoder.safe_offset(text.size()) == text.size());
  CHECK(
      buffer.record(2) ==
      R"({"message":"b","@timestamp":"2024-01-15T14:32:02Z","stream":"stdout","log.flags":["partial"]})"
      "\n");
}

TEST_CASE("The buffer's limit stops between records and the rest can be taken later") {
  Encoder encoder(options_of(Format::Raw));
  RecordBuffer buffer;
  std::string text;
  for (int i = 0; i < 100; ++i) text += "line " + std::to_string(i) + "\n";
  const Padded padded(text);
  std::size_t at = 0, rounds = 0, records = 0;
  while (at < text.size()) {
    at += encoder.encode(padded.view().substr(at), at, buffer, 500);
    records += buffer.record_count();
    buffer.clear();
    ++rounds;
  }
  CHECK(records == 100);
  CHECK(rounds > 5);
}

TEST_CASE("Every document of a bulk request may carry an id from identity and offset") {
  auto options = options_of(Format::Raw);
  options.envelope.id_prefix = R"({"index":{"_id":"c0ffee-)";
  options.envelope.id_suffix = "\"}}\n";
  const auto records = encode("a\nbc\n", options);
  CHECK(records[0].substr(0, 35) == "{\"index\":{\"_id\":\"c0ffee-0\"}}\n{\"mess");
  CHECK(records[1].substr(0, 35) == "{\"index\":{\"_id\":\"c0ffee-2\"}}\n{\"mess");
}

// Bytes that the parsers look for, so that random text reaches deep into them.
std::string random_line(std::mt19937& random) {
  static const std::vector<std::string> kWords = {"2024-01-15 14:32:01",
                                                  " ",
                                                  " ",
                                                  "=",
                                                  "\"",
                                                  "\\",
                                                  "INFO",
                                                  "{",
                                                  "}",
                                                  "[",
                                                  "]",
                                                  ":",
                                                  ",",
                                                  "a",
                                                  "key",
                                                  "level",
                                                  "msg",
                                                  "time",
                                                  "1",
                                                  "-0.5",
                                                  "1e9",
                                                  "true",
                                                  "null",
                                                  "\\u12",
                                                  "\\ud83d\\ude00",
                                                  "\xc3\xa9",
                                                  "\xff",
                                                  "\x01",
                                                  "\t",
                                                  "GET / HTTP/1.1",
                                                  "[15/Jan/2024:14:32:01 +0000]",
                                                  "- - ",
                                                  "200",
                                                  "stdout F ",
                                                  "2024-01-15T14:32:01Z",
                                                  "@timestamp",
                                                  "service.name",
                                                  "\"a\":",
                                                  "\"message\":\"x\""};
  std::string line;
  const std::size_t count = random() % 24;
  for (std::size_t i = 0; i < count; ++i) line += kWords[random() % kWords.size()];
  if (random() % 4 == 0) line = "{" + line + "}";
  return line + "\n";
}

TEST_CASE("Output is one valid JSON object per line, whatever the input") {
  std::mt19937 random(20240115);
  std::string text;
  for (int i = 0; i < 20000; ++i) text += random_line(random);
  for (std::size_t format = 0; format < kFormatCount; ++format) {
    for (const bool is_cri : {false, true}) {
      std::vector<std::string> first;
      for (const Kernel* kernel : kernels()) {
        auto options = options_of(static_cast<Format>(format));
        options.is_cri = is_cri;
        options.envelope.add("service.name", "s");
        options.envelope.has_original = true;
        const auto records = encode(text, options, *kernel);
        if (first.empty()) {
          first = records;
          for (const auto& record : records) {
            if (!nlohmann::json::accept(record)) FAIL(record);
            if (record.find('\n') != record.size() - 1) FAIL(record);
          }
        }
        CHECK(records == first);  // every instruction set writes the same bytes
      }
    }
  }
}

// All there is beside the parsers: framings, groups of lines, rules for fields, a filter.
EncoderOptions with_everything(Format format, bool is_docker, GroupPreset preset) {
  auto options = options_of(format);
  options.is_cri = options.is_docker = is_docker;
  options.groups.emplace();
  options.groups->preset = preset;
  options.groups->lines_max = 5;
  options.envelope.add("service.name", "s");
  options.field_rules.redact = {"a", "key"};
  options.field_rules.rename = {{"level", "key"}};
  options.field_rules.convert = {{"msg", Conversion::Integer}};
  options.field_rules.hash = {"time"};
  options.field_rules.text_redaction = TextRedaction::compile({"cards", "secrets", "/a./"}).value();
  options.filter = std::make_shared<RecordFilter>(RecordFilterOptions{.sample = 0.5});
  return options;
}

TEST_CASE("Groups, rules and filters keep the output valid and lose no byte of the position") {
  std::mt19937 random(7);
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    std::string line = random_line(random);
    if (random() % 3 == 0) line.insert(0, random() % 2 == 0 ? "\tat " : "  ");
    if (random() % 4 == 0) {
      line.pop_back();
      const std::string quoted =
          nlohmann::json(line).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      line = R"({"log":)" + quoted.substr(0, quoted.size() - 1) +
             (random() % 2 == 0 ? R"(\n")" : "\"") +
             R"(,"stream":"stdout","time":"2024-01-15T14:32:01Z"})" + "\n";
    }
    text += line;
  }
  const Padded padded(text);
  for (std::size_t format = 0; format < kFormatCount; ++format) {
    for (const GroupPreset preset : {GroupPreset::Auto, GroupPreset::Generic}) {
      for (const bool is_docker : {false, true}) {
        std::vector<std::string> first;
        for (const Kernel* kernel : kernels()) {
          Encoder encoder(with_everything(static_cast<Format>(format), is_docker, preset), *kernel);
          encoder.set_observed_time(kObserved);
          RecordBuffer buffer;
          CHECK(encoder.encode_rest(padded.view(), 0, buffer) == text.size());
          encoder.flush_joined(buffer);
          CHECK(encoder.safe_offset(text.size()) == text.size());
          const auto records = records_of(buffer);
          if (first.empty()) first = records;
          CHECK(records == first);
        }
        CHECK(first.size() > 100);
        for (const auto& record : first) {
          if (!nlohmann::json::accept(record)) FAIL(record);
          if (record.find('\n') != record.size() - 1) FAIL(record);
        }
      }
    }
  }
}

}  // namespace
}  // namespace pillion::logs::test
