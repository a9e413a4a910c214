// What is wrong between tables: names, order, volumes, ports, users.
#include <catch2/catch.hpp>

#include "tests/unit/config/load_for_test.h"

using pillion::config::problems_of;

TEST_CASE("Names of children are unique across roles") {
  const char* text = R"([app]
command = ["/bin/app"]
[adapter.logs]
command = ["/bin/a"]
[sidecar.logs]
command = ["/bin/b"]
[sidecar.app]
command = ["/bin/c"]
[sidecar.Bad_Name]
command = ["/bin/d"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:5:10: error: two children are named `logs`
    5 | [sidecar.logs]
      |          ^~~~
      = note: the other one is [adapter.logs]; names are unique across roles, and `app` is the app's
orders.toml:7:10: error: two children are named `app`
    7 | [sidecar.app]
      |          ^~~
      = note: the other one is [app]; names are unique across roles, and `app` is the app's
orders.toml:9:10: error: `Bad_Name` cannot name a table [sidecar.NAME]
    9 | [sidecar.Bad_Name]
      |          ^~~~~~~~
      = note: a name is lower-case letters, digits and `-`, at most 63, no `-` at the ends
)");
}

TEST_CASE("A child cannot wait for itself or for nobody") {
  const char* text = R"([app]
command = ["/bin/app"]
after = ["app", "lgos"]
[adapter.logs]
command = ["/bin/a"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:10: error: `app` waits for itself
    3 | after = ["app", "lgos"]
      |          ^~~~~
orders.toml:3:17: error: there is no child `lgos`
    3 | after = ["app", "lgos"]
      |                 ^~~~~~
      = note: did you mean `logs`?
)");
}

TEST_CASE("A cycle is shown from child to child, once") {
  const char* text = R"([app]
command = ["/bin/app"]
[sidecar.a]
command = ["/bin/a"]
after = ["b"]
[sidecar.b]
command = ["/bin/b"]
after = ["c"]
[sidecar.c]
command = ["/bin/c"]
after = ["a"]
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:5:10: error: a cycle of children that wait for each other
    5 | after = ["b"]
      |          ^~~
      = note: `a` waits for `b`, which waits for `c`, which waits for `a`
)");
}

TEST_CASE("A helper cannot wait for a later role") {
  const char* text = R"([app]
command = ["/bin/app"]
[adapter.logs]
command = ["/bin/a"]
after = ["app"]
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:5:10: error: a cycle of children that wait for each other
    5 | after = ["app"]
      |          ^~~~~
      = note: `logs` waits for `app`, which waits for `logs`
      = note: children start in the order init, adapters, ambassadors, sidecars, app
)");
}

TEST_CASE("Mounts name volumes") {
  const char* text = R"([volume.logs]
path = "/var/log/app"
[app]
command = ["/bin/app"]
mounts = ["log", "logs:ro", "logs", "/data"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:5:11: error: there is no volume `log`
    5 | mounts = ["log", "logs:ro", "logs", "/data"]
      |           ^~~~~
      = note: did you mean `logs`?
orders.toml:5:29: error: `logs` is mounted twice
    5 | mounts = ["log", "logs:ro", "logs", "/data"]
      |                             ^~~~~~
orders.toml:5:37: error: `mounts` cannot be "/data"
    5 | mounts = ["log", "logs:ro", "logs", "/data"]
      |                                     ^~~~~~~
      = note: it must be the name of a volume, with ":ro" or ":rw" if you like
)");
}

TEST_CASE("Mounts without any volume") {
  const char* text = R"([app]
command = ["/bin/app"]
mounts = ["logs"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:11: error: there is no volume `logs`
    3 | mounts = ["logs"]
      |           ^~~~~~
      = note: none is defined
)");
}

TEST_CASE("Two volumes need two places") {
  const char* text = R"([volume.a]
path = "/data"
[volume.b]
path = "/data"
[volume.c]
path = "/"
[app]
command = ["/bin/app"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:4:8: error: two volumes are mounted on /data
    4 | path = "/data"
      |        ^~~~~~~
      = note: the other one is `a`
orders.toml:6:8: error: a volume cannot be mounted on `/`
    6 | path = "/"
      |        ^~~
)");
}

TEST_CASE("A port has one owner in the namespace") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "orders"
ports = [{ name = "http", port = 15001 }, { name = "http", port = 9 }, { port = 9 }, { port = 9, protocol = "udp" }]
[sidecar.proxy]
use = "proxy"
[sidecar.proxy.config]
explicit = [{ listen = "127.0.0.1:9901" }, { listen = "127.0.0.1:7000" }, { listen = "0.0.0.0:7000" }]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:4:34: error: port 15001 is used twice
    4 | ports = [{ name = "http", port = 15001 }, { name = "http", port = 9 }, { port = 9 }, { port = 9, protocol = "udp" }]
      |                                  ^~~~~
      = note: `config.outbound.listen` of [sidecar.proxy] has it already
