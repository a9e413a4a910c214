// ${VAR}: where it is expanded and what is wrong about it.
#include <catch2/catch.hpp>

#include "tests/unit/config/load_for_test.h"

using pillion::config::problems_of;

TEST_CASE("A variable that is not set is never silently empty") {
  const char* text = R"([app]
command = ["/bin/app"]
env = { A = "${NOPE}", B = "${EMPTY}", C = "x${REGION}${NOPE}" }
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:3:14: error: the environment variable `NOPE` is not set
    3 | env = { A = "${NOPE}", B = "${EMPTY}", C = "x${REGION}${NOPE}" }
      |              ^~~~~~~
      = note: set it, or give a default: `${NOPE:-value}`
orders.toml:3:29: error: the environment variable `EMPTY` is empty
    3 | env = { A = "${NOPE}", B = "${EMPTY}", C = "x${REGION}${NOPE}" }
      |                             ^~~~~~~~
      = note: set it, or give a default: `${EMPTY:-value}`
orders.toml:3:55: error: the environment variable `NOPE` is not set
    3 | env = { A = "${NOPE}", B = "${EMPTY}", C = "x${REGION}${NOPE}" }
      |                                                       ^~~~~~~
      = note: set it, or give a default: `${NOPE:-value}`
)");
}

TEST_CASE("What looks like a variable but is none is refused") {
  const char* text = R"([app]
command = ["/bin/app"]
env = { A = "${}", B = "${1ST}", C = "${A-b}", D = "${REGION" }
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:14: error: this is not a variable
    3 | env = { A = "${}", B = "${1ST}", C = "${A-b}", D = "${REGION" }
      |              ^~~
      = note: write `${NAME}` or `${NAME:-default}`; `$${` is a literal `${`
orders.toml:3:25: error: this is not a variable
    3 | env = { A = "${}", B = "${1ST}", C = "${A-b}", D = "${REGION" }
      |                         ^~~~~~
      = note: write `${NAME}` or `${NAME:-default}`; `$${` is a literal `${`
orders.toml:3:39: error: this is not a variable
    3 | env = { A = "${}", B = "${1ST}", C = "${A-b}", D = "${REGION" }
      |                                       ^~~~~~
      = note: write `${NAME}` or `${NAME:-default}`; `$${` is a literal `${`
orders.toml:3:53: error: this is not a variable
    3 | env = { A = "${}", B = "${1ST}", C = "${A-b}", D = "${REGION" }
      |                                                     ^~
      = note: write `${NAME}` or `${NAME:-default}`; `$${` is a literal `${`
)");
}

TEST_CASE("A bad value after expansion shows what it expanded to") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "${REGION:-x}x:1"
start_timeout = "${PORT}"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:8: error: `user` cannot be "eu-1x:1"
    3 | user = "${REGION:-x}x:1"
      |        ^~~~~~~~~~~~~~~~~
      = note: it must be a user's name, a uid or "uid:gid"
orders.toml:4:17: error: `start_timeout` cannot be "8080"
    4 | start_timeout = "${PORT}"
      |                 ^~~~~~~~~
      = note: it must be a duration with its unit, such as "500ms", "10s", "5m" or "1h30m"
)");
}

TEST_CASE("Variables in multi-line strings are found on their line") {
  const char* text = R"([app]
command = ["/bin/app"]
env = { A = """
first
  ${NOPE}
""" }
)";
  REQUIRE(problems_of(text) == R"(orders.toml:5:3: error: the environment variable `NOPE` is not set
    5 |   ${NOPE}
      |   ^~~~~~~
      = note: set it, or give a default: `${NOPE:-value}`
)");
}
