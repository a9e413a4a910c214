// Sources of the rules: research on Istio's and linkerd's chains, checked on nftables 1.0.6. That
// version rejects named priorities on output chains and `redirect` without a transport match in the
// same rule, so priorities are numbers and every such rule names its protocol.
#include "netns/rules.h"

#include <fmt/format.h>

#include <algorithm>

namespace pillion::netns {
namespace {

std::string replacement_prefix(const std::string& table) {
  return fmt::format("table inet {0}\ndelete table inet {0}\n", table);
}

// Collects the lines of one table.
class TableText {
 public:
  explicit TableText(const std::string& name) : name_(name) {}

  void set(std::string_view name, std::string_view type, const std::vector<std::string>& elements) {
    text_ += fmt::format("  set {} {{\n    type {}; flags interval; auto-merge;\n", name, type);
    text_ += fmt::format("    elements = {{ {} }}\n  }}\n", fmt::join(elements, ", "));
  }
  void begin_chain(std::string_view name, std::string_view hook) {
    text_ += fmt::format("  chain {} {{\n    {}; policy accept;\n", name, hook);
  }
  void rule(std::string_view rule) { text_ += fmt::format("    {}\n", rule); }
  void end_chain() { text_ += "  }\n"; }
  // "create if missing, then delete, then fill" is how nftables replaces a table atomically. The
  // comment tells later which rules these were meant to be.
  std::string finish() const {
    return fmt::format("{0}table inet {1} {{\n  comment \"pillion {2}\"\n{3}}}\n",
                       replacement_prefix(name_), name_, fingerprint_of(text_), text_);
  }