orders.toml:4:52: error: two ports are named `http`
    4 | ports = [{ name = "http", port = 15001 }, { name = "http", port = 9 }, { port = 9 }, { port = 9, protocol = "udp" }]
      |                                                    ^~~~~~
orders.toml:4:81: error: port 9 is used twice
    4 | ports = [{ name = "http", port = 15001 }, { name = "http", port = 9 }, { port = 9 }, { port = 9, protocol = "udp" }]
      |                                                                                 ^
      = note: [app] has it already
orders.toml:8:24: error: port 9901 is used twice
    8 | explicit = [{ listen = "127.0.0.1:9901" }, { listen = "127.0.0.1:7000" }, { listen = "0.0.0.0:7000" }]
      |                        ^~~~~~~~~~~~~~~~
      = note: `admin.listen` listens on 127.0.0.1:9901
orders.toml:8:86: error: port 7000 is used twice
    8 | explicit = [{ listen = "127.0.0.1:9901" }, { listen = "127.0.0.1:7000" }, { listen = "0.0.0.0:7000" }]
      |                                                                                      ^~~~~~~~~~~~~~
      = note: `explicit.1.listen` listens on 127.0.0.1:7000
)");
}

TEST_CASE("A host port is published once") {
  const char* text = R"([network]
publish = ["8000-8010:9000-9010", "127.0.0.1:8005:80", "53:53", "53:53/udp"]
[app]
command = ["/bin/app"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:2:35: error: port 8005 of the host is used twice
    2 | publish = ["8000-8010:9000-9010", "127.0.0.1:8005:80", "53:53", "53:53/udp"]
      |                                   ^~~~~~~~~~~~~~~~~~~
      = note: "8000-8010:9000-9010" has it already
)");
}

TEST_CASE("A published port that the app does not declare is a warning") {
  const char* text = R"([network]
publish = ["8080"]
[app]
command = ["/bin/app"]
ports = [{ port = 80 }]
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:2:12: warning: the app does not declare the published port
    2 | publish = ["8080"]
      |            ^~~~~~
      = note: add it to `ports` of [app], so that its protocol is known
)");
}

TEST_CASE("The app has another uid than the helpers") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "1337"
[sidecar.proxy]
use = "proxy"
[sidecar.ship]
command = ["/bin/ship"]
user = "ship"
[init.migrate]
command = ["/bin/migrate"]
user = "ship"
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:3:8: error: [app] runs as the same user as [sidecar.proxy]
    3 | user = "1337"
      |        ^~~~~~
      = note: uid 1337; helpers are told from the app by their uid, or its traffic would escape the proxy
orders.toml:11:8: error: [init.migrate] runs as the same user as [sidecar.ship]
   11 | user = "ship"
      |        ^~~~~~
      = note: uid 2001; helpers are told from the app by their uid, or its traffic would escape the proxy
)");
}

TEST_CASE("With interception the app and a helper cannot both run as the supervisor's user") {
  const char* text = R"([app]
command = ["/bin/app"]
[sidecar.proxy]
use = "proxy"
[sidecar.ship]
command = ["/bin/ship"]
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:1:1: error: [app] runs as the same user as [sidecar.ship]
    1 | [app]
      | ^~~~~
      = note: neither has a `user`; helpers are told from the app by their uid, or its traffic would escape the proxy
)");
}

TEST_CASE("An upstream that is referred to is defined") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "orders"
[sidecar.proxy]
use = "proxy"
[sidecar.proxy.config]
explicit = [{ listen = "127.0.0.1:7000", upstream = "user-servce" }, { listen = "127.0.0.1:7001", upstream = "x" }]
[sidecar.proxy.config.upstream.user-service]
address = ["users.internal:8443"]
[sidecar.proxy.config.upstream.other]
address = ["other.internal"]
hosts = ["user-service", "http://other"]
[sidecar.proxy.config.upstream.none]
address = []
[sidecar.proxy.config.admin]
listen = "0.0.0.0:9901"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:7:53: error: there is no upstream `user-servce`
    7 | explicit = [{ listen = "127.0.0.1:7000", upstream = "user-servce" }, { listen = "127.0.0.1:7001", upstream = "x" }]
      |                                                     ^~~~~~~~~~~~~
      = note: did you mean `user-service`?
orders.toml:7:110: error: there is no upstream `x`
    7 | explicit = [{ listen = "127.0.0.1:7000", upstream = "user-servce" }, { listen = "127.0.0.1:7001", upstream = "x" }]
      |                                                                                                              ^~~
      = note: defined are `user-service`, `other` and `none`
