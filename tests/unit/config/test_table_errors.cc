// Wrong tables: unknown keys, missing ones, choices, and keys that contradict each other.
#include <catch2/catch.hpp>

#include "tests/unit/config/load_for_test.h"

using pillion::config::problems_of;

TEST_CASE("Unknown keys are errors with the nearest known one") {
  const char* text = R"([app]
command = ["/bin/app"]
comand = ["/bin/x"]
workingdir = "/"
xyzzy = 1
[netwrok]
[service]
grace = "1s"
stop_grase = "1s"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:1: error: unknown key `comand` in [app]
    3 | comand = ["/bin/x"]
      | ^~~~~~
      = note: did you mean `command`?
orders.toml:4:1: error: unknown key `workingdir` in [app]
    4 | workingdir = "/"
      | ^~~~~~~~~~
      = note: did you mean `working_directory`?
orders.toml:5:1: error: unknown key `xyzzy` in [app]
    5 | xyzzy = 1
      | ^~~~~
orders.toml:6:2: error: unknown table [netwrok]
    6 | [netwrok]
      |  ^~~~~~~
      = note: did you mean `network`?
orders.toml:8:1: error: unknown key `grace` in [service]
    8 | grace = "1s"
      | ^~~~~
      = note: did you mean `stop_grace`?
orders.toml:9:1: error: unknown key `stop_grase` in [service]
    9 | stop_grase = "1s"
      | ^~~~~~~~~~
      = note: did you mean `stop_grace`?
)");
}

TEST_CASE("A child needs use or command, and not both") {
  const char* text = R"([app]
user = "root"
[sidecar.proxy]
use = "proxy"
command = ["/bin/envoy"]
[adapter.logs]
limits = {}
)";
  REQUIRE(problems_of(text) == R"(orders.toml:1:1: error: [app] needs one of `use` and `command`
    1 | [app]
      | ^~~~~
orders.toml:5:1: error: both `use` and `command` are set in [sidecar.proxy]
    5 | command = ["/bin/envoy"]
      | ^~~~~~~
      = note: set exactly one of `use` and `command`
orders.toml:6:1: error: [adapter.logs] needs one of `use` and `command`
    6 | [adapter.logs]
      | ^~~~~~~~~~~~~~
)");
}

TEST_CASE("An unknown component is refused") {
  const char* text = R"([app]
command = ["/bin/app"]
[sidecar.proxy]
use = "proxi"
)";
  REQUIRE(problems_of(text) == R"(orders.toml:4:7: error: `use` cannot be "proxi"
    4 | use = "proxi"
      |       ^~~~~~~
      = note: it must be one of `proxy`, `logs`, `secrets`, `egress` and `metrics`
      = note: did you mean `proxy`?
)");
}

TEST_CASE("A component says what its table needs") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "root"
[adapter.logs]
use = "logs"
[ambassador.api]
use = "egress"
[ambassador.api.config]
region = []
)";
  REQUIRE(problems_of(text) == R"(orders.toml:4:1: error: [adapter.logs.config] needs `input`
    4 | [adapter.logs]
      | ^~~~~~~~~~~~~~
      = note: it must be a list of tables
orders.toml:7:7: warning: the component `egress` is checked but cannot run yet
    7 | use = "egress"
      |       ^~~~~~~~
orders.toml:8:1: error: [ambassador.api.config] needs `listen`
    8 | [ambassador.api.config]
      | ^~~~~~~~~~~~~~~~~~~~~~~
      = note: it must be a numeric address and port, such as "127.0.0.1:7000" or "[::]:15021"
orders.toml:9:10: error: `region` is empty
    9 | region = []
      |          ^~
      = note: it must be a list with at least one element
)");
}

TEST_CASE("A table for a component is only for a component") {
  const char* text = R"([app]
command = ["/bin/app"]
[sidecar.envoy]
command = ["/usr/bin/envoy"]
user = "ship"
[sidecar.envoy.config]
workers = 2
)";
  REQUIRE(problems_of(text) == R"(orders.toml:6:16: error: `config` is only for a component of ours
    6 | [sidecar.envoy.config]
      |                ^~~~~~
      = note: say which with `use`, or pass the program its own file in `command`
)");
}

