// Flags and annotations as people know them from Istio, and what they become.
#include "netns/pod_options.h"

#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

std::string error_of(const PodOptions& options) {
  auto wanted = wanted_from_pod_options(options);
  REQUIRE_FALSE(wanted);
  return wanted.error().message();
}

}  // namespace

TEST_CASE("the command line that Istio's injector writes") {
  PodOptions options;
  options.outbound_port = "15001";
  options.inbound_capture_port = "15006";
  options.proxy_uids = "1337";
  options.proxy_gids = "1337";
  options.inbound_mode = "REDIRECT";
  options.outbound_cidrs = "*";
  options.inbound_ports = "*";
  options.exclude_inbound_ports = "15090,15021,15020";
  const Wanted wanted = *wanted_from_pod_options(options);
  CHECK(wanted.mode == Mode::Host);
  CHECK(wanted.service == "pod");
  CHECK(wanted.intercept.all_inbound_ports);
  CHECK(wanted.intercept.inbound_method == InboundMethod::Redirect);
  CHECK(wanted.intercept.include_outbound_cidrs.empty());
  CHECK(wanted.intercept.exempt_gids == std::vector<std::uint32_t>{1337});
  CHECK(wanted.intercept.exclude_inbound_ports == std::vector<std::uint16_t>{15090, 15021, 15020});
}

TEST_CASE("lists become what the document has") {
  PodOptions options;
  options.proxy_uids = "7, 8,9";
  options.inbound_ports = "8080,9090";
  options.outbound_cidrs = "10.0.0.0/8,fd00::/8";
  options.exclude_outbound_ports = "3306,8000-8010";
  options.exclude_interfaces = "net1,net2";
  options.outbound_owner_groups = "100";
  options.exclude_outbound_owner_groups = "200";
  options.backend = "iptables";
  options.redirect_dns = true;
  options.namespace_path = "/proc/4711/ns/net";
  const Wanted wanted = *wanted_from_pod_options(options);
  const Intercept& intercept = wanted.intercept;
  CHECK(wanted.mode == Mode::Join);
  CHECK(wanted.join == "/proc/4711/ns/net");
  CHECK(intercept.proxy_uid == 7);
  CHECK(intercept.exempt_uids == std::vector<std::uint32_t>{8, 9});
  CHECK(intercept.inbound_ports == std::vector<std::uint16_t>{8080, 9090});
  CHECK(intercept.include_outbound_cidrs.size() == 2);
  CHECK(intercept.exclude_outbound_ports == std::vector<PortRange>{{3306, 3306}, {8000, 8010}});
  CHECK(intercept.exclude_interfaces == std::vector<std::string>{"net1", "net2"});
  CHECK(intercept.only_gids == std::vector<std::uint32_t>{100});
  CHECK(intercept.exempt_gids == std::vector<std::uint32_t>{200});
  CHECK(intercept.backend == Backend::Iptables);
  CHECK(intercept.dns);
}

TEST_CASE("interception mode NONE captures nothing") {
  PodOptions options;
  options.inbound_mode = "NONE";
  const Wanted wanted = *wanted_from_pod_options(options);
  CHECK_FALSE(wanted.intercept.inbound);
  CHECK_FALSE(wanted.intercept.outbound);
}

TEST_CASE("what cannot be understood is named with its flag") {
  PodOptions options;
  options.inbound_ports = "8080,http";
  CHECK(error_of(options) == "--inbound-ports: 'http' is not a port, or * for all");
  options = {};
  options.exclude_interfaces = "eth0\" accept; #";
  CHECK(error_of(options).find("is not the name of a network interface") != std::string::npos);
  options = {};
  options.proxy_uids = "istio-proxy";
  CHECK(error_of(options) ==
        "--proxy-uid: 'istio-proxy' is not a number; users and groups are told by number");
  options = {};
  options.inbound_mode = "MAGIC";
  CHECK(error_of(options).find("REDIRECT, TPROXY, NONE or auto") != std::string::npos);
  options = {};
  options.name = "Pod!";
  CHECK(error_of(options).find("--name") != std::string::npos);
}

TEST_CASE("annotations of the downward API fill what no flag gave") {
  PodOptions options;
  options.outbound_ports = "443";
  const std::string text =
      "app=\"orders\"\n"
      "traffic.sidecar.istio.io/includeInboundPorts=\"8080,9090\"\n"
      "traffic.sidecar.istio.io/includeOutboundPorts=\"80\"\n"
      "traffic.sidecar.istio.io/excludeOutboundIPRanges=\"10.96.0.1/32\"\n"
      "sidecar.istio.io/interceptionMode=\"TPROXY\"\n"
      "note=\"a \\\"quoted\\\" word\"\n";
  REQUIRE(read_annotations(text, options));
  CHECK(options.inbound_ports == "8080,9090");
  CHECK(options.outbound_ports == "443");
  CHECK(options.exclude_outbound_cidrs == "10.96.0.1/32");
  CHECK(wanted_from_pod_options(options)->intercept.inbound_method == InboundMethod::Tproxy);
}

TEST_CASE("an annotation without a counterpart is not passed over in silence") {
  PodOptions options;
  auto read = read_annotations("traffic.sidecar.istio.io/kubevirtInterfaces=\"net1\"\n", options);
  REQUIRE_FALSE(read);
  CHECK(read.error().message().find("kubevirtInterfaces has no counterpart") != std::string::npos);
  CHECK(read_annotations("traffic.sidecar.istio.io/kubevirtInterfaces=\"\"\n", options));
}

}  // namespace pillion::netns