 private:
  std::string name_;
  std::string text_;
};

template<class Number>
std::vector<std::string> texts_of(const std::vector<Number>& numbers) {
  std::vector<std::string> texts;
  for (const Number number : numbers) texts.push_back(fmt::format("{}", number));
  return texts;
}

std::vector<std::string> texts_of(const std::vector<PortRange>& ranges) {
  std::vector<std::string> texts;
  for (const PortRange& range : ranges) {
    texts.push_back(range.first == range.last ? fmt::format("{}", range.first)
                                              : fmt::format("{}-{}", range.first, range.last));
  }
  return texts;
}

std::vector<std::string> texts_of(const std::vector<Cidr>& cidrs, Family family) {
  std::vector<std::string> texts;
  for (const Cidr& cidr : cidrs) {
    if (cidr.address.family == family) texts.push_back(cidr.network().text());
  }
  return texts;
}

void add_set(TableText& table, std::string_view name, std::string_view type,
             const std::vector<std::string>& elements) {
  if (!elements.empty()) table.set(name, type, elements);
}

void add_capture_sets(TableText& table, const Intercept& intercept) {
  if (intercept.all_inbound_ports) {
    add_set(table, "uncaptured_ports", "inet_service",
            texts_of(uncaptured_inbound_ports(intercept)));
  } else {
    add_set(table, "inbound_ports", "inet_service", texts_of(captured_inbound_ports(intercept)));
  }
  add_set(table, "excluded_ports", "inet_service", texts_of(intercept.exclude_outbound_ports));
  add_set(table, "included_ports", "inet_service", texts_of(intercept.include_outbound_ports));
  add_set(table, "excluded_v4", "ipv4_addr",
          texts_of(intercept.exclude_outbound_cidrs, Family::V4));
  add_set(table, "excluded_v6", "ipv6_addr",
          texts_of(intercept.exclude_outbound_cidrs, Family::V6));
  add_set(table, "included_v4", "ipv4_addr",
          texts_of(intercept.include_outbound_cidrs, Family::V4));
  add_set(table, "included_v6", "ipv6_addr",
          texts_of(intercept.include_outbound_cidrs, Family::V6));
}

std::string inbound_match(const Intercept& intercept) {
  return intercept.all_inbound_ports ? "tcp dport != @uncaptured_ports"
                                     : "tcp dport @inbound_ports";
}

void add_interface_exemption(TableText& table, std::string_view match, const Intercept& intercept) {
  if (intercept.exclude_interfaces.empty()) return;
  table.rule(fmt::format("{} {{ \"{}\" }} counter return", match,
                         fmt::join(intercept.exclude_interfaces, "\", \"")));
}

// Conntrack reports as invalid what is outside the window; passed on untranslated, it makes the
// receiver reset a healthy connection.
void add_packet_chain(TableText& table, const Intercept& intercept) {
  table.begin_chain("inbound_packets", "type filter hook prerouting priority -150");
  table.rule("meta l4proto tcp ct state invalid counter drop");
  if (captures_inbound(intercept) && intercept.inbound_method == InboundMethod::Tproxy) {
    add_interface_exemption(table, "iifname", intercept);
    // The destination is an address of this namespace already: no mark and no route is needed to
    // have the packet delivered here.
    for (const std::string_view family : {"ipv4", "ipv6"}) {
      table.rule(
          fmt::format("iifname != \"lo\" meta nfproto {} fib daddr type local {} counter tproxy {} "
                      "to :{} accept",
                      family, inbound_match(intercept), family == "ipv4" ? "ip" : "ip6",
                      intercept.inbound_port));
    }
    if (intercept.when_proxy_down == ProxyDown::Closed) {
      // Reached only while no transparent listener is there.
      table.rule(fmt::format(
          "iifname != \"lo\" fib daddr type local {} ct state new counter reject with tcp reset",
          inbound_match(intercept)));
    }
  }
  table.end_chain();
}

void add_inbound_chain(TableText& table, const Intercept& intercept) {
  if (!captures_inbound(intercept) || intercept.inbound_method == InboundMethod::Tproxy) return;
  table.begin_chain("inbound_nat", "type nat hook prerouting priority -100");
  add_interface_exemption(table, "iifname", intercept);
  table.rule(fmt::format("fib daddr type local {} counter redirect to :{}",
                         inbound_match(intercept), intercept.inbound_port));
  table.end_chain();
}

void add_exemptions(TableText& table, const Intercept& intercept) {
  // The proxy talks to the app from these addresses: capturing them would be a loop.
  table.rule("oifname \"lo\" ip saddr 127.0.0.6 counter return");
  table.rule("oifname \"lo\" ip6 saddr ::6 counter return");
  if (captures_inbound(intercept)) {
    // The service calling itself by its own address goes through its inbound listener, too.
    for (const std::string_view remote : {"ip daddr != 127.0.0.0/8", "ip6 daddr != ::1"}) {
      table.rule(fmt::format("meta skuid {} oifname \"lo\" {} {} counter redirect to :{}",
                             intercept.proxy_uid, remote, inbound_match(intercept),
                             intercept.inbound_port));
    }
  }
  table.rule(fmt::format("meta skuid {} counter return", intercept.proxy_uid));
  if (!intercept.exempt_uids.empty()) {
    table.rule(
        fmt::format("meta skuid {{ {} }} counter return", fmt::join(intercept.exempt_uids, ", ")));
  }
  if (!intercept.exempt_gids.empty()) {
    table.rule(
        fmt::format("meta skgid {{ {} }} counter return", fmt::join(intercept.exempt_gids, ", ")));
  }
  if (!intercept.only_uids.empty()) {
    table.rule(
        fmt::format("meta skuid != {{ {} }} counter return", fmt::join(intercept.only_uids, ", ")));
  }
  if (!intercept.only_gids.empty()) {
    table.rule(
        fmt::format("meta skgid != {{ {} }} counter return", fmt::join(intercept.only_gids, ", ")));
  }
  add_interface_exemption(table, "oifname", intercept);
}

void add_outbound_filters(TableText& table, const Intercept& intercept) {
  table.rule("meta l4proto != tcp return");
  table.rule("oifname \"lo\" counter return");
  if (!intercept.dns) {
    // Name resolution by TCP must not depend on the proxy when that by UDP does not.
    table.rule("tcp dport 53 counter return");
  }
  if (!intercept.exclude_outbound_ports.empty())
    table.rule("tcp dport @excluded_ports counter return");
  if (!intercept.include_outbound_ports.empty()) {
    table.rule("tcp dport != @included_ports counter return");
  }
  for (const Family family : {Family::V4, Family::V6}) {
    const std::string_view keyword = family == Family::V4 ? "ip" : "ip6";
    const std::string_view suffix = family == Family::V4 ? "v4" : "v6";
    if (!texts_of(intercept.exclude_outbound_cidrs, family).empty()) {
      table.rule(fmt::format("{} daddr @excluded_{} counter return", keyword, suffix));
    }
    if (!texts_of(intercept.include_outbound_cidrs, family).empty()) {
      table.rule(fmt::format("{} daddr != @included_{} counter return", keyword, suffix));
    } else if (!intercept.include_outbound_cidrs.empty()) {
      // Only ranges of the other family are included.
      table.rule(
          fmt::format("meta nfproto {} counter return", family == Family::V4 ? "ipv4" : "ipv6"));
    }
  }
}

void add_outbound_chain(TableText& table, const Intercept& intercept) {
  if (!intercept.outbound && !intercept.dns) return;
  table.begin_chain("outbound_nat", "type nat hook output priority -100");
  add_exemptions(table, intercept);
  if (intercept.dns) {
    table.rule(fmt::format("udp dport 53 counter redirect to :{}", intercept.dns_port));
    table.rule(fmt::format("tcp dport 53 counter redirect to :{}", intercept.dns_port));
  }
  if (intercept.outbound) {
    add_outbound_filters(table, intercept);
    table.rule(fmt::format("meta l4proto tcp counter redirect to :{}", intercept.outbound_port));
  }
  table.end_chain();
}

// A UDP translation is remembered per pair of ports. Without zones of their own, a query of the
// proxy from a port that the app used a moment ago would be sent back to the proxy.
void add_dns_zones(TableText& table, const Intercept& intercept) {
  if (!intercept.dns) return;
  table.begin_chain("dns_zones_out", "type filter hook output priority -300");
  table.rule(fmt::format("udp dport 53 meta skuid {} counter ct zone set 1", intercept.proxy_uid));
  // Whoever opened the resolver's socket (the supervisor, for a handed-over one) is its owner to
  // the kernel, so answers are known by their port alone.
  table.rule(fmt::format("udp sport {} counter ct zone set 2", intercept.dns_port));
  table.rule(
      fmt::format("udp dport 53 meta skuid != {} counter ct zone set 2", intercept.proxy_uid));
  table.end_chain();
  table.begin_chain("dns_zones_in", "type filter hook prerouting priority -300");
  table.rule("iifname != \"lo\" udp sport 53 counter ct zone set 1");
  table.end_chain();
}

// What a translated port matches on the host: one address, or every address of the host.
std::string destination_match(const Publish& publish, Family family) {
  if (publish.host_address.empty()) return "fib daddr type local";
  return fmt::format("{} daddr {}", family == Family::V4 ? "ip" : "ip6", publish.host_address);
}

void add_translation(TableText& table, const Publish& publish, Family family,
                     const std::string& target) {
  if (target.empty() || !publish.is_translated) return;
  if (!publish.host_address.empty() && parse_address(publish.host_address)->family != family)
    return;
  // The kernel cannot translate ::1 to another interface.
  const std::string_view match = family == Family::V4 ? "meta nfproto ipv4" : "ip6 daddr != ::1";
  table.rule(fmt::format(
      "{} {} {} dport {} counter dnat {} to {}:{}", match, destination_match(publish, family),
      publish.transport == Transport::Udp ? "udp" : "tcp", publish.host_port,
      family == Family::V4 ? "ip" : "ip6",
      family == Family::V4 ? target : fmt::format("[{}]", target), publish.port));
}

void add_translation_chains(TableText& table, const Wanted& wanted, const Facts& facts) {
  if (!has_translated_ports(wanted)) return;
  // Loopback addresses are routable on this interface for 127.0.0.1:PORT (route_localnet); nobody
  // inside may use that to reach loopback services of the host.
  table.begin_chain("loopback_guard", "type filter hook prerouting priority -300");
  table.rule(fmt::format("iifname \"{}\" ip daddr 127.0.0.0/8 counter drop", facts.host_interface));
  table.rule(fmt::format("iifname \"{}\" ip saddr 127.0.0.0/8 counter drop", facts.host_interface));
  table.end_chain();
  for (const std::string_view hook : {"prerouting", "output"}) {
    table.begin_chain(fmt::format("publish_{}", hook),
                      fmt::format("type nat hook {} priority -100", hook));
    for (const Publish& publish : wanted.publish) {
      add_translation(table, publish, Family::V4, facts.address4);
      add_translation(table, publish, Family::V6, facts.address6);
    }
    table.end_chain();
  }
}

void add_forward_chain(TableText& table, const Facts& facts) {
  const std::string from = fmt::format("iifname \"{}\"", facts.host_interface);
  const std::string to = fmt::format("oifname \"{}\"", facts.host_interface);
  table.begin_chain("forward", "type filter hook forward priority 0");
  // Virtual addresses of upstreams exist for capture only; say so at once where it is not live.
  table.rule(fmt::format("{} ip daddr {} counter reject with icmpx type host-unreachable", from,
                         virtual_addresses().text()));
  table.rule(fmt::format("{} ip saddr != {} counter drop", from, facts.address4));
  if (!facts.address6.empty()) {
    table.rule(fmt::format("{} ip6 saddr != {} counter drop", from, facts.address6));
  }
  table.rule(from + " counter accept");
  table.rule(to + " ct state established,related counter accept");
  table.rule(to + " ct status dnat counter accept");
  // A neighbour that routes the pool through this host reaches published ports only.
  table.rule(to + " counter drop");
  table.end_chain();
}

void add_masquerade_chain(TableText& table, const Wanted& wanted, const Facts& facts) {
  table.begin_chain("source_nat", "type nat hook postrouting priority 100");
  const std::string to = fmt::format("oifname \"{}\"", facts.host_interface);
  if (has_translated_ports(wanted)) {
    table.rule(to + " ip saddr 127.0.0.0/8 counter masquerade");
    table.rule(fmt::format("{0} ip saddr {1} ip daddr {1} counter masquerade", to, facts.address4));
    if (!facts.address6.empty()) {
      table.rule(
          fmt::format("{0} ip6 saddr {1} ip6 daddr {1} counter masquerade", to, facts.address6));
    }
  }
  table.rule(fmt::format("oifname != \"{}\" ip saddr {} counter masquerade", facts.host_interface,
                         facts.address4));
  if (!facts.address6.empty()) {
    table.rule(fmt::format("oifname != \"{}\" ip6 saddr {} counter masquerade",
                           facts.host_interface, facts.address6));
  }
  table.end_chain();
}

}  // namespace

std::vector<std::uint16_t> uncaptured_inbound_ports(const Intercept& intercept) {
  std::vector<std::uint16_t> ports = {intercept.outbound_port, intercept.inbound_port,
                                      intercept.dns_port,      kHealthPort,
                                      kPrometheusPort,         kAdminPort};
  ports.insert(ports.end(), intercept.exclude_inbound_ports.begin(),
               intercept.exclude_inbound_ports.end());
  return ports;
}

std::vector<std::uint16_t> captured_inbound_ports(const Intercept& intercept) {
  const auto uncaptured = uncaptured_inbound_ports(intercept);
  std::vector<std::uint16_t> ports;
  for (const std::uint16_t port : intercept.inbound_ports) {
    if (std::find(uncaptured.begin(), uncaptured.end(), port) == uncaptured.end()) {
      ports.push_back(port);
    }
  }
  return ports;
}

bool captures_inbound(const Intercept& intercept) {
  return intercept.inbound &&
         (intercept.all_inbound_ports || !captured_inbound_ports(intercept).empty());
}

std::string fingerprint_of(std::string_view rules) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : rules) hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619u;
  return fmt::format("{:08x}", hash);
}

