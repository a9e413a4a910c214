// Syntax errors: all of them, in one run, past the first one.
#include <catch2/catch.hpp>

#include "tests/unit/config/load_for_test.h"

using pillion::config::problems_of;

TEST_CASE("A missing equals sign does not hide the problems after it") {
  const char* text = R"([app]
command = ["/bin/app"]
nice "5"
umask = "999"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:6: error: expected '=', saw '"'
    3 | nice "5"
      |      ^
orders.toml:4:9: error: `umask` cannot be "999"
    4 | umask = "999"
      |         ^~~~~
      = note: it must be octal permission bits as text, such as "0400"
)");
}

TEST_CASE("A key that is set twice names the first place") {
  const char* text = R"([app]
command = ["/bin/app"]
nice = 5
nice = 6
)";
  REQUIRE(problems_of(text) == R"(orders.toml:4:1: error: `nice` is defined twice
    4 | nice = 6
      | ^~~~
      = note: first defined on line 3
)");
}

TEST_CASE("A table that is opened twice names the first place") {
  const char* text = R"([app]
command = ["/bin/app"]
[service]
name = "orders"
[service]
stop_grace = "10s"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:5:2: error: `service` is defined twice
    5 | [service]
      |  ^~~~~~~
      = note: first defined on line 3
)");
}

TEST_CASE("An unclosed string is one problem") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "root
nice = "low"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:13: error: this string is not closed
    3 | user = "root
      |             ^
orders.toml:4:8: error: `nice` cannot be "low"
    4 | nice = "low"
      |        ^~~~~
      = note: it must be a whole number from -20 to 19
)");
}

TEST_CASE("An unclosed list is reported where it begins") {
  const char* text = R"([app]
command = ["/bin/app"
user = "nobody-here"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:2:11: error: this bracket is never closed
    2 | command = ["/bin/app"
      |           ^
orders.toml:3:8: error: there is no user `nobody-here`
    3 | user = "nobody-here"
      |        ^~~~~~~~~~~~~
      = note: create it (useradd --system nobody-here) or give a uid
)");
}

TEST_CASE("An unclosed list at the end of the file is reported where it begins") {
  const char* text = R"([app]
user = "nobody-here"
command = [
  "/bin/app",
)";
  REQUIRE(problems_of(text) == R"(orders.toml:2:8: error: there is no user `nobody-here`
    2 | user = "nobody-here"
      |        ^~~~~~~~~~~~~
      = note: create it (useradd --system nobody-here) or give a uid
orders.toml:3:11: error: this bracket is never closed
    3 | command = [
      |           ^
)");
}

TEST_CASE("An unreadable table header does not move its keys into the table before") {
  const char* text = R"([app]
command = ["/bin/app"]
[network
mode = "host"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:9: error: expected ']', saw the end of the line
    3 | [network
      |         ^
)");
}

TEST_CASE("Bytes that are not UTF-8 are a problem of their line") {
  const char* text =
      "[app]\n"
      "command = [\"/bin/app\"]\n"
      "user = \"\xff\"\n"
      "nice = true\n";
  REQUIRE(problems_of(text) ==
          "orders.toml:3:8: error: this is not valid UTF-8\n"
          "    3 | user = \"\xff\"\n"
          "      |        ^\n"
          "orders.toml:4:8: error: `nice` cannot be the boolean true\n"
          "    4 | nice = true\n"
          "      |        ^~~~\n"
          "      = note: it must be a whole number from -20 to 19\n");
}

TEST_CASE("An empty file has no app") {
  const char* text = "";
  REQUIRE(problems_of(text) == R"(orders.toml: error: there is no [app] table
      = note: The app. Exactly one.
)");
}

TEST_CASE("A carriage return does not shift positions") {
  const char* text =
      "[app]\r\n"
      "command = [\"/bin/app\"]\r\n"
      "nice = 99\r\n";
  REQUIRE(problems_of(text) == R"(orders.toml:3:8: error: `nice` cannot be 99
    3 | nice = 99
      |        ^~
      = note: it must be a whole number from -20 to 19
)");
}
