// What an env_file may say, and how it is told what it may not.
#include "supervisor/host/env_file.h"

#include <catch2/catch.hpp>

using pillion::supervisor::host::parse_env_file;

namespace {

std::map<std::string, std::string> parsed(std::string_view text) {
  auto env = parse_env_file(text, "/etc/app.env");
  REQUIRE(env);
  return *env;
}

std::string value_of(std::string_view written) {
  return parsed("KEY=" + std::string(written))["KEY"];
}

std::string error_of(std::string_view text) {
  const auto env = parse_env_file(text, "/etc/app.env");
  return env ? "" : env.error().message();
}

}  // namespace

TEST_CASE("an env_file's values are taken as they are, or out of their quotes") {
  CHECK(value_of("plain") == "plain");
  CHECK(value_of("  spaces around  ") == "spaces around");
  CHECK(value_of("a#b 'c' \"d\"") == "a#b 'c' \"d\"");
  CHECK(value_of("").empty());
  CHECK(value_of("'single \\n \" #'") == "single \\n \" #");
  CHECK(value_of(R"("double \" \\ \$ \n' \x")") == "double \" \\ $ \n' \\x");
  CHECK(value_of("'  kept  ' # comment") == "  kept  ");
  CHECK(value_of("\"\"").empty());
  CHECK(value_of("a=b=c") == "a=b=c");
  CHECK(value_of("$HOME `date`") == "$HOME `date`");
}

TEST_CASE("an env_file may hold comments, blank lines, exports, carriage returns and repetitions") {
  const auto env = parsed("# first\n\n  # second\nA=1\r\nexport B='2'\n\tC = 3\nA=4");
  CHECK(env == std::map<std::string, std::string>{{"A", "4"}, {"B", "2"}, {"C", "3"}});
  CHECK(parsed("").empty());
}

TEST_CASE("what is wrong in an env_file is named with its line") {
  CHECK(error_of("A=1\nnonsense\n") == "/etc/app.env:2: \"nonsense\" is not KEY=VALUE");
  CHECK(error_of("\n\n1A=2") ==
        "/etc/app.env:3: \"1A\" is no name of a variable: letters, digits and _");
  CHECK(error_of("=x") == "/etc/app.env:1: \"\" is no name of a variable: letters, digits and _");
  CHECK(error_of("A=\"open\nB=1") == "/etc/app.env:1: the quote \" is not closed on this line");
  CHECK(error_of("A='x'y") ==
        "/etc/app.env:1: \"y\" follows the closing quote; quote the value as a whole");
  CHECK(error_of(std::string_view("A=x\0y", 5)) == "/etc/app.env:1: the value holds a zero byte");
}
