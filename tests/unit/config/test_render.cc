// The effective configuration: what is rendered loads again to the same values.
#include <catch2/catch.hpp>

#include "config/document.h"
#include "config/render.h"
#include "tests/unit/config/load_for_test.h"
#include "tests/unit/config/order_processor.h"

using namespace pillion::config;

namespace {

void require_round_trip(std::string_view text, const std::string& filename) {
  auto first = parse_service(text, filename, test_options());
  INFO(format_text(first.diagnostics));
  REQUIRE(first.value);
  const std::string rendered = render_service(*first.value);
  const auto second = parse_service(rendered, filename, test_options());
  INFO(rendered << format_text(second.diagnostics));
  REQUIRE(second.value);
  CHECK(*first.value == *second.value);
  CHECK(render_service(*second.value) == rendered);
}

constexpr const char* kEverything = R"toml(
[service]
metrics = "127.0.0.1:9464"
signal_map = { SIGHUP = "ignore" }
[network]
mode = "join"
join = "blue"
publish = ["127.0.0.1:8000-8010:9000-9010/udp", "[::1]:80:8080"]
mtu = 1400
hosts = { "db.internal" = "10.0.0.1", six = "fd00::1" }
dns = { nameservers = ["9.9.9.9"], search = ["internal"], options = ["ndots:2"] }
[network.intercept]
inbound = false
exclude_outbound_ports = [25, "6000-6010"]
exclude_users = ["root", "12:13"]
exclude_groups = ["adm", "77"]
[volume.a]
path = "/data"
owner = "orders"
mode = "0750"
[init.first]
command = ["/bin/sh", "-c", "echo \"quoted\" ${REGION} $${literal} \\ tab\t nul-free \u0001 ü"]
[init.a-second]
command = ["/bin/true"]
max_restarts = 3
on_give_up = "exit"
[app]
command = ["/bin/app"]
user = "1000:1000"
group = "adm"
env = { "ODD KEY" = "a\nb", EMPTY = "" }
env_file = ["/etc/default/x"]
inherit_env = ["TZ", "LANG"]
capabilities = ["CAP_NET_BIND_SERVICE"]
mounts = ["a:ro"]
ports = [{ name = "a", port = 1, protocol = "grpc" }, { port = 2, protocol = "udp" }]
liveness_probe = { grpc = { port = "a", service = "x" }, termination_grace = "1m30s" }
startup_probe = { exec = { command = ["/bin/true"] } }
readiness_probe = { http = { port = 1, headers = { Host = "x" }, scheme = "https", address = "::1" } }
gate = { log_line = "^ready \\d+$" }
post_start = { exec = { command = ["/bin/true", ""] } }
pre_stop = { http = { port = 2, path = "/stop?now=1" } }
stop_signal = "SIGRTMIN+3"
signal_scope = "cgroup"
exit_actions = { 42 = "restart_all", 7 = "hold" }
success_exit_codes = [143]
watchdog = "10s"
limits = { cpu = "0.5", memory = "1GB", memory_high = "900MB", swap = "0B", pids = 5, cpuset = "0-3" }
[sidecar.notified]
command = ["/bin/n"]
gate = { notify = true }
[adapter.logs]
use = "logs"
[[adapter.logs.config.input]]
stdin = true
format = "regex"
pattern = '(?<a>"\w+")'
multiline = { preset = "java" }
[[adapter.logs.config.input]]
child = "app"
fields = { env = "prod" }
[[adapter.logs.config.output]]
stdout = {}
[[adapter.logs.config.output]]
file = { path = "/var/log/x.json" }
[adapter.metrics]
use = "metrics"
config = { input = [{ redis = { address = "127.0.0.1:6379" } }] }
[ambassador.secrets]
use = "secrets"
[[ambassador.secrets.config.file]]
path = "/run/x"
secret = "/etc/x"
[sidecar.proxy]
use = "proxy"
after = ["notified"]
[sidecar.proxy.config.upstream.users]
address = ["[fd00::1]:80", "a.b:81"]
hosts = ["users", "users.internal"]
health_check = {}
)toml";

}  // namespace

TEST_CASE("The order processor's effective configuration loads again to the same") {
  require_round_trip(kOrderProcessor, "order-processor.toml");
}

TEST_CASE("Every kind of key survives rendering") {
  require_round_trip(kEverything, "orders.toml");
}

TEST_CASE("A component's table loads again to the same") {
  auto result = parse_service(kOrderProcessor, "order-processor.toml", test_options());
  REQUIRE(result.value);
  complete_components(*result.value);
  const auto again = [&]<class T>(const char* child, const T*) {
    const std::string text = render_component(*result.value->find(child));
    const auto loaded = parse_component<T>(text, "child.toml", test_options());
    INFO(text << format_text(loaded.diagnostics));
    REQUIRE(loaded.value);
    CHECK(*loaded.value == std::get<T>(result.value->find(child)->config));
  };
  again("logs", static_cast<LogsConfig*>(nullptr));
  again("vault", static_cast<SecretsConfig*>(nullptr));
  again("twilio", static_cast<EgressConfig*>(nullptr));
  again("proxy", static_cast<ProxyConfig*>(nullptr));
  CHECK(render_component(result.value->app()).empty());
}

TEST_CASE("A component's own defaults are a valid table") {
  const auto proxy = parse_component<ProxyConfig>("", "proxy.toml", test_options());
  REQUIRE(proxy.value);
  CHECK(*proxy.value == ProxyConfig{});
  const auto logs = parse_component<LogsConfig>("", "logs.toml", test_options());
  CHECK(format_text(logs.diagnostics) ==
        "logs.toml: error: `input` is missing\n      = note: it must be a list of tables\n");
}

TEST_CASE("Text in a value is written so that it reads back") {
  Node root = Node::table();
  root.add("plain", Node::string("a"));
  root.add("odd key", Node::string("${VAR} $${x} \" \\ \n \t \x7f"));
  root.add("number", Node::of(0.1));
  root.add("whole", Node::of(3.0));
  CHECK(write_document(root) ==
        "plain = \"a\"\n"
        "\"odd key\" = \"$${VAR} $$${x} \\\" \\\\ \\n \\t \\u007F\"\n"
        "number = 0.1\nwhole = 3.0\n");
}
