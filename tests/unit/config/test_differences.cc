// What `pillion plan` says has changed.
#include <catch2/catch.hpp>

#include "config/differences.h"
#include "tests/unit/config/load_for_test.h"

using namespace pillion::config;

namespace {

std::string differences_of(std::string_view before, std::string_view after) {
  const auto first = load_text(before), second = load_text(after);
  INFO(format_text(first.diagnostics) << format_text(second.diagnostics));
  REQUIRE(first.value);
  REQUIRE(second.value);
  std::string text;
  for (const Difference& one : find_differences(*first.value, *second.value)) {
    text += one.child + ":" + one.key + ": " + one.before + " -> " + one.after + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("a default that is written out is no difference") {
  CHECK(differences_of("[app]\ncommand = [\"/bin/a\"]\n",
                       "[service]\nstop_grace = \"30s\"\n[app]\ncommand = [ \"/bin/a\" ]\n") == "");
}

TEST_CASE("differences are named by child and key, with both values") {
  CHECK(differences_of(R"([app]
command = ["/bin/a"]
limits = { memory = "64MiB" }
[sidecar.proxy]
use = "proxy"
[sidecar.gone]
command = ["/bin/gone"]
user = "ship"
)",
                       R"([service]
stop_grace = "20s"
[app]
command = ["/bin/a", "-v"]
limits = { memory = "128MiB", pids = 7 }
[sidecar.proxy]
use = "proxy"
[sidecar.proxy.config]
drain = { minimum = "3s" }
[sidecar.new]
command = ["/bin/new"]
user = "ship"
)") == ":service.stop_grace: \"30s\" -> \"20s\"\n"
       ":service.sidecar_reserve: \"5s\" -> \"4s\"\n"
       "app:command: [\"/bin/a\"] -> [\"/bin/a\", \"-v\"]\n"
       "app:limits.memory: \"64MiB\" -> \"128MiB\"\n"
       "app:limits.pids:  -> 7\n"
       "proxy:config.drain.minimum: \"5s\" -> \"3s\"\n");
}

TEST_CASE("an environment is compared without showing it") {
  const std::string text =
      differences_of("[app]\ncommand = [\"/bin/a\"]\nenv = { A = \"secret\", B = \"2\" }\n",
                     "[app]\ncommand = [\"/bin/a\"]\nenv = { A = \"hidden\", C = \"3\" }\n");
  CHECK(text == "app:env.A: … -> …\napp:env.B: … -> \napp:env.C:  -> …\n");
}

TEST_CASE("tables that appear, lists of tables, and long values") {
  const std::string one = "[app]\ncommand = [\"/bin/a\"]\n";
  CHECK(differences_of(one, one + "readiness_probe = { tcp = { port = 80 } }\n")
            .find("app:readiness_probe.tcp.port:  -> 80\n") != std::string::npos);
  const std::string ports = "ports = [{ name = \"a\", port = 1 }, { name = \"b\", port = 2 }]\n";
  const std::string moved = "ports = [{ name = \"a\", port = 1 }, { name = \"b\", port = 3 }]\n";
  CHECK(differences_of(one + ports, one + moved) == "app:ports[1].port: 2 -> 3\n");
  const std::string lengthy =
      differences_of(one, "[app]\ncommand = [\"/bin/a\", \"" + std::string(300, 'x') + "\"]\n");
  CHECK(lengthy.size() < 250);
  CHECK(lengthy.find("…") != std::string::npos);
}
