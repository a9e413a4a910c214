// Wrong values: each message says what is legal.
#include <catch2/catch.hpp>

#include "tests/unit/config/load_for_test.h"

using pillion::config::problems_of;

TEST_CASE("Durations, sizes and CPUs are strings with units") {
  const char* text = R"([service]
stop_grace = 30
drain_delay = "5"
[app]
command = ["/bin/app"]
start_timeout = "1 min"
[app.limits]
memory = "512M"
cpu = 2
)";
  REQUIRE(problems_of(text) == R"(orders.toml:2:14: error: `stop_grace` cannot be the integer 30
    2 | stop_grace = 30
      |              ^~
      = note: it must be a duration with its unit, such as "500ms", "10s", "5m" or "1h30m"
orders.toml:3:15: error: `drain_delay` cannot be "5"
    3 | drain_delay = "5"
      |               ^~~
      = note: it must be a duration with its unit, such as "500ms", "10s", "5m" or "1h30m"
orders.toml:6:17: error: `start_timeout` cannot be "1 min"
    6 | start_timeout = "1 min"
      |                 ^~~~~~~
      = note: it must be a duration with its unit, such as "500ms", "10s", "5m" or "1h30m"
orders.toml:8:10: error: `memory` cannot be "512M"
    8 | memory = "512M"
      |          ^~~~~~
      = note: it must be a size with its unit, such as "64KiB", "256MiB" or "1GB"
orders.toml:9:7: error: `cpu` cannot be the integer 2
    9 | cpu = 2
      |       ^
      = note: it must be a number of CPUs as text, such as "0.5", "250m" or "2"
)");
}

TEST_CASE("A choice names its values and the nearest one") {
  const char* text = R"([network]
mode = "bridge"
[app]
command = ["/bin/app"]
restart = "on_failure"
signal_scope = 3
)";
  REQUIRE(problems_of(text) == R"(orders.toml:2:8: error: `mode` cannot be "bridge"
    2 | mode = "bridge"
      |        ^~~~~~~~
      = note: it must be one of `bridged`, `sealed`, `host` and `join`
      = note: did you mean `bridged`?
orders.toml:5:11: error: `restart` cannot be "on_failure"
    5 | restart = "on_failure"
      |           ^~~~~~~~~~~~
      = note: it must be one of `always`, `on-failure` and `never`
      = note: did you mean `on-failure`?
orders.toml:6:16: error: `signal_scope` cannot be 3
    6 | signal_scope = 3
      |                ^
      = note: it must be one of `main`, `group` and `cgroup`
)");
}

TEST_CASE("Numbers have ranges") {
  const char* text = R"([app]
command = ["/bin/app"]
nice = -21
oom_score_adjust = 1001
stop_signal = "SIGFOO"
umask = 22
[app.backoff]
jitter = 1.5
base = "0s"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:8: error: `nice` cannot be -21
    3 | nice = -21
      |        ^~~
      = note: it must be a whole number from -20 to 19
orders.toml:4:20: error: `oom_score_adjust` cannot be 1001
    4 | oom_score_adjust = 1001
      |                    ^~~~
      = note: it must be a whole number from -1000 to 1000
orders.toml:5:15: error: `stop_signal` cannot be "SIGFOO"
    5 | stop_signal = "SIGFOO"
      |               ^~~~~~~~
      = note: it must be a signal's name, such as "SIGTERM" or "SIGRTMIN+3"
orders.toml:6:9: error: `umask` cannot be the integer 22
    6 | umask = 22
      |         ^~
      = note: it must be octal permission bits as text, such as "0400"
orders.toml:8:10: error: `jitter` cannot be 1.5
    8 | jitter = 1.5
      |          ^~~
      = note: it must be a number from 0 to 1
orders.toml:9:8: error: `base` cannot be "0s"
    9 | base = "0s"
      |        ^~~~
      = note: it must be at least 1ms
)");
}