orders.toml:11:12: error: `address` cannot be "other.internal"
   11 | address = ["other.internal"]
      |            ^~~~~~~~~~~~~~~~
      = note: it must be a host and port, such as "users.internal:8443" or "[2001:db8::1]:443"
orders.toml:12:10: error: the host `user-service` leads to two upstreams
   12 | hosts = ["user-service", "http://other"]
      |          ^~~~~~~~~~~~~~
      = note: `user-service` and `other`
orders.toml:12:26: error: `hosts` cannot be "http://other"
   12 | hosts = ["user-service", "http://other"]
      |                          ^~~~~~~~~~~~~~
      = note: it must be a DNS name, a numeric address, `*.` before a DNS name, or `*` alone
orders.toml:14:11: error: `address` is empty
   14 | address = []
      |           ^~
      = note: it must be a list with at least one element
orders.toml:16:10: error: the admin listener must be on loopback
   16 | listen = "0.0.0.0:9901"
      |          ^~~~~~~~~~~~~~
      = note: it can change the proxy's behaviour; use 127.0.0.1 or [::1]
)");
}

TEST_CASE("Log inputs and outputs are one thing each") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "orders"
[adapter.logs]
use = "logs"
[[adapter.logs.config.input]]
file = "app.log"
format = "regex"
[[adapter.logs.config.input]]
child = "ap"
pattern = "x"
format = "json"
[[adapter.logs.config.output]]
[[adapter.logs.config.output]]
elasticsearch = { url = "elastic:9200", index = "x" }
stdout = {}
)";
  REQUIRE(problems_of(text) == R"(orders.toml:7:8: error: `file` holds the relative path "app.log"
    7 | file = "app.log"
      |        ^~~~~~~~~
      = note: it must be an absolute path, where `*` and `?` match within one component
orders.toml:8:10: error: format "regex" needs `pattern`
    8 | format = "regex"
      |          ^~~~~~~
orders.toml:10:9: error: there is no child `ap`
   10 | child = "ap"
      |         ^~~~
      = note: did you mean `app`?
orders.toml:11:11: error: `pattern` is only for the formats "pattern", "regex" and "csv"
   11 | pattern = "x"
      |           ^~~
orders.toml:13:1: error: [adapter.logs.config.output] needs one of `stdout`, `file`, `elasticsearch`, `loki`, `otlp`, `syslog`, `http`, `statsd`, `kafka` and `s3`
   13 | [[adapter.logs.config.output]]
      | ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
orders.toml:15:1: error: both `stdout` and `elasticsearch` are set in [adapter.logs.config.output]
   15 | elasticsearch = { url = "elastic:9200", index = "x" }
      | ^~~~~~~~~~~~~
      = note: set exactly one of `stdout`, `file`, `elasticsearch`, `loki`, `otlp`, `syslog`, `http`, `statsd`, `kafka` and `s3`
orders.toml:15:25: error: `url` cannot be "elastic:9200"
   15 | elasticsearch = { url = "elastic:9200", index = "x" }
      |                         ^~~~~~~~~~~~~~
      = note: it must be a URL starting with http:// or https://
)");
}

TEST_CASE("Secrets say where they come from") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "orders"
[ambassador.vault]
use = "secrets"
[[ambassador.vault.config.file]]
path = "/run/secrets/a"
secret = "secret/data/a"
[[ambassador.vault.config.file]]
path = "/run/secrets/a"
secret = "/etc/a"
mode = 400
[ambassador.keys]
use = "secrets"
[ambassador.keys.config.vault]
address = "https://vault:8200"
auth = {}
[[ambassador.keys.config.file]]
path = "/run/b"
secret = "secret/data/b"
[ambassador.none]
use = "secrets"
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:8:10: error: `secret` holds the relative path "secret/data/a"
    8 | secret = "secret/data/a"
      |          ^~~~~~~~~~~~~~~
      = note: with source "file" it must be the absolute path of the local file
      = note: a secret from Vault needs a [vault] table
orders.toml:10:8: error: two secrets are written to /run/secrets/a
   10 | path = "/run/secrets/a"
      |        ^~~~~~~~~~~~~~~~
orders.toml:12:8: error: `mode` cannot be the integer 400
   12 | mode = 400
      |        ^~~
      = note: it must be octal permission bits as text, such as "0400"
orders.toml:17:8: error: [ambassador.keys.config.vault.auth] needs one of `approle` and `token_file`
   17 | auth = {}
      |        ^~
orders.toml:18:1: error: a secret from Vault needs `field`
   18 | [[ambassador.keys.config.file]]
      | ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
      = note: name the field of `secret/data/b` that holds the value
orders.toml:21:1: error: [ambassador.none.config] needs `file`, `vault` or both
   21 | [ambassador.none]
      | ^~~~~~~~~~~~~~~~~
)");
}
