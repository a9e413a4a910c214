// What a good file becomes: values, defaults, order, and what is filled in.
#include <catch2/catch.hpp>

#include "config/render.h"
#include "tests/unit/config/load_for_test.h"
#include "tests/unit/config/order_processor.h"

using namespace pillion::config;
using std::chrono::milliseconds;

namespace {

Service loaded(std::string_view text) {
  const auto result = load_text(text);
  INFO(format_text(result.diagnostics));
  REQUIRE(result.value);
  return *result.value;
}

std::vector<std::string> names_of(const std::vector<Child>& children) {
  std::vector<std::string> names;
  for (const Child& child : children) names.push_back(child.name);
  return names;
}

constexpr const char* kMinimal = "[app]\ncommand = [\"/bin/app\"]\n";

}  // namespace

TEST_CASE("The order processor's file loads with its values") {
  const auto result =
      parse_service(kOrderProcessor, "/etc/pillion/order-processor.toml", test_options());
  INFO(format_text(result.diagnostics));
  REQUIRE(result.value);
  const Service& service = *result.value;
  CHECK(service.name() == "order-processor");
  CHECK(service.settings.drain_delay == milliseconds(5'000));
  CHECK(service.network.publish == std::vector{Publish{{}, {8080, 8080}, {8080, 8080}}});
  CHECK(service.network.intercept.exclude_outbound_cidrs.front().to_string() ==
        "169.254.169.254/32");
  CHECK(service.find_volume("secrets")->tmpfs == mebibytes(1));

  const Child& app = service.app();
  CHECK(app.user == UserRef{"orders", 2000u, 2000u});
  CHECK(app.limits.cpu == MilliCpu{2000});
  CHECK(app.limits.memory == mebibytes(512));
  CHECK(app.startup_probe->failure_threshold == 30);
  CHECK(app.readiness_probe->http->port->number == 8080);
  CHECK(app.pre_stop->sleep == milliseconds(2'000));
  CHECK(app.env.at("LOG_FILE_PATH") == "/var/log/app/orders.log");

  CHECK(names_of(service.children) ==
        std::vector<std::string>{"app", "logs", "vault", "twilio", "proxy"});
  const auto& logs = std::get<LogsConfig>(service.find("logs")->config);
  CHECK(logs.inputs.front().file == "/var/log/app/orders.log");
  CHECK(logs.outputs.front().elasticsearch->index == "orders");
  const auto& secrets = std::get<SecretsConfig>(service.find("vault")->config);
  CHECK(secrets.vault->auth.approle->mount == "approle");
  CHECK(secrets.files.front().mode == FileMode{0400});
  const auto& egress = std::get<EgressConfig>(service.find("twilio")->config);
  CHECK(egress.rate_limit.requests_per_second == 100);
  const auto& proxy = std::get<ProxyConfig>(service.find("proxy")->config);
  CHECK(proxy.find_upstream("user-service")->hosts == std::vector<std::string>{"user-service"});
  CHECK(proxy.find_upstream("user-service")->retry.attempts == 2);
  CHECK(proxy.identity->key_file == "/run/secrets/tls.key");
}

TEST_CASE("A minimal file has Kubernetes' defaults") {
  const Service service = loaded(kMinimal);
  CHECK(service.name() == "orders");
  CHECK(service.settings.stop_grace == milliseconds(30'000));
  CHECK(service.settings.sidecar_reserve == milliseconds(5'000));
  CHECK(service.network.mode == NetworkMode::Bridged);
  CHECK_FALSE(service.network.intercept.outbound);
  const Child& app = service.app();
  CHECK(app.restart == RestartPolicy::Always);
  CHECK(app.backoff.base == milliseconds(1'000));
  CHECK(app.start_timeout == milliseconds(60'000));
  CHECK(app.capture);
  CHECK(app.stop_signal.to_string() == "SIGTERM");
  CHECK_FALSE(app.user);
}

TEST_CASE("The reserve is a fifth of a short grace") {
  const Service service = loaded(std::string("[service]\nstop_grace = \"10s\"\n") + kMinimal);
  CHECK(service.settings.sidecar_reserve == milliseconds(2'000));
}

TEST_CASE("Roles imply restart and capture") {
  const Service service = loaded(
      "[init.migrate]\ncommand = [\"/bin/m\"]\n[sidecar.x]\ncommand = [\"/bin/x\"]\n"
      "[init.again]\ncommand = [\"/bin/m\"]\nrestart = \"never\"\n[app]\ncommand = "
      "[\"/bin/app\"]\n");
  CHECK(service.find("migrate")->restart == RestartPolicy::OnFailure);
  CHECK(service.find("again")->restart == RestartPolicy::Never);
  CHECK(service.find("migrate")->capture);
  CHECK_FALSE(service.find("x")->capture);
  CHECK(service.find("x")->restart == RestartPolicy::Always);
}

TEST_CASE("Children keep the order of the file, whatever their names") {
  const Service service = loaded(
      "[sidecar.z]\ncommand = [\"/bin/z\"]\n[init.c]\ncommand = [\"/bin/c\"]\n"
      "[app]\ncommand = [\"/bin/app\"]\n[init.a]\ncommand = [\"/bin/a\"]\n"
      "[init.b]\ncommand = [\"/bin/b\"]\n[sidecar.a1]\ncommand = [\"/bin/a1\"]\n");
  CHECK(names_of(service.children) == std::vector<std::string>{"z", "c", "app", "a", "b", "a1"});
  const auto init = service.with_role(Role::Init);
  REQUIRE(init.size() == 3);
  CHECK(init[0]->name == "c");
}

TEST_CASE("A child depends on earlier roles, earlier init tasks and what it names") {
  const Service service = loaded(
      "[app]\ncommand = [\"/bin/app\"]\n[sidecar.b]\ncommand = [\"/bin/b\"]\nafter = [\"a\"]\n"
      "[sidecar.a]\ncommand = [\"/bin/a\"]\n[init.one]\ncommand = [\"/bin/1\"]\n"
      "[init.two]\ncommand = [\"/bin/2\"]\n");
  // app 0, b 1, a 2, one 3, two 4
  const auto dependencies = start_dependencies(service);
  CHECK(dependencies[0] == std::vector<std::size_t>{1, 2, 3, 4});
  CHECK(dependencies[1] == std::vector<std::size_t>{2, 3, 4});
  CHECK(dependencies[2] == std::vector<std::size_t>{3, 4});
  CHECK(dependencies[3].empty());
  CHECK(dependencies[4] == std::vector<std::size_t>{3});
}

TEST_CASE("Components run as their own users, in passwd or not") {
  const std::string text = std::string(kMinimal) + "[sidecar.proxy]\nuse = \"proxy\"\n";
  LoadOptions options = test_options();
  options.lookup_user = {};
  const auto without = parse_service(text, "orders.toml", options);
  CHECK(without.value->find("proxy")->user == UserRef{"pillion-proxy", 1337u, 1337u});
  options.lookup_user = [](std::string_view) { return UserIds{77, 78}; };
  const auto with = parse_service(text, "orders.toml", options);
  CHECK(with.value->find("proxy")->user == UserRef{"pillion-proxy", 77u, 78u});
}

TEST_CASE("A component without a table of its own has the component's defaults") {
  const Service service = loaded(std::string(kMinimal) + "[sidecar.proxy]\nuse = \"proxy\"\n");
  REQUIRE(std::holds_alternative<ProxyConfig>(service.find("proxy")->config));
  CHECK(std::get<ProxyConfig>(service.find("proxy")->config) == ProxyConfig{});
}

TEST_CASE("A proxy switches interception on where the namespace is ours") {
  const std::string proxy = "[sidecar.proxy]\nuse = \"proxy\"\n";
  CHECK(loaded(kMinimal + proxy).network.intercept.outbound);
  CHECK(loaded("[network]\nmode = \"sealed\"\n" + (kMinimal + proxy)).network.intercept.inbound);
  CHECK_FALSE(
      loaded("[network]\nmode = \"host\"\n" + (kMinimal + proxy)).network.intercept.inbound);
  CHECK_FALSE(loaded("[network.intercept]\ninbound = false\n" + (kMinimal + proxy))
                  .network.intercept.inbound);
}

TEST_CASE("The app sees memory volumes read-only unless it says otherwise") {
  const Service service = loaded(
      "[volume.data]\npath = \"/data\"\n[volume.secrets]\npath = \"/run/secrets\"\n"
      "tmpfs = \"1MiB\"\n[app]\ncommand = [\"/bin/app\"]\nmounts = [\"data\", \"secrets\"]\n"
      "[sidecar.x]\ncommand = [\"/bin/x\"]\nmounts = [\"data:ro\", \"secrets\"]\n");
  CHECK_FALSE(service.app().mounts[0].is_read_only);
  CHECK(service.app().mounts[1].is_read_only);
  CHECK(service.find("x")->mounts[0].is_read_only);
  CHECK_FALSE(service.find("x")->mounts[1].is_read_only);
}

TEST_CASE("Probes take the port that they name, or the only one") {
  const Service service = loaded(
      "[app]\ncommand = [\"/bin/app\"]\nports = [{ name = \"a\", port = 1 }, { name = \"b\", port "
      "= 2 }]\nstartup_probe = { tcp = { port = \"b\" } }\nliveness_probe = { tcp = { port = 9 } "
      "}\n"
      "[sidecar.x]\ncommand = [\"/bin/x\"]\nports = [{ port = 3 }]\n"
      "readiness_probe = { grpc = {} }\npre_stop = { http = {} }\n");
  CHECK(service.app().startup_probe->tcp->port->number == 2);
  CHECK(service.app().liveness_probe->tcp->port->number == 9);
  CHECK(service.find("x")->readiness_probe->grpc->port->number == 3);
  CHECK(service.find("x")->pre_stop->http->port->number == 3);
}

TEST_CASE("Variables are expanded in values and nowhere else") {
  const Service service = loaded(
      "[app]\ncommand = [\"/bin/${REGION}\"]\nnice = \"${NICE:-5}\"\nports = [{ port = \"${PORT}\" "
      "}]\n"
      "[app.env]\n\"${KEY}\" = \"a-${REGION}-b\"\nLITERAL = \"$${REGION} $ $$ {x}\"\n"
      "DEFAULT = \"${NOPE:-x:-y}\"\nEMPTY = \"${EMPTY:-}\"\n");
  const Child& app = service.app();
  CHECK(app.command.front() == "/bin/eu-1");
  CHECK(app.nice == 5);
  CHECK(app.ports.front().port == 8080);
  CHECK(app.env.at("${KEY}") == "a-eu-1-b");
  CHECK(app.env.at("LITERAL") == "${REGION} $ $$ {x}");
  CHECK(app.env.at("DEFAULT") == "x:-y");
  CHECK(app.env.at("EMPTY").empty());
}

TEST_CASE("In /etc/pillion the name is the file's") {
  const std::string text = std::string("[service]\nname = \"orders\"\n") + kMinimal;
  CHECK(parse_service(text, "/etc/pillion/orders.toml", test_options()).value);
  CHECK(parse_service(text, "/tmp/other.toml", test_options()).value->name() == "orders");
  CHECK(parse_service(kMinimal, "/tmp/other.toml", test_options()).value->name() == "other");
  CHECK(format_text(parse_service(text, "/etc/pillion/other.toml", test_options()).diagnostics) ==
        R"(/etc/pillion/other.toml:2:8: error: the service's name is not the file's
    2 | name = "orders"
      |        ^~~~~~~~
      = note: in /etc/pillion, `other.toml` must hold the service `other`
)");
  CHECK(format_text(parse_service(kMinimal, "/tmp/My App.toml", test_options()).diagnostics) ==
        R"(/tmp/My App.toml: error: the file's name "My App" cannot be the service's name
      = note: set `name` in [service]: lower-case letters, digits and `-`, at most 63, no `-` at the ends
)");
}

TEST_CASE("Component tables are completed from the service") {
  auto result = parse_service(kOrderProcessor, "order-processor.toml", test_options());
  REQUIRE(result.value);
  complete_components(*result.value);
  const auto& proxy = std::get<ProxyConfig>(result.value->find("proxy")->config);
  CHECK(proxy.service == "order-processor");
  REQUIRE(proxy.inbound.ports.size() == 1);
  CHECK(proxy.inbound.ports[0].port == 8080);
  CHECK(proxy.inbound.ports[0].protocol == ProxyProtocol::Http);
  REQUIRE(proxy.inbound.published.size() == 1);
  CHECK(proxy.inbound.published[0].listener == "publish-8080");
  CHECK(proxy.inbound.published[0].port == 8080);
}

TEST_CASE("A file that cannot be read is one problem of the file") {
  const auto result = load_service("/nonexistent/orders.toml", test_options());
  CHECK_FALSE(result.value);
  CHECK(format_text(result.diagnostics) ==
        "/nonexistent/orders.toml: error: cannot open /nonexistent/orders.toml: No such file or "
        "directory\n");
}