TEST_CASE("Paths are absolute") {
  const char* text = R"([app]
command = ["/bin/app"]
working_directory = "data"
env_file = ["/etc/default/orders", "orders.env"]
[volume.logs]
path = "var/log"
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:3:21: error: `working_directory` holds the relative path "data"
    3 | working_directory = "data"
      |                     ^~~~~~
      = note: it must be an absolute path, starting with `/`
orders.toml:4:36: error: `env_file` holds the relative path "orders.env"
    4 | env_file = ["/etc/default/orders", "orders.env"]
      |                                    ^~~~~~~~~~~~
      = note: it must be an absolute path, starting with `/`
orders.toml:6:8: error: `path` holds the relative path "var/log"
    6 | path = "var/log"
      |        ^~~~~~~~~
      = note: it must be an absolute path, starting with `/`
)");
}

TEST_CASE("A command begins with an absolute path") {
  const char* text = R"([app]
command = ["app", "--verbose"]
[init.migrate]
command = []
[init.seed]
command = "/bin/seed"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:2:12: error: `command` holds the relative path "app"
    2 | command = ["app", "--verbose"]
      |            ^~~~~
      = note: it must be a list whose first element is the absolute path of the program
orders.toml:4:11: error: `command` is empty
    4 | command = []
      |           ^~
      = note: it must be a list whose first element is the absolute path of the program
orders.toml:6:11: error: `command` cannot be "/bin/seed"
    6 | command = "/bin/seed"
      |           ^~~~~~~~~~~
      = note: it must be a list whose first element is the absolute path of the program
)");
}

TEST_CASE("Users and groups exist") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "nobody-here"
group = "nogroup-here"
supplementary_groups = ["adm", "0x"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:8: error: there is no user `nobody-here`
    3 | user = "nobody-here"
      |        ^~~~~~~~~~~~~
      = note: create it (useradd --system nobody-here) or give a uid
orders.toml:4:9: error: there is no group `nogroup-here`
    4 | group = "nogroup-here"
      |         ^~~~~~~~~~~~~~
      = note: create it (groupadd --system nogroup-here) or give a gid
orders.toml:5:32: error: `supplementary_groups` cannot be "0x"
    5 | supplementary_groups = ["adm", "0x"]
      |                                ^~~~
      = note: it must be a group's name or a gid
)");
}

TEST_CASE("Networks, addresses and ports are what they say") {
  const char* text = R"([app]
command = ["/bin/app"]
ports = [{ port = 0 }, { port = 70000 }, { port = "http" }]
[network]
pool = "10.213.0.1/16"
publish = ["8080:0", "localhost:80:80", 80]
hosts = { db = "db.internal" }
[network.dns]
nameservers = ["resolver"]
[network.intercept]
exclude_outbound_ports = ["9-1"]
exclude_outbound_cidrs = ["169.254.169.254/33"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:19: error: `port` cannot be 0
    3 | ports = [{ port = 0 }, { port = 70000 }, { port = "http" }]
      |                   ^
      = note: it must be a whole number from 1 to 65535
orders.toml:3:33: error: `port` cannot be 70000
    3 | ports = [{ port = 0 }, { port = 70000 }, { port = "http" }]
      |                                 ^~~~~
      = note: it must be a whole number from 1 to 65535
orders.toml:3:51: error: `port` cannot be "http"
    3 | ports = [{ port = 0 }, { port = 70000 }, { port = "http" }]
      |                                                   ^~~~~~
      = note: it must be a whole number from 1 to 65535
orders.toml:5:8: error: `pool` cannot be "10.213.0.1/16"
    5 | pool = "10.213.0.1/16"
      |        ^~~~~~~~~~~~~~~
      = note: it must be a network such as "10.0.0.0/8" or "fd00::/8", without bits beyond the prefix
orders.toml:6:12: error: `publish` cannot be "8080:0"
    6 | publish = ["8080:0", "localhost:80:80", 80]
      |            ^~~~~~~~
      = note: it must be [ADDRESS:]HOST[:APP][/udp], such as "8080", "127.0.0.1:8080:80", "8000-8010:9000-9010", "[::1]:8080:80" or "53:53/udp"
orders.toml:6:22: error: `publish` cannot be "localhost:80:80"
    6 | publish = ["8080:0", "localhost:80:80", 80]
      |                      ^~~~~~~~~~~~~~~~~
      = note: it must be [ADDRESS:]HOST[:APP][/udp], such as "8080", "127.0.0.1:8080:80", "8000-8010:9000-9010", "[::1]:8080:80" or "53:53/udp"
orders.toml:6:41: error: `publish` cannot be the integer 80
    6 | publish = ["8080:0", "localhost:80:80", 80]
      |                                         ^~
      = note: it must be [ADDRESS:]HOST[:APP][/udp], such as "8080", "127.0.0.1:8080:80", "8000-8010:9000-9010", "[::1]:8080:80" or "53:53/udp"
orders.toml:7:16: error: `db` cannot be "db.internal"
    7 | hosts = { db = "db.internal" }
      |                ^~~~~~~~~~~~~
      = note: it must be a numeric IPv4 or IPv6 address, such as "127.0.0.1" or "::1"
orders.toml:9:16: error: `nameservers` cannot be "resolver"
    9 | nameservers = ["resolver"]
      |                ^~~~~~~~~~
      = note: it must be a numeric IPv4 or IPv6 address, such as "127.0.0.1" or "::1"
orders.toml:11:27: error: `exclude_outbound_ports` cannot be "9-1"
   11 | exclude_outbound_ports = ["9-1"]
      |                           ^~~~~
      = note: it must be a port from 1 to 65535 or a range such as "8000-8010"
orders.toml:12:27: error: `exclude_outbound_cidrs` cannot be "169.254.169.254/33"
   12 | exclude_outbound_cidrs = ["169.254.169.254/33"]
      |                           ^~~~~~~~~~~~~~~~~~~~
      = note: it must be a network such as "10.0.0.0/8" or "fd00::/8", without bits beyond the prefix
)");
}