std::string creating_rules(const std::string& replacing_rules, const std::string& table) {
  const std::string prefix = replacement_prefix(table);
  PILLION_ASSERT(replacing_rules.starts_with(prefix));
  const std::string rules = replacing_rules.substr(prefix.size());
  // The comment belongs to the creation. nft 1.0.6 ignores chains in a `create`, so they follow.
  const std::size_t comment = rules.find("  comment ");
  if (comment == std::string::npos) return fmt::format("create table inet {}\n{}", table, rules);
  const std::string line = rules.substr(comment, rules.find('\n', comment) + 1 - comment);
  return fmt::format("create table inet {} {{\n{}}}\n{}", table, line, rules);
}

bool has_translated_ports(const Wanted& wanted) {
  return std::any_of(wanted.publish.begin(), wanted.publish.end(),
                     [](const Publish& publish) { return publish.is_translated; });
}

std::string render_capture_rules(const Wanted& wanted) {
  TableText table(capture_table_of(wanted));
  add_capture_sets(table, wanted.intercept);
  add_packet_chain(table, wanted.intercept);
  add_inbound_chain(table, wanted.intercept);
  add_outbound_chain(table, wanted.intercept);
  add_dns_zones(table, wanted.intercept);
  return table.finish();
}

std::string render_host_rules(const Wanted& wanted, const Facts& facts) {
  TableText table(facts.host_table);
  add_translation_chains(table, wanted, facts);
  add_forward_chain(table, facts);
  add_masquerade_chain(table, wanted, facts);
  return table.finish();
}

}  // namespace pillion::netns
