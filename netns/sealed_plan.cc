#include "netns/sealed_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "netns/name_files.h"

namespace pillion::netns {
namespace {

constexpr std::uint32_t kLocalTable = 255;  // RT_TABLE_LOCAL: what is in it is an own address

// Without these the kernel would choose the destination itself as the source address.
constexpr const char* kSource4 = "127.0.0.1";
constexpr const char* kSource6 = "::1";

Result<void> check_published(const Wanted& wanted) {
  for (const Publish& publish : wanted.publish) {
    if (!publish.is_translated) continue;
    if (publish.transport == Transport::Udp) {
      return fail(
          fmt::format("[network] publish: udp port {} cannot be published in mode = \"sealed\": no "
                      "packet leaves or enters the namespace; use mode = \"bridged\"",
                      publish.host_port));
    }
    return fail(
        fmt::format("[network] publish: port {} cannot be published in mode = \"sealed\" without "
                    "the proxy; set [network.intercept] inbound = true and use a sidecar with use "
                    "= \"proxy\"",
                    publish.host_port));
  }
  return {};
}

void add_warnings(const Wanted& wanted, std::vector<std::string>& warnings) {
  const Intercept& intercept = wanted.intercept;
  const bool has_exemptions =
      !intercept.exclude_outbound_ports.empty() || !intercept.exclude_outbound_cidrs.empty() ||
      !intercept.include_outbound_ports.empty() || !intercept.include_outbound_cidrs.empty();
  if (has_exemptions) {
    warnings.push_back(
        "[network.intercept] exclude_outbound_* and include_outbound_* have no effect in mode = "
        "\"sealed\": nothing leaves the namespace but through the proxy");
  }
  if (!intercept.outbound) {
    warnings.push_back(
        "the namespace is sealed and the app's connections are not captured: it has no network at "
        "all; add a sidecar with use = \"proxy\" to give it one");
  }
}

Facts sealed_facts(const Wanted& wanted, const HostState& host) {
  Facts facts;
  facts.service = wanted.service;
  facts.mode = wanted.mode;
  if (!wanted.is_in_place) facts.netns_path = names_of(wanted.service).netns_path;
  facts.interface = "lo";
  facts.address4 = kSource4;
  if (wanted.ipv6 && host.has_ipv6) facts.address6 = kSource6;
  facts.capture_table = capture_table_of(wanted);
  add_warnings(wanted, facts.warnings);
  // The resolver listens inside, on every address; `search` and `options` are still the host's.
  Dns dns = wanted.dns;
  dns.nameservers = {kSource4};
  facts.resolv_conf = render_resolv_conf(dns, host.resolv_conf, "", facts.warnings);
  facts.hosts = render_hosts(wanted, facts, host.hosts, HostsReader::Captured);
  facts.nsswitch_conf = render_nsswitch_conf(host.nsswitch_conf);
  return facts;
}

constexpr const char* kCaptureChain = "capture";

// TCP to anywhere but loopback goes to 15001; DNS over TCP to the resolver, which has the port.
std::string capture_chain(const Wanted& wanted) {
  return fmt::format(R"(  chain {} {{
    type filter hook prerouting priority -150; policy accept;
    ip daddr 127.0.0.0/8 return
    ip6 daddr {{ ::1, ::6 }} return
{}    meta nfproto ipv4 meta l4proto tcp counter tproxy ip to 127.0.0.1:{} meta mark set {} accept
    meta nfproto ipv6 meta l4proto tcp counter tproxy ip6 to [::1]:{} meta mark set {} accept
  }}
)",
                     kCaptureChain, wanted.intercept.dns ? "    tcp dport 53 return\n" : "",
                     kOutboundPort, kTproxyMark, kOutboundPort, kTproxyMark);
}

// On input, so that a refusal is what it is elsewhere: a reset, or "port unreachable" by ICMP. The
// destinations of refused UDP are kept, with counters, for who looks for the reason.
std::string refuse_chain(const Wanted& wanted) {
  return fmt::format(
      R"(  chain refuse {{
    type filter hook input priority 0; policy accept;
    ip daddr 127.0.0.0/8 accept
    ip6 daddr {{ ::1, ::6 }} accept
{}    tcp flags & (syn | ack) == syn meta mark != {} counter reject with tcp reset
    meta nfproto ipv4 meta l4proto udp update @refused_udp_v4 {{ ip daddr . udp dport counter }} counter reject
    meta nfproto ipv6 meta l4proto udp update @refused_udp_v6 {{ ip6 daddr . udp dport counter }} counter reject
    icmp type echo-request counter reject with icmp admin-prohibited
    icmpv6 type echo-request counter reject with icmpv6 admin-prohibited
  }}
)",
      wanted.intercept.dns ? "    meta l4proto { tcp, udp } th dport 53 accept\n" : "",
      kTproxyMark);
}

// Every address is the namespace's own.
Step own_everything(const char* range, const char* source) {
  return AddRoute{Side::Inside, *parse_cidr(range), std::nullopt,          "lo",
                  true,         kLocalTable,        *parse_address(source)};
}

}  // namespace

std::string render_sealed_rules(const Wanted& wanted, bool is_captured) {
  std::string text = fmt::format(
      "table inet {0}\ndelete table inet {0}\ntable inet {0} {{\n"
      "  set refused_udp_v4 {{\n    type ipv4_addr . inet_service; size 1024; "
      "flags dynamic,timeout; timeout 1h;\n  }}\n"
      "  set refused_udp_v6 {{\n    type ipv6_addr . inet_service; size 1024; "
      "flags dynamic,timeout; timeout 1h;\n  }}\n",
      kCaptureTable);
  if (is_captured) text += capture_chain(wanted);
  return text + refuse_chain(wanted) + "}\n";
}

Result<Plan> plan_sealed(const Wanted& wanted, const HostState& host) {
  if (auto checked = check_published(wanted); !checked) return fail(checked.error());
  Plan plan;
  plan.facts = sealed_facts(wanted, host);
  if (!wanted.is_in_place) plan.steps.push_back(PinNamespace{plan.facts.netns_path});
  plan.steps.push_back(SetUp{Side::Inside, "lo"});
  // glibc counts every address but 127.0.0.1 and ::1: without another one getaddrinfo() finds no
  // IPv4 address under AI_ADDRCONFIG. These are the proxy's towards the app anyway.
  plan.steps.push_back(AddAddress{Side::Inside, "lo", *parse_cidr("127.0.0.6/32")});
  plan.steps.push_back(own_everything("0.0.0.0/0", kSource4));
  if (!plan.facts.address6.empty()) {
    plan.steps.push_back(AddAddress{Side::Inside, "lo", *parse_cidr("::6/128")});
    plan.steps.push_back(own_everything("::/0", kSource6));
  }
  plan.steps.push_back(LoadRules{Side::Inside, std::string(kCaptureTable),
                                 render_sealed_rules(wanted, false), "", ""});
  return plan;
}

std::vector<Step> plan_sealed_capture(const Wanted& wanted) {
  if (!wanted.intercept.outbound) return {};
  return {LoadRules{Side::Inside, std::string(kCaptureTable), render_sealed_rules(wanted, true),
                    kCaptureChain,
                    fmt::format("table inet {} {{\n{}}}\n", kCaptureTable, capture_chain(wanted))}};
}

}  // namespace pillion::netns