TEST_CASE("Capabilities are spelled as Linux spells them") {
  const char* text = R"([app]
command = ["/bin/app"]
capabilities = ["CAP_NET_BIND_SERVICE", "CAP_NET_BIND", "net_admin"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:41: error: `capabilities` cannot be "CAP_NET_BIND"
    3 | capabilities = ["CAP_NET_BIND_SERVICE", "CAP_NET_BIND", "net_admin"]
      |                                         ^~~~~~~~~~~~~~
      = note: did you mean `CAP_NET_ADMIN`?
orders.toml:3:57: error: `capabilities` cannot be "net_admin"
    3 | capabilities = ["CAP_NET_BIND_SERVICE", "CAP_NET_BIND", "net_admin"]
      |                                                         ^~~~~~~~~~~
      = note: it must be a Linux capability such as "CAP_NET_BIND_SERVICE"
)");
}

TEST_CASE("A table is not a value and a value is no table") {
  const char* text = R"([app]
command = ["/bin/app"]
limits = "1GiB"
user = { name = "root" }
env = ["A=b"]
ports = { port = 80 }
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:3:10: error: [app.limits] must be a table, not a string
    3 | limits = "1GiB"
      |          ^~~~~~
orders.toml:4:8: error: `user` cannot be a table
    4 | user = { name = "root" }
      |        ^~~~~~~~~~~~~~~~~
      = note: it must be a user's name, a uid or "uid:gid"
orders.toml:5:7: error: `env` cannot be an array
    5 | env = ["A=b"]
      |       ^~~~~~~
      = note: it must be a table of strings by name
orders.toml:6:9: error: `ports` cannot be a table
    6 | ports = { port = 80 }
      |         ^~~~~~~~~~~~~
      = note: it must be a list of tables
)");
}

