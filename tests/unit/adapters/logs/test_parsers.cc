// Lines of every format and the records they become, byte for byte, on every instruction set.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

struct Case {
  Format format;
  std::string line;
  std::string record;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    for (const Kernel* kernel : kernels()) {
      INFO(kernel->name << ": " << c.line);
      const auto records = encode(c.line + "\n", options_of(c.format), *kernel);
      REQUIRE(records.size() == 1);
      CHECK(records[0] == c.record + "\n");
      CHECK(nlohmann::json::accept(records[0]));
    }
  }
}

const std::string kSeen = R"("@timestamp":"2024-01-15T14:32:05.000Z")";
std::string failure(const std::string& message, const std::string& why) {
  return R"({"message":")" + message + R"(",)" + kSeen +
         R"(,"tags":["_parsefailure"],"error.message":")" + why + R"("})";
}

TEST_CASE("prefixed logfmt becomes a record with time, level and fields") {
  const auto kF = Format::PrefixedLogfmt;
  check({
      {kF, "2024-01-15 14:32:01 INFO order_id=ORD-9921 status=FULFILLED",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"info","order_id":"ORD-9921","status":"FULFILLED"})"},
      {kF, "2024-01-15 14:32:01 INFO",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"info"})"},
      {kF, "2024-01-15T14:32:01,5Z [WARN] low stock sku=A-1 left=3 of the day",
       R"({"@timestamp":"2024-01-15T14:32:01.5Z","log.level":"warn","sku":"A-1","left":3,"message":"low stock of the day"})"},
      {kF, "[2024-01-15 14:32:01] Error: it broke",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"error","message":"it broke"})"},
      {kF, "2024/01/15 14:32:01 - SEVERE - [main] x",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"error","message":"[main] x"})"},
      {kF, "2024-01-15 14:32:01 hello",
       R"({"@timestamp":"2024-01-15T14:32:01Z","message":"hello"})"},
      {kF, "2024-01-15 14:32:01 INFORMAL hello",
       R"({"@timestamp":"2024-01-15T14:32:01Z","message":"INFORMAL hello"})"},
      {kF, "2024-01-15 14:32:01 DEBUG note=\"two \\\"boxes\\\" = \\d\\n\" x= y=\"\" tail",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"debug","note":"two \"boxes\" = \\d\n","x":"","y":"","message":"tail"})"},
      {kF, "2024-01-15 14:32:01 INFO open=\"never closed x=1",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"info","message":"open=\"never closed x=1"})"},
      {kF, "2024-01-15 14:32:01 INFO GET http://h/p?a=b took=5ms (a=b) =x a==b",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"info","took":"5ms","a":"=b","message":"GET http://h/p?a=b (a=b) =x"})"},
      {kF, "no time here", failure("no time here", "no ISO 8601 time at the start of the line")},
      {kF, "2024-02-30 14:32:01 INFO x=1",
       failure("2024-02-30 14:32:01 INFO x=1", "no ISO 8601 time at the start of the line")},
  });
}

TEST_CASE("Numbers stay numbers only when JSON would read the same text back") {
  const std::pair<const char*, const char*> values[] = {
      {"0", "0"},
      {"12", "12"},
      {"-3.25", "-3.25"},
      {"007", "\"007\""},
      {"0.5", "0.5"},
      {"1.", "\"1.\""},
      {".5", "\".5\""},
      {"1e5", "\"1e5\""},
      {"1.2.3", "\"1.2.3\""},
      {"-", "\"-\""},
      {"+1", "\"+1\""},
      {"123456789012345678", "123456789012345678"},
      {"1234567890123456789", "\"1234567890123456789\""},
      {"\"12\"", "\"12\""},
      {"true", "\"true\""}};
  for (const auto& [text, json] : values) {
    check({{Format::Logfmt, std::string("x=1 v=") + text,
            "{\"x\":1,\"v\":" + std::string(json) + "," + kSeen + "}"}});
  }
}

TEST_CASE("logfmt keys for time, level and message get our names") {
  const auto kF = Format::Logfmt;
  check({
      {kF, "time=2024-01-15T14:32:01Z level=warning msg=\"disk \\u00e9 full\" free=0",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"warn","free":0,"message":"disk \u00e9 full"})"},
      {kF, "ts=1705329121.123 lvl=E a=b",
       R"({"@timestamp":"2024-01-15T14:32:01.123Z","log.level":"error","a":"b"})"},
      {kF, "time=soon level=5 a=b", R"({"time":"soon","level":5,"a":"b",)" + kSeen + "}"},
      {kF, "just words", failure("just words", "no key=value pair")},
  });
}

