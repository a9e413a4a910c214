// Fields of env files and JSON objects, and the wiping of text.
#include "ambassadors/secrets/field_text.h"

#include <catch2/catch.hpp>

using namespace pillion;
using namespace pillion::secrets;

namespace {

std::map<std::string, std::string> revealed(const Result<Fields>& fields) {
  REQUIRE(fields);
  std::map<std::string, std::string> plain;
  for (const auto& [name, text] : *fields) plain[name] = text.reveal();
  return plain;
}

using Plain = std::map<std::string, std::string>;

}  // namespace

TEST_CASE("an env file is read as fields") {
  CHECK(revealed(parse_fields("# orders\nDB=s3cret\n\n export  API_KEY = 'a b=c' \r\nEMPTY=\n"
                              "QUOTED=\"x\"\nODD='x\"\nDB=last wins")) ==
        Plain{{"DB", "last wins"},
              {"API_KEY", "a b=c"},
              {"EMPTY", ""},
              {"QUOTED", "x"},
              {"ODD", "'x\""}});
  CHECK(revealed(parse_fields("")).empty());
}

TEST_CASE("an env file that is none names the line, not its content") {
  CHECK(parse_fields("A=1\nhunter2\n").error().message() == "line 2 is not KEY=VALUE");
  CHECK(parse_fields("=x").error().message() == "line 1 is not KEY=VALUE");
}

TEST_CASE("a JSON object is read as fields, whatever the types of its values") {
  CHECK(
      revealed(parse_fields(R"( {"a":"x\ny","n":5432,"t":true,"o":{"k":[1,"z"]},"none":null})")) ==
      Plain{{"a", "x\ny"}, {"n", "5432"}, {"t", "true"}, {"o", R"({"k":[1,"z"]})"}});
}

TEST_CASE("broken JSON is an error that shows nothing of it") {
  CHECK(parse_fields(R"({"a":"hunter2")").error().message() == "it is not valid JSON");
  CHECK(parse_json_fields("[1]").error().message() == "it is not a JSON object");
}

TEST_CASE("wiping leaves no character behind, not even past the end") {
  std::string text(100, 's');
  text.resize(10);
  const char* characters = text.data();
  wipe(text);
  CHECK(text.empty());
  for (std::size_t i = 0; i < text.capacity(); ++i) CHECK(characters[i] == '\0');

  std::string source = "hunter2";
  const SecretText taken = SecretText::take(source);
  CHECK(source.empty());
  CHECK(taken.reveal() == "hunter2");
}
