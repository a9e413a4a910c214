// What RFC 8259 says of the texts that JSONTestSuite (github.com/nst/JSONTestSuite, "Parsing JSON
// is a Minefield") tries, as values within the object that a log line has to be; texts of our own
// spelling, named after its cases.
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/unit/adapters/logs/encode_support.h"

namespace pillion::logs::test {
namespace {

using namespace std::string_literals;

// True when the line is taken as JSON; then its record must be JSON, too.
bool is_accepted(const std::string& line, const Kernel& kernel) {
  const auto records = encode(line + "\n", options_of(Format::Json), kernel);
  REQUIRE(records.size() == 1);
  const auto record = nlohmann::json::parse(records[0], nullptr, false);
  INFO(line);
  REQUIRE(record.is_object());
  return !record.contains("error.message");
}

std::string nested(const std::string& begin, const std::string& end, int depth) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += begin;
  for (int i = 0; i < depth; ++i) text += end;
  return text;
}

const std::vector<std::string> kValid{
    // y_array_*, y_structure_*
    "[[]   ]", "[\"\"]", "[]", "[\"a\"]", "[false]", "[null, 1, \"1\", {}]", "[null]", " [1]",
    "[1,null,null,null,2]", "[2] ", "[true]", "42", "-0.1", "null", "\"asd\"", "false", "\"\"",
    // y_number_*
    "[123e65]", "[0e+1]", "[0e1]", "[ 4]", "[-0.000000000000000000000000000000000000000000001]",
    "[20e1]", "[-0]", "[-123]", "[-1]", "[1E22]", "[1E-2]", "[1E+2]", "[123e45]", "[123.456e78]",
    "[1e-2]", "[1e+2]", "[123]", "[123.456789]",
    // y_object_*
    R"({"asd":"sdf", "dfg":"fgh"})", R"({"asd":"sdf"})", R"({"a":"b","a":"c"})",
    R"({"a":"b","a":"b"})", "{}", R"({"":0})", R"({"foo\u0000bar": 42})",
    R"({ "min": -1.0e+28, "max": 1.0e+28 })",
    R"({"x":[{"id": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}], "id": "xxxxxxxxxxxxxxxxxxxx"})",
    R"({"a":[]})", R"({"title":"\u041f\u043e\u043b\u0442\u043e\u0440\u0430" })",
    "{\t\"a\": \"b\"\t}",
    // y_string_*
    R"(["\u0060\u012a\u12AB"])", R"(["\uD801\udc37"])", R"(["\ud83d\ude39\ud83d\udc8d"])",
    R"(["\"\\\/\b\f\n\r\t"])", R"(["\\u0000"])", R"(["\""])", "[\"a/*b*/c/*d//e\"]", R"(["\\a"])",
    R"(["\\n"])", R"(["\u0012"])", R"(["\uFFFF"])", "[\"asd\"]", "[ \"asd\"]",
    R"(["\uDBFF\uDFFF"])", R"(["new\u00A0line"])", "[\"\xf4\x8f\xbf\xbf\"]", "[\"\xef\xbf\xbf\"]",
    R"(["\u0000"])", R"(["\u002c"])", "[\"\xcf\x80\"]", "[\"\xf0\x9b\xbf\xbf\"]", "[\"asd \"]",
    "\" \"", R"(["\uD834\uDd1e"])", R"(["\u0821"])", R"(["\u0123"])", "[\"\xe2\x80\xa8\"]",
    "[\"\xe2\x80\xa9\"]", R"(["\u0061\u30af\u30EA\u30b9"])", "[\"new\\u000Aline\"]", "[\"\x7f\"]",
    R"(["\uA66D"])", R"(["\u005C"])", "[\"\xe2\x8d\x82\xe3\x88\xb4\xe2\x8d\x82\"]", R"(["\u0022"])",
    "[\"a\x7f"
    "a\"]",
    R"(["\u200B"])", R"(["\u2064"])", R"(["\uFDD0"])"};