TEST_CASE("A component in an odd role is told so") {
  const char* text = R"([app]
command = ["/bin/app"]
user = "root"
[adapter.proxy]
use = "proxy"
[init.logs]
use = "logs"
config = { input = [{ stdin = true }] }
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:5:7: warning: `proxy` is usually declared as [sidecar.NAME]
    5 | use = "proxy"
      |       ^~~~~~~
      = note: the role decides when it starts and stops
orders.toml:7:7: error: [init.logs] cannot use the component `logs`
    7 | use = "logs"
      |       ^~~~~~
      = note: it is a helper: declare it as [adapter.NAME]
)");
}

TEST_CASE("A probe asks in exactly one way") {
  const char* text = R"([app]
command = ["/bin/app"]
startup_probe = { period = "1s" }
liveness_probe = { tcp = { port = 1 }, exec = { command = ["/bin/true"] } }
)";
  REQUIRE(
      problems_of(text) ==
      R"(orders.toml:3:17: error: [app.startup_probe] needs one of `http`, `tcp`, `exec` and `grpc`
    3 | startup_probe = { period = "1s" }
      |                 ^~~~~~~~~~~~~~~~~
orders.toml:4:40: error: both `tcp` and `exec` are set in [app.liveness_probe]
    4 | liveness_probe = { tcp = { port = 1 }, exec = { command = ["/bin/true"] } }
      |                                        ^~~~
      = note: set exactly one of `http`, `tcp`, `exec` and `grpc`
)");
}

TEST_CASE("A probe without a port needs the child to have exactly one") {
  const char* text = R"([app]
command = ["/bin/app"]
readiness_probe = { http = {} }
liveness_probe = { tcp = { port = "admin" } }
[sidecar.x]
command = ["/bin/x"]
ports = [{ name = "a", port = 1 }, { name = "b", port = 2 }]
startup_probe = { http = {} }
liveness_probe = { tcp = { port = "c" } }
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:21: error: `readiness_probe` has no `port`
    3 | readiness_probe = { http = {} }
      |                     ^~~~
      = note: give one, or declare the child's `ports`
orders.toml:4:35: error: the child has no port named `admin`
    4 | liveness_probe = { tcp = { port = "admin" } }
      |                                   ^~~~~~~
      = note: its `ports` name none
orders.toml:8:19: error: `startup_probe` has no `port`
    8 | startup_probe = { http = {} }
      |                   ^~~~
      = note: the child has several `ports`; say which by number or name
orders.toml:9:35: error: the child has no port named `c`
    9 | liveness_probe = { tcp = { port = "c" } }
      |                                   ^~~
      = note: its `ports` name `a` and `b`
)");
}

TEST_CASE("Only a readiness probe counts successes") {
  const char* text = R"([app]
command = ["/bin/app"]
ports = [{ port = 80 }]
startup_probe = { tcp = {}, success_threshold = 2 }
liveness_probe = { tcp = {}, success_threshold = 3, timeout = "20s" }
readiness_probe = { tcp = {}, success_threshold = 2 }
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:4:49: error: `success_threshold` of a startup_probe must be 1
    4 | startup_probe = { tcp = {}, success_threshold = 2 }
      |                                                 ^
      = note: only a readiness probe can ask for several successes in a row
orders.toml:5:50: error: `success_threshold` of a liveness_probe must be 1
    5 | liveness_probe = { tcp = {}, success_threshold = 3, timeout = "20s" }
      |                                                  ^
      = note: only a readiness probe can ask for several successes in a row
orders.toml:5:63: warning: the probe's `timeout` is longer than its `period`
    5 | liveness_probe = { tcp = {}, success_threshold = 3, timeout = "20s" }
      |                                                               ^~~~~
      = note: a probe never overlaps itself, so it will run less often than `period` says
)");
}

