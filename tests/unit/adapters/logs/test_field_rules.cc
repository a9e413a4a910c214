// rename, drop, keep and redact, with the inner loops of each instruction set.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

// The one record of `line`, the same from every kernel.
std::string ruled(std::string_view line, const EncoderOptions& options) {
  std::string record;
  for (const Kernel* kernel : kernels()) {
    const auto records = encode(std::string(line) + "\n", options, *kernel);
    REQUIRE(records.size() == 1);
    if (!record.empty()) CHECK(records[0] == record);
    record = records[0];
  }
  REQUIRE(record.back() == '\n');
  record.pop_back();
  return record;
}

EncoderOptions with(Format format, FieldRulesOptions rules) {
  EncoderOptions options = options_of(format);
  options.field_rules = std::move(rules);
  options.envelope.add("host.name", "h");
  return options;
}

constexpr const char* kLine = "ts=2024-01-15T14:32:01Z level=info msg=hi user=ann password=x n=1";

}  // namespace

TEST_CASE("fields are renamed, at once, and never twice in a record") {
  CHECK(ruled(kLine,
              with(Format::Logfmt, {{{"user", "user.name"}, {"message", "text"}}, {}, {}, {}})) ==
        R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"info","user.name":"ann",)"
        R"("password":"x","n":1,"text":"hi","host.name":"h"})");
  const std::string swapped =
      ruled(R"({"time":"2024-01-15T14:32:01Z","a":1,"b":2,"c":3})",
            with(Format::Json, {{{"a", "b"}, {"b", "a"}, {"c", "a"}}, {}, {}, {}}));
  CHECK(swapped == R"({"@timestamp":"2024-01-15T14:32:01Z","b":1,"a":2,"a_2":3,"host.name":"h"})");
}

TEST_CASE("a renamed field of the line wins over what surrounds a record") {
  const auto record = ruled(R"({"time":1705329121,"node":"n1"})",
                            with(Format::Json, {{{"node", "host.name"}}, {}, {}, {}}));
  CHECK(record == R"({"@timestamp":"2024-01-15T14:32:01Z","host.name":"n1"})");
}

TEST_CASE("fields are dropped, message and level and ours too") {
  CHECK(ruled(kLine, with(Format::Logfmt,
                          {{}, {"password", "message", "log.level", "host.name", "n"}, {}, {}})) ==
        R"({"@timestamp":"2024-01-15T14:32:01Z","user":"ann"})");
}

TEST_CASE("keep leaves time, level, message and what surrounds a record") {
  CHECK(
      ruled(kLine, with(Format::Logfmt, {{}, {}, {"n"}, {}})) ==
      R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"info","n":1,"message":"hi","host.name":"h"})");
  const auto failed = ruled("no json", with(Format::Json, {{}, {}, {"n"}, {}}));
  CHECK(failed.find(R"("tags":["_parsefailure"],"error.message":"not a JSON object")") !=
        std::string::npos);
}

TEST_CASE("redacted values are hidden, whatever they are") {
  CHECK(
      ruled(R"({"time":1705329121,"password":{"a":["}",1]},"n":5,"k":null,"x":{"password":"in"}})",
            with(Format::Json, {{}, {}, {}, {"password", "n", "k"}})) ==
      R"({"@timestamp":"2024-01-15T14:32:01Z","password":"[REDACTED]","n":"[REDACTED]",)"
      R"("k":"[REDACTED]","x":{"password":"[REDACTED]"},"host.name":"h"})");
  CHECK(ruled(kLine, with(Format::Logfmt, {{}, {}, {}, {"message"}}))
            .find(R"("message":"[REDACTED]")") != std::string::npos);
  const auto renamed =
      ruled(kLine, with(Format::Logfmt, {{{"password", "secret"}}, {}, {}, {"secret"}}));
  CHECK(renamed.find(R"("secret":"[REDACTED]")") != std::string::npos);
}

TEST_CASE("a repeated or escaped key cannot slip through") {
  const auto repeated = ruled("ts=1705329121 password=a password=b password_9=c",
                              with(Format::Logfmt, {{}, {}, {}, {"password"}}));
  CHECK(repeated.find(R"("password":"[REDACTED]","password_2":"[REDACTED]")") != std::string::npos);
  const auto escaped = ruled(R"({"pass\u0077ord":"x","pass\u0077ord2":"y"})",
                             with(Format::Json, {{}, {}, {}, {"password"}}));
  CHECK(escaped.find(R"("[REDACTED]")") != std::string::npos);
  CHECK(escaped.find(R"("x")") == std::string::npos);
  CHECK(escaped.find(R"("y")") != std::string::npos);
  const auto genuine =
      ruled("ts=1705329121 step_2=x", with(Format::Logfmt, {{}, {"step"}, {}, {}}));
  CHECK(genuine.find(R"("step_2":"x")") != std::string::npos);
}

TEST_CASE("rules reach the fields of every kind of format") {
  const auto access = ruled(
      R"(::1 - ann [15/Jan/2024:14:32:01 +0000] "GET / HTTP/1.1" 200 5)",
      with(Format::Clf, {{{"source.address", "client.ip"}}, {"http.version"}, {}, {"user.name"}}));
  CHECK(access ==
        R"({"@timestamp":"2024-01-15T14:32:01Z","client.ip":"::1","user.name":"[REDACTED]",)"
        R"("http.request.method":"GET","url.original":"/","http.response.status_code":200,)"
        R"("http.response.body.bytes":5,"host.name":"h"})");
}