const std::vector<std::string> kInvalid{
    // n_array_*
    "[1 true]", "[a\xe5]", "[\"\": 1]", "[\"\"],", "[,1]", "[1,,2]", "[\"x\",,]", "[\"x\"]]",
    "[\"\",]", "[\"x\"", "[x", "[3[4]]", "[1:2]", "[,]", "[-]", "[   , \"\"]", "[1,]", "[1,,]",
    "[*]", "[\"\"", "[1,", "[{}", "[\v\"a\"]", "[\"a\",4,1,",
    // n_incomplete_*
    "[fals]", "[nul]", "[tru]", "[FALSE]", "[True]", "[nullx]",
    // n_number_*
    "[++1234]", "[+1]", "[+Inf]", "[-01]", "[-1.0.]", "[-2.]", "[-NaN]", "[.-1]", "[.2e-3]",
    "[0.1.2]", "[0.3e+]", "[0.3e]", "[0.e1]", "[0E+]", "[0E]", "[0e+]", "[0e]", "[1.0e+]",
    "[1.0e-]", "[1.0e]", "[1 000.0]", "[1eE2]", "[2.e+3]", "[2.e-3]", "[2.e3]", "[9.e+]", "[Inf]",
    "[NaN]", "[\xef\xbc\x91]", "[1+2]", "[0x1]", "[0x42]", "[Infinity]", "[0e+-1]", "[-123.123foo]",
    "[123\xe5]", "[1e1\xe5]", "[0\xe5]", "[-Infinity]", "[-foo]", "[- 1]", "[-012]", "[-.123]",
    "[-1x]", "[1ea]", "[1e\xe5]", "[1.]", "[.123]", "[1.2a-3]", "[1.8011670033376514H-308]",
    "[012]", "[2.e+]",
    // n_object_*
    R"(["x", truth])", R"({[: "x"})", R"({"x", null})", R"({"x"::"b"})", R"({"a":"a" 123})",
    "{key: 'value'}", "{\"\xb9\":\"0\",}", R"({"a" b})", R"({:"b"})", R"({"a" "b"})", R"({"a":)",
    R"({"a")", "{1:1}", "{9999E9999:1}", "{null:null,null:null}", R"({"id":0,,,,,})", "{'a':0}",
    R"({"id":0,})", R"({"a":"b"}/**/)", R"({"a":"b"}/**//)", R"({"a":"b"}//)", R"({"a":"b"}/)",
    R"({"a":"b",,"c":"d"})", R"({a: "b"})", R"({"a":"a)", R"({ "foo" : "bar", "a" })",
    R"({"a":"b"}#)",
    // n_string_*
    R"(["\uD800\"])", R"(["\uD800\u"])", R"(["\uD800\u1"])", R"(["\uD800\u1x"])", "[\xc3\xa9]",
    R"(["\x00"])", R"(["\\\"])", "[\"\\\t\"]", "[\"\\\xf0\x9f\x8c\x80\"]", R"(["\"])",
    R"(["\u00A"])", R"(["\a"])", R"(["\uqqqq"])", "[\"\\\xe5\"]", "[\\u0020\"asd\"]", "[\\n]", "\"",
    "['single quote']", "abc", "[\"\\",
    "[\"a\x01"
    "a\"]",
    "[\"\t\"]", "\"\\UA66D\"", "\"\"x", "[\"a\0a\"]"s,
    // n_structure_*
    "<.>", "[<null>]", "[1]x", "[1]]", "[\"asd]", "a\xc3\xa5", "[True]", "1]", "{\"x\": true,",
    "[][]", "]", "{\"asd\":\"asd\"", "\xc3\xa5", "[", "2@", "{}}",
    "{\"\":", "{\"a\":/*comment*/\"b\"}", "{\"a\": true} \"x\"", "['", "[,", "[{", "[\"a", "[\"a\"",
    "{", "{]", "{,", "{[", "{\"a", "{'a'", "[\"\\{[\"\\{[\"\\{[\"\\{", "*", "{\"a\":\"b\"}#{}",
    "[\\u000A\"\"]", "[1", "[ false, nul", "[ true, fals", "[ false, tru", "\xe2\x81\xa0",
    "\xef\xbb\xbf", "[\v]", "[\f]"};

// i_*: RFC 8259 leaves them to the reader. Taken or not, the record is JSON (see is_accepted), and
// we stay with what we do.
const std::vector<std::pair<std::string, bool>> kFree{
    {"[123.456e-789]", true},
    {"[0.4e00669999999999999999999999999999999999999999999999999999999999999999999999999]", true},
    {"[-1e+9999]", true},
    {"[1.5e+9999]", true},
    {"[-123123123123123123123123123123]", true},
    {"[100000000000000000000]", true},
    {R"(["\uDADA"])", true},
    {R"(["\uD888\u1234"])", true},
    {R"(["\uD800\n"])", true},
    {R"(["\uDd1ea"])", true},
    {R"(["\ud800abc"])", true},
    {R"(["\uDd1e\uD834"])", true},
    {"[\"\xff\"]", true},
    {"[\"\xed\xa0\x80\"]", true},
    {"[\"\xe0\xff\"]", true},
    {"[\"\xf4\xbf\xbf\xbf\"]", true},
    {"[\"\xc0\xaf\"]", true},
    {"[\"\xfc\x83\xbf\xbf\xbf\xbf\"]", true},
    {"[\"\x81\"]", true},
    {nested("[", "]", 40), true},
    {nested("[", "]", 500), false},
};

std::string as_member(const std::string& value) { return "{\"v\":" + value + "}"; }

}  // namespace

TEST_CASE("JSON that RFC 8259 allows is taken") {
  for (const Kernel* kernel : kernels()) {
    for (const std::string& text : kValid) {
      INFO(text);
      CHECK(is_accepted(as_member(text), *kernel));
    }
  }
}

TEST_CASE("What RFC 8259 does not allow goes out whole, as a line that is no JSON") {
  for (const Kernel* kernel : kernels()) {
    for (const std::string& text : kInvalid) {
      INFO(text);
      CHECK_FALSE(is_accepted(as_member(text), *kernel));
    }
    for (const std::string text :
         {"[]", "42", "null", "\"a\"", "{\"a\":1}{}", "{\"a\":1},", "{", "}"}) {
      INFO(text);
      CHECK_FALSE(is_accepted(text, *kernel));  // a record is one object
    }
    // Deeper than anybody means it; and it costs no stack.
    CHECK_FALSE(is_accepted(as_member(nested("[", "", 100'000)), *kernel));
    CHECK_FALSE(is_accepted(as_member(nested("{\"\":", "", 50'000)), *kernel));
  }
}

TEST_CASE("What RFC 8259 leaves open is decided, and never breaks the record") {
  for (const Kernel* kernel : kernels()) {
    for (const auto& [text, is_taken] : kFree) {
      INFO(text);
      CHECK(is_accepted(as_member(text), *kernel) == is_taken);
    }
  }
}

}  // namespace pillion::logs::test