TEST_CASE("Gates and hooks are one thing each") {
  const char* text = R"([app]
command = ["/bin/app"]
gate = { notify = true, file = "/run/ready" }
pre_stop = { sleep = "1s", exec = { command = ["/bin/x"] } }
post_start = {}
[sidecar.proxy]
use = "proxy"
gate = { notify = true }
)";
  REQUIRE(problems_of(text) ==
          R"(orders.toml:3:25: error: both `notify` and `file` are set in [app.gate]
    3 | gate = { notify = true, file = "/run/ready" }
      |                         ^~~~
      = note: set at most one of `notify`, `notification_fd`, `log_line` and `file`
orders.toml:4:14: error: both `exec` and `sleep` are set in [app.pre_stop]
    4 | pre_stop = { sleep = "1s", exec = { command = ["/bin/x"] } }
      |              ^~~~~
      = note: set exactly one of `exec`, `http` and `sleep`
orders.toml:5:14: error: [app.post_start] needs one of `exec`, `http` and `sleep`
    5 | post_start = {}
      |              ^~
orders.toml:8:1: error: `gate` cannot be set together with `use`
    8 | gate = { notify = true }
      | ^~~~
      = note: a component of ours says by itself when it is ready
)");
}

TEST_CASE("The stop has room for the app") {
  const char* text = R"([service]
stop_grace = "10s"
drain_delay = "6s"
sidecar_reserve = "5s"
[app]
command = ["/bin/app"]
)";
  REQUIRE(
      problems_of(text) ==
      R"(orders.toml:4:19: error: `drain_delay` and `sidecar_reserve` leave the app no time to stop
    4 | sidecar_reserve = "5s"
      |                   ^~~~
      = note: 6s + 5s is more than `stop_grace`, 10s
)");
}

TEST_CASE("Requests stay below limits") {
  const char* text = R"([app]
command = ["/bin/app"]
requests = { cpu = "2", memory = "2GiB" }
limits = { cpu = "1", memory = "1GiB", memory_high = "3GiB" }
backoff = { base = "10s", max = "1s" }
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:20: error: the request is above the limit
    3 | requests = { cpu = "2", memory = "2GiB" }
      |                    ^~~
      = note: `limits.cpu` is 1
orders.toml:3:34: error: the request is above the limit
    3 | requests = { cpu = "2", memory = "2GiB" }
      |                                  ^~~~~~
      = note: `limits.memory` is 1GiB
orders.toml:4:54: error: `memory_high` is above `memory`
    4 | limits = { cpu = "1", memory = "1GiB", memory_high = "3GiB" }
      |                                                      ^~~~~~
orders.toml:5:20: error: `base` is longer than `max`
    5 | backoff = { base = "10s", max = "1s" }
      |                    ^~~~~
      = note: the waits grow from `base` (10s) to `max` (1s)
)");
}

TEST_CASE("Joining needs a namespace, and nothing else takes one") {
  const char* text = R"([network]
mode = "join"
[app]
command = ["/bin/app"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:1:1: error: mode `join` needs `join`
    1 | [network]
      | ^~~~~~~~~
      = note: name the namespace: a name below /run/netns, a path or a pid
)");
}

TEST_CASE("Only joining takes a namespace") {
  const char* text = R"([network]
mode = "host"
join = "blue"
publish = ["80"]
[app]
command = ["/bin/app"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:3:1: error: `join` is only for mode = "join"
    3 | join = "blue"
      | ^~~~
orders.toml:4:1: error: there is nothing to publish in mode "host"
    4 | publish = ["80"]
      | ^~~~~~~
      = note: the app's ports are the host's
)");
}

TEST_CASE("Interception needs a proxy") {
  const char* text = R"([network.intercept]
inbound = true
outbound = true
[app]
command = ["/bin/app"]
)";
  REQUIRE(problems_of(text) == R"(orders.toml:2:11: error: `intercept.inbound` needs a proxy
    2 | inbound = true
      |           ^~~~
      = note: add a sidecar: [sidecar.proxy] with use = "proxy"
orders.toml:3:12: error: `intercept.outbound` needs a proxy
    3 | outbound = true
      |            ^~~~
      = note: add a sidecar: [sidecar.proxy] with use = "proxy"
)");
}