TEST_CASE("A key that comes twice, or is one of ours, gets a number") {
  check({{Format::Logfmt, "a=1 a=2 a_2=3 @timestamp=x log.level=y a=4",
          R"({"a":1,"a_2":2,"a_2_2":3,"@timestamp_2":"x","log.level_2":"y","a_3":4,)" + kSeen +
              "}"}});
}

TEST_CASE("A field of the line wins over the same field of the envelope") {
  auto options = options_of(Format::Logfmt);
  options.envelope.add("service.name", "ours");
  options.envelope.add("host.name", "vm");
  const auto records = encode("service.name=theirs x=1\nx=1\n", options);
  CHECK(records.at(0) == R"({"service.name":"theirs","x":1,)" + kSeen + ",\"host.name\":\"vm\"}\n");
  CHECK(records.at(1) ==
        R"({"x":1,)" + kSeen + ",\"service.name\":\"ours\",\"host.name\":\"vm\"}\n");
}

TEST_CASE("JSON lines are checked, renamed at the top and otherwise kept") {
  const auto kF = Format::Json;
  const std::string no = "not a JSON object";
  check({
      {kF,
       R"({"time":"2024-01-15T15:32:01+01:00","level":"ERROR","msg":"a\"bé","n":{"time":"x","a":[1,2,{}]}})",
       R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"error","message":"a\"bé","n":{"time":"x","a":[1,2,{}]}})"},
      {kF, R"( { "level" : 30 , "time":1705329121123, "x" : -1.5e3, "y":null , "z":true} )",
       R"({"log.level":"info","@timestamp":"2024-01-15T14:32:01.123Z","x":-1.5e3,"y":null,"z":true})"},
      {kF, "{}", "{" + kSeen + "}"},
      {kF, R"({"msg":{"a":1},"level":"verbose","time":"later","a":1e999})",
       R"({"msg":{"a":1},"level":"verbose","time":"later","a":"1e999",)" + kSeen + "}"},
      {kF, R"({"a":"\ud800 \ud83d\ude00 \u0041"})",
       R"({"a":"\ufffd \ud83d\ude00 \u0041",)" + kSeen + "}"},
      {kF, R"({"a":1,"a":2,"message":"m","msg":"n"})",
       R"({"a":1,"a_2":2,"message":"m","msg":"n",)" + kSeen + "}"},
      {kF, R"({"a":01})", failure(R"({\"a\":01})", no)},
      {kF, R"({"a":1,})", failure(R"({\"a\":1,})", no)},
      {kF, R"({"a":1} x)", failure(R"({\"a\":1} x)", no)},
      {kF, R"({"a":"\x"})", failure(R"({\"a\":\"\\x\"})", no)},
      {kF, R"([1])", failure("[1]", no)},
      {kF, R"({"a")", failure(R"({\"a\")", no)},
      {kF, "{\"a\":\"tab\there\"}", failure(R"({\"a\":\"tab\there\"})", no)},
  });
  CHECK(encode(std::string("{\"a\":") + std::string(100, '[') + "\n", options_of(kF))[0].find(no) !=
        std::string::npos);
}

TEST_CASE("Access logs get the names of the Elastic Common Schema") {
  const auto kF = Format::Clf;
  check({
      {kF, R"(203.0.113.9 - ann [15/Jan/2024:15:32:01 +0100] "GET /o?a=b HTTP/1.1" 200 512)",
       R"({"@timestamp":"2024-01-15T14:32:01Z","source.address":"203.0.113.9","user.name":"ann","http.request.method":"GET","url.original":"/o?a=b","http.version":"1.1","http.response.status_code":200,"http.response.body.bytes":512})"},
      {kF,
       R"(::1 - - [15/Jan/2024:14:32:01 +0000] "GET / HTTP/1.0" 304 - "-" "a \"b\" \x01" rt=0.1)",
       R"({"@timestamp":"2024-01-15T14:32:01Z","source.address":"::1","http.request.method":"GET","url.original":"/","http.version":"1.0","http.response.status_code":304,"user_agent.original":"a \"b\" \\x01","message":"rt=0.1"})"},
      {kF, R"(::1 - - [15/Jan/2024:14:32:01 +0000] "\x16\x03" 400 0)",
       R"({"@timestamp":"2024-01-15T14:32:01Z","source.address":"::1","http.response.status_code":400,"http.response.body.bytes":0,"message":"\\x16\\x03"})"},
      {kF, "::1 - - [15/Jan/2024:14:32:01 +0000] \"GET / HTTP/1.0\" 2x4 0",
       failure(R"(::1 - - [15/Jan/2024:14:32:01 +0000] \"GET / HTTP/1.0\" 2x4 0)",
               "not a common or combined access log line")},
  });
}