TEST_CASE("Exit codes are keys from 0 to 255") {
  const char* text = R"([app]
command = ["/bin/app"]
exit_actions = { 42 = "restart_all", 256 = "stop", ok = "stop", 7 = "restrat" }
success_exit_codes = [143, 300]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:38: error: `256` is no exit code in `exit_actions`
    3 | exit_actions = { 42 = "restart_all", 256 = "stop", ok = "stop", 7 = "restrat" }
      |                                      ^~~
      = note: exit codes are whole numbers from 0 to 255
orders.toml:3:52: error: `ok` is no exit code in `exit_actions`
    3 | exit_actions = { 42 = "restart_all", 256 = "stop", ok = "stop", 7 = "restrat" }
      |                                                    ^~
      = note: exit codes are whole numbers from 0 to 255
orders.toml:3:69: error: `7` cannot be "restrat"
    3 | exit_actions = { 42 = "restart_all", 256 = "stop", ok = "stop", 7 = "restrat" }
      |                                                                     ^~~~~~~~~
      = note: it must be one of `restart`, `restart_all`, `stop` and `hold`
      = note: did you mean `restart`?
orders.toml:4:28: error: `success_exit_codes` cannot be 300
    4 | success_exit_codes = [143, 300]
      |                            ^~~
      = note: it must be a whole number from 0 to 255
)");
}

TEST_CASE("Columns count characters, not bytes") {
  const char* text = R"([app]
command = ["/bin/app"]
env = { "héllo" = "wörld ${NOPE}" }
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:3:26: error: the environment variable `NOPE` is not set
    3 | env = { "héllo" = "wörld ${NOPE}" }
      |                          ^~~~~~~
      = note: set it, or give a default: `${NOPE:-value}`
)");
}

TEST_CASE("A pattern for hosts is one star in front of a name") {
  const char* text = R"([service]
name = "orders"
[app]
command = ["/bin/app"]
[sidecar.proxy]
use = "proxy"
[sidecar.proxy.config.upstream.fine]
address = ["10.0.0.1:80"]
hosts = ["*.example.com", "a.example.com", "*", "10.0.0.1"]
[sidecar.proxy.config.upstream.bad]
address = ["10.0.0.2:80"]
hosts = ["a.*.com", "*.A.Example.com", "A.Example.com"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:12:10: error: `hosts` cannot be "a.*.com"
   12 | hosts = ["a.*.com", "*.A.Example.com", "A.Example.com"]
      |          ^~~~~~~~~
      = note: it must be a DNS name, a numeric address, `*.` before a DNS name, or `*` alone
      = note: a `*` stands alone for what is in front: "*.example.com" takes every name below example.com
orders.toml:12:21: error: the host `A.Example.com` leads to two upstreams
   12 | hosts = ["a.*.com", "*.A.Example.com", "A.Example.com"]
      |                     ^~~~~~~~~~~~~~~~~
      = note: `fine` and `bad`
)");
}

TEST_CASE("A published listener has a name of its own") {
  REQUIRE(problems_of(R"([app]
command = ["/bin/app"]
user = "orders"
[sidecar.proxy]
use = "proxy"
[sidecar.proxy.config]
inbound.published = [
  { listener = "dns", port = 53 },
  { listener = "web", port = 80 },
  { listener = "web", port = 81 },
  { listener = "a:b", port = 82 },
]
)") == R"(orders.toml:8:16: error: `listener` cannot be "dns"
    8 |   { listener = "dns", port = 53 },
      |                ^~~~~
      = note: the proxy has a socket of that name itself; choose another, such as "publish-8080"
orders.toml:10:16: error: `listener` cannot be "web"
   10 |   { listener = "web", port = 81 },
      |                ^~~~~
      = note: another listener has that name
orders.toml:11:16: error: `listener` cannot be "a:b"
   11 |   { listener = "a:b", port = 82 },
      |                ^~~~~
      = note: it must be a name without `:`, such as "publish-8080"
)");
}

TEST_CASE("A text where a list belongs is shown as one") {
  REQUIRE(problems_of(R"([app]
command = ["/bin/app"]
user = "orders"
[sidecar.proxy]
use = "proxy"
[sidecar.proxy.config.upstream.users]
address = "10.0.0.1:80"
)") == R"(orders.toml:7:11: error: `address` cannot be "10.0.0.1:80"
    7 | address = "10.0.0.1:80"
      |           ^~~~~~~~~~~~~
      = note: it must be a list, such as ["10.0.0.1:80"]
)");
}