TEST_CASE("the action line of a bulk request stays, and records may grow") {
  EncoderOptions options = with(Format::Json, {{{"a", std::string(120, 'n')}}, {}, {}, {"b"}});
  options.envelope.record_prefix = "{\"create\":{}}\n";
  for (const Kernel* kernel : kernels()) {
    std::string text;
    for (int i = 0; i < 3000; ++i)
      text += R"({"a":1,"b":2,"time":1705329121})"
              "\n";
    const auto records = encode(text, options, *kernel);
    REQUIRE(records.size() == 3000);
    const std::string wanted =
        "{\"create\":{}}\n{\"" + std::string(120, 'n') +
        R"(":1,"b":"[REDACTED]","@timestamp":"2024-01-15T14:32:01Z","host.name":"h"})"
        "\n";
    for (const auto& record : records) REQUIRE(record == wanted);
  }
}

TEST_CASE("redact reaches into nested objects, by name or by path") {
  FieldRulesOptions rules;
  rules.redact = {"password", "user.mail", "to\"ken"};
  CHECK(
      ruled(
          R"({"ts":1705329121,"a":{"password":"x","b":[{"password":{"deep":1}},["p"],{"mail":"m"}],"c":{}},"user":{"mail":"m","id":7},"to\"ken":1,"list":[]})",
          with(Format::Json, rules)) ==
      R"({"@timestamp":"2024-01-15T14:32:01Z","a":{"password":"[REDACTED]","b":[{"password":"[REDACTED]"},["p"],{"mail":"m"}],"c":{}},"user":{"mail":"[REDACTED]","id":7},"to\"ken":"[REDACTED]","list":[],"host.name":"h"})");
}

TEST_CASE("redact_text finds cards, addresses and credentials in any text") {
  FieldRulesOptions rules;
  rules.text_redaction =
      TextRedaction::compile({"cards", "emails", "secrets", "/order-\\d+/"}).value();
  const auto message = [&](const std::string& text) {
    const std::string record = ruled(text, with(Format::Raw, rules));
    const std::size_t begin = record.find("\"message\":\"") + 11;
    return record.substr(begin, record.find("\",\"@timestamp") - begin);
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"card 4111 1111 1111 1111 paid", "card [REDACTED] paid"},
      {"card 4111-1111-1111-1112 is none", "card 4111-1111-1111-1112 is none"},
      {"id 1705329121000000000 stays", "id 1705329121000000000 stays"},
      {"from ann.b+c@mail.example.org!", "from [REDACTED]!"},
      {"no@address", "no@address"},
      {"password=hunter2, next", "password=[REDACTED], next"},
      {"Authorization: Bearer abc.def-123", "Authorization: Bearer [REDACTED]"},
      {"{\"api_key\": \"k-1\"}", "{\\\"api_key\\\": \\\"[REDACTED]\\\"}"},
      {"postgres://app:s3cr3t@db:5432/x", "postgres://app:[REDACTED]@db:5432/x"},
      {"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt [REDACTED] end"},
      {"key AKIAIOSFODNN7EXAMPLE", "key [REDACTED]"},
      {"vault hvs.CAESIJ1234567890abcdefghij", "vault [REDACTED]"},
      {"order-17\tand order-18", "[REDACTED]\\tand [REDACTED]"},
      {"nothing \"here\"", "nothing \\\"here\\\""},
  };
  for (const auto& [text, wanted] : cases) CHECK(message(text) == wanted);
  CHECK(
      ruled(R"({"ts":1705329121,"a":{"b":["x a@b.cd"]},"n":4111111111111111})",
            with(Format::Json, rules)) ==
      R"({"@timestamp":"2024-01-15T14:32:01Z","a":{"b":["x [REDACTED]"]},"n":4111111111111111,"host.name":"h"})");
  CHECK_FALSE(TextRedaction::compile({"phones"}));
  CHECK_FALSE(TextRedaction::compile({"/(/"}));
}

TEST_CASE("fields are converted where they read as the type, and hashed") {
  FieldRulesOptions rules;
  rules.convert = {{"a", Conversion::Integer},
                   {"b", Conversion::Float},
                   {"c", Conversion::Boolean},
                   {"d", Conversion::String},
                   {"e", Conversion::Integer}};
  rules.hash = {"f"};
  const char* const line =
      R"({"ts":1705329121,"a":"007","b":"1e3","c":"yes","d":5,"e":"5ms","f":"ann"})";
  CHECK(
      ruled(line, with(Format::Json, rules)) ==
      R"({"@timestamp":"2024-01-15T14:32:01Z","a":7,"b":1000,"c":true,"d":"5","e":"5ms","f":"49915e0d7d4b402e3017d010bc1c0e83","host.name":"h"})");
  rules.hash_key = "key";
  const std::string keyed = ruled(line, with(Format::Json, rules));
  CHECK(keyed.find("\"f\":\"9d77c3180ff81edfbc099a7e91843e41\"") != std::string::npos);
  CHECK(keyed != ruled(line, with(Format::Json, {{}, {}, {}, {}})));
}

}  // namespace pillion::logs::test