TEST_CASE("Whatever JSON cannot hold is escaped or mended") {
  check(
      {{Format::Raw, "tab\t quote\" back\\ bell\x07 del\x7f",
        R"({"message":"tab\t quote\" back\\ bell\u0007 del)"
        "\x7f"
        R"(",)" +
            kSeen + "}"},
       {Format::Raw, "caf\xc3\xa9 \xff\xfe \xed\xa0\x80 \xf0\x9f\x98\x80 \xc3",
        "{\"message\":\"caf\xc3\xa9 \xEF\xBF\xBD\xEF\xBF\xBD \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD "
        "\xf0\x9f\x98\x80 \xEF\xBF\xBD\"," +
            kSeen + "}"}});
}

TEST_CASE("Levels are normalised whatever their spelling") {
  const std::pair<const char*, const char*> words[] = {
      {"Info", "info"},    {"INFORMATION", "info"}, {"wArNiNg", "warn"},  {"ERR", "error"},
      {"SEVERE", "error"}, {"FINEST", "trace"},     {"crit", "critical"}, {"EMERGENCY", "fatal"},
      {"PANIC", "fatal"},  {"notice", "notice"},    {"Alert", "alert"},   {"D", "debug"}};
  for (const auto& [word, level] : words) {
    check({{Format::Logfmt, std::string("level=") + word,
            std::string(R"({"log.level":")") + level + "\"," + kSeen + "}"}});
  }
}

TEST_CASE("Fields beyond the limit stay in the message") {
  std::string line = "2024-01-15 14:32:01 INFO";
  for (int i = 0; i < 400; ++i) line += " k" + std::to_string(i) + "=" + std::to_string(i);
  for (const Kernel* kernel : kernels()) {
    const auto records = encode(line + "\n", options_of(Format::PrefixedLogfmt), *kernel);
    const auto record = nlohmann::json::parse(records.at(0));
    CHECK(record["k254"] == 254);
    CHECK_FALSE(record.contains("k255"));
    CHECK(record["message"].get<std::string>().find("k399=399") != std::string::npos);
  }
}

TEST_CASE("A long line is cut at a character and marked") {
  auto options = options_of(Format::Raw);
  options.line_bytes_max = 10;
  CHECK(encode("12345678\xc3\xa9z\n", options)[0].find("8\xc3\xa9\"") != std::string::npos);
  const auto record = encode("123456789\xc3\xa9z\n", options)[0];
  CHECK(record == R"({"message":"123456789",)" + kSeen + ",\"log.flags\":[\"truncated\"]}\n");
}

TEST_CASE("auto chooses after 64 lines and says what") {
  const std::tuple<const char*, Format, const char*> files[] = {
      {"2024-01-15 14:32:01 INFO a=1\n", Format::PrefixedLogfmt,
       "prefixed-logfmt (64 of 64 lines)"},
      {"{\"a\":1}\n", Format::Json, "json (64 of 64 lines)"},
      {"a=1 b=2\n", Format::Logfmt, "logfmt (64 of 64 lines)"},
      {"::1 - - [15/Jan/2024:14:32:01 +0000] \"GET / HTTP/1.0\" 304 -\n", Format::Clf,
       "clf (64 of 64 lines)"},
      {"Hello, a=b\n", Format::Raw, "raw (64 of 64 lines)"},
      {"{\"a\":1}\nplain\n", Format::Mixed, "mixed (no one format fits; each line by its own)"}};
  for (const auto& [text, format, choice] : files) {
    Encoder encoder(options_of(Format::Auto));
    RecordBuffer buffer;
    std::string many;
    for (int i = 0; i < 70; ++i) many += text;
    const Padded padded(many);
    CHECK(encoder.encode(padded.view(), 0, buffer) == many.size());
    CHECK(encoder.active_format() == format);
    CHECK(encoder.take_choice() == choice);
    CHECK(encoder.take_choice().empty());
    CHECK(encoder.counters().parse_failures == 0);
    CHECK(buffer.record_count() == (format == Format::Mixed ? 140 : 70));
  }
}

}  // namespace
}  // namespace pillion::logs::test
