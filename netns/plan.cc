#include "netns/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "netns/name_files.h"
#include "netns/rules.h"
#include "netns/sealed_plan.h"

namespace pillion::netns {
namespace {

constexpr int kPrefixLength4 = 30;
constexpr int kPrefixLength6 = 64;

const Interface* find_interface(const HostState& host, std::string_view name) {
  const auto found = std::find_if(host.interfaces.begin(), host.interfaces.end(),
                                  [&](const Interface& item) { return item.name == name; });
  return found == host.interfaces.end() ? nullptr : &*found;
}

const Interface* find_interface(const HostState& host, int index) {
  const auto found = std::find_if(host.interfaces.begin(), host.interfaces.end(),
                                  [&](const Interface& item) { return item.index == index; });
  return found == host.interfaces.end() ? nullptr : &*found;
}

bool is_ours(const Interface& item) { return item.alias.starts_with("pillion "); }

// A range collides with every address range of an interface and with every route inside the pool.
// Wider routes through a gateway (a company's 10.0.0.0/8) do not count: see pool_warnings.
bool is_taken(const Cidr& range, const Cidr& pool, const HostState& host) {
  const auto by_address = [&](const InterfaceAddress& item) { return item.cidr.overlaps(range); };
  const auto by_route = [&](const Route& route) {
    const bool is_wide_and_remote =
        route.has_gateway && route.destination.prefix_length < pool.prefix_length;
    return route.destination.prefix_length > 0 && !is_wide_and_remote &&
           route.destination.overlaps(range);
  };
  return std::any_of(host.addresses.begin(), host.addresses.end(), by_address) ||
         std::any_of(host.routes.begin(), host.routes.end(), by_route);
}

// The first free range of `prefix_length` bits, starting at one that depends on the service's name,
// so that a service keeps its addresses over restarts.
Result<Cidr> choose_range(const Cidr& pool, int prefix_length, std::uint64_t start,
                          const HostState& host) {
  const int free_bits = std::min(prefix_length - pool.prefix_length, 16);
  const std::uint64_t count = std::uint64_t{1} << free_bits;
  for (std::uint64_t tried = 0; tried < count; ++tried) {
    const std::uint64_t index = (start + tried) % count;
    Cidr range{pool.network().address, prefix_length};
    if (pool.address.family == Family::V4) {
      range.address = range.address.plus(index << (32 - prefix_length));
    } else {
      // Sixteen bits just above the range's own host bits.
      const auto byte = static_cast<std::size_t>(prefix_length / 8);
      range.address.bytes[byte - 2] |= static_cast<std::uint8_t>(index >> 8);
      range.address.bytes[byte - 1] |= static_cast<std::uint8_t>(index);
    }
    if (!is_taken(range, pool, host)) return range;
  }
  return fail(
      fmt::format("no free /{} is left in the address pool {} ({} tried, each overlaps an "
                  "address or route of the host); set another [network] pool",
                  prefix_length, pool.text(), count));
}

bool is_uplink(const Interface& item) { return item.is_up && !item.is_loopback && !is_ours(item); }

const Interface* default_interface(const HostState& host) {
  for (const Family family : {Family::V4, Family::V6}) {
    for (const Route& route : host.routes) {
      if (route.destination.prefix_length != 0 || route.destination.address.family != family) {
        continue;
      }
      const Interface* item = find_interface(host, route.interface_index);
      if (item && is_uplink(*item)) return item;
    }
  }
  return nullptr;
}

// That of the default route's interface; without one the smallest of the uplinks.
int choose_mtu(const Wanted& wanted, const HostState& host) {
  if (wanted.mtu != 0) return wanted.mtu;
  if (const Interface* uplink = default_interface(host)) return uplink->mtu;
  int mtu = 0;
  for (const Interface& item : host.interfaces) {
    if (is_uplink(item) && (mtu == 0 || item.mtu < mtu)) mtu = item.mtu;
  }
  return mtu == 0 ? 1500 : mtu;
}

// Interfaces through which IPv6 leaves the host.
std::vector<const Interface*> uplinks6(const HostState& host) {
  std::vector<const Interface*> found;
  for (const Interface& item : host.interfaces) {
    const bool has_route =
        std::any_of(host.routes.begin(), host.routes.end(), [&](const Route& route) {
          return route.interface_index == item.index &&
                 route.destination.address.family == Family::V6 &&
                 !route.destination.address.is_link_local() &&
                 route.destination.address.bytes[0] != 0xff;
        });
    if (has_route && is_uplink(item)) found.push_back(&item);
  }
  return found;
}

Result<void> check_interface_name(const Names& names, const HostState& host) {
  const Interface* item = find_interface(host, names.host_interface);
  if (!item || item->alias == names.interface_alias) return {};
  return fail(
      fmt::format("the interface name {} is taken by '{}'; rename one of the two services",
                  names.host_interface,
                  item->alias.empty() ? "an interface that is not Pillion's" : item->alias));
}

// Sysctl names use "/" as separator when an interface name contains dots ("eth0.100").
std::string interface_sysctl(Family family, std::string_view interface, std::string_view key) {
  return fmt::format("net/{}/conf/{}/{}", family == Family::V4 ? "ipv4" : "ipv6", interface, key);
}

class BridgedPlanner {
 public:
  BridgedPlanner(const Wanted& wanted, const HostState& host)
      : wanted_(wanted), host_(host), names_(names_of(wanted.service)) {}

  Result<Plan> plan() {
    if (auto checked = check_interface_name(names_, host_); !checked) return fail(checked.error());
    if (auto chosen = choose_addresses(); !chosen) return fail(chosen.error());
    fill_facts();
    add_namespace_steps();
    add_host_steps();
    add_forwarding4();
    if (has_ipv6()) add_forwarding6();
    add<LoadRules>(Side::Host, names_.host_table, render_host_rules(wanted_, facts_), "", "");
    add_conntrack_step();
    return Plan{std::move(steps_), std::move(facts_)};
  }

 private:
  template<class T, class... Args>
  void add(Args&&... args) {
    steps_.push_back(T{std::forward<Args>(args)...});
  }
  bool has_ipv6() const { return wanted_.ipv6 && host_.has_ipv6; }

  Result<void> choose_addresses() {
    // The digits of the interface name are a hash of the service's name: a stable start.
    const std::uint64_t start = std::stoull(names_.host_interface.substr(3, 8), nullptr, 16);
    auto range4 = choose_range(wanted_.pool, kPrefixLength4, start, host_);
    if (!range4) return fail(range4.error());
    range4_ = *range4;
    if (!has_ipv6()) return {};
    auto range6 = choose_range(wanted_.pool6, kPrefixLength6, start, host_);
    if (!range6) return fail(range6.error());
    range6_ = *range6;
    return {};
  }

  void fill_facts() {
    facts_.service = wanted_.service;
    facts_.mode = wanted_.mode;
    facts_.netns_path = names_.netns_path;
    facts_.interface = kInnerInterface;
    facts_.gateway4 = range4_.address.plus(1).text();
    facts_.address4 = range4_.address.plus(2).text();
    if (has_ipv6()) {
      facts_.gateway6 = range6_.address.plus(1).text();
      facts_.address6 = range6_.address.plus(2).text();
    }
    facts_.host_interface = names_.host_interface;
    facts_.mtu = choose_mtu(wanted_, host_);
    facts_.host_table = names_.host_table;
    facts_.capture_table = capture_table_of(wanted_);
    facts_.inbound_method = wanted_.intercept.inbound_method;
    facts_.warnings = forward_warnings(host_);
    add_pool_warning();
    facts_.resolv_conf = render_resolv_conf(wanted_.dns, host_.resolv_conf,
                                            host_.upstream_resolv_conf, facts_.warnings);
    facts_.hosts = render_hosts(wanted_, facts_, host_.hosts, HostsReader::Captured);
    facts_.helper_hosts = render_hosts(wanted_, facts_, host_.hosts, HostsReader::Exempt);
    facts_.nsswitch_conf = render_nsswitch_conf(host_.nsswitch_conf);
  }

  void add_pool_warning() {
    for (const Route& route : host_.routes) {
      if (route.destination.prefix_length > 0 && route.destination.overlaps(range4_)) {
        facts_.warnings.push_back(fmt::format(
            "the service's addresses {} hide those of the host's route {}; if that network uses "
            "them, set another [network] pool",
            range4_.text(), route.destination.text()));
      }
    }
  }

  void add_namespace_steps() {
    const std::string inner(kInnerInterface);
    add<PinNamespace>(names_.netns_path);
    add<SetUp>(Side::Inside, "lo");
    if (has_ipv6()) add<AddAddress>(Side::Inside, "lo", *parse_cidr("::6/128"));
    add<CreateVeth>(names_.host_interface, inner, facts_.mtu, names_.interface_alias);
    add<WriteSysctl>(Side::Inside, interface_sysctl(Family::V4, "all", "rp_filter"), "0", false);
    add<WriteSysctl>(Side::Inside, interface_sysctl(Family::V4, inner, "rp_filter"), "2", false);
    if (has_ipv6()) add_quiet_ipv6(Side::Inside, inner);
    add<AddAddress>(Side::Inside, inner, Cidr{range4_.address.plus(2), kPrefixLength4});
    if (has_ipv6()) {
      add<AddAddress>(Side::Inside, inner, Cidr{range6_.address.plus(2), kPrefixLength6});
    }
  }

  // No duplicate address detection (it delays binds) and no listening to router advertisements.
  void add_quiet_ipv6(Side side, const std::string& interface) {
    add<WriteSysctl>(side, interface_sysctl(Family::V6, interface, "accept_dad"), "0", false);
    add<WriteSysctl>(side, interface_sysctl(Family::V6, interface, "accept_ra"), "0", false);
  }

  void add_host_steps() {
    const std::string& host_end = names_.host_interface;
    const std::string inner(kInnerInterface);
    add<WriteSysctl>(Side::Host, interface_sysctl(Family::V4, host_end, "rp_filter"), "2", false);
    if (has_translated_ports(wanted_)) {
      add<WriteSysctl>(Side::Host, interface_sysctl(Family::V4, host_end, "route_localnet"), "1");
    }
    if (has_ipv6()) add_quiet_ipv6(Side::Host, host_end);
    add<AddAddress>(Side::Host, host_end, Cidr{range4_.address.plus(1), kPrefixLength4});
    if (has_ipv6()) {
      add<AddAddress>(Side::Host, host_end, Cidr{range6_.address.plus(1), kPrefixLength6});
    }
    add<SetUp>(Side::Host, host_end);
    add<SetUp>(Side::Inside, inner);
    add<AddRoute>(Side::Inside, *parse_cidr("0.0.0.0/0"), range4_.address.plus(1), inner);
    if (has_ipv6()) {
      add<AddRoute>(Side::Inside, *parse_cidr("::/0"), range6_.address.plus(1), inner);
    }
  }

  void add_forwarding4() {
    if (host_.is_forwarding4) return;
    add<WriteSysctl>(Side::Host, "net/ipv4/ip_forward", "1", true, true);
    facts_.warnings.push_back(
        "net.ipv4.ip_forward was off and is needed to forward the service's packets; it is "
        "switched "
        "on and stays on when the service stops");
  }

  void add_forwarding6() {
    const auto uplinks = uplinks6(host_);
    if (host_.is_forwarding6 || uplinks.empty()) return;
    if (host_.has_force_forwarding) {
      add<WriteSysctl>(
          Side::Host, interface_sysctl(Family::V6, names_.host_interface, "force_forwarding"), "1");
      for (const Interface* uplink : uplinks) {
        add<WriteSysctl>(Side::Host, interface_sysctl(Family::V6, uplink->name, "force_forwarding"),
                         "1", true, true, true);
        facts_.warnings.push_back(fmt::format(
            "net.ipv6.conf.{}.force_forwarding is needed to forward the service's packets; it is "
            "switched on and stays on when the service stops",
            uplink->name));
      }
      return;
    }
    // A forwarding host ignores router advertisements, and so would lose its own default route,
    // unless accept_ra is 2.
    for (const Interface& item : host_.interfaces) {
      if (item.accept_ra != "1" || item.is_loopback || is_ours(item)) continue;
      add<WriteSysctl>(Side::Host, interface_sysctl(Family::V6, item.name, "accept_ra"), "2", false,
                       true);
    }
    add<WriteSysctl>(Side::Host, interface_sysctl(Family::V6, "all", "forwarding"), "1", true,
                     true);
    facts_.warnings.push_back(
        "net.ipv6.conf.all.forwarding was off and is needed to forward the service's packets; it "
        "is "
        "switched on and stays on when the service stops");
  }

  // A UDP flow to a published port that was tracked before the rules existed would go on past them.
  // Other connections of the addresses were forgotten by the remove before.
  void add_conntrack_step() {
    FlushConntrack flush{Side::Host, {range4_.address.plus(2)}, {}};
    if (has_ipv6()) flush.addresses.push_back(range6_.address.plus(2));
    for (const Publish& publish : wanted_.publish) {
      if (publish.is_translated && publish.transport == Transport::Udp) {
        flush.udp_ports.push_back(publish.host_port);
      }
    }
    if (!flush.udp_ports.empty()) steps_.push_back(std::move(flush));
  }

  const Wanted& wanted_;
  const HostState& host_;
  const Names names_;
  Cidr range4_;
  Cidr range6_;
  std::vector<Step> steps_;
  Facts facts_;
};

// Names the setting for what cannot be done in the mode.
Result<void> check_mode(const Wanted& wanted, bool is_initial_namespace) {
  if (wanted.mode == Mode::Sealed && wanted.intercept.backend == Backend::Iptables) {
    return fail(
        "[network] mode = \"sealed\" is built with nftables; remove [network.intercept] backend = "
        "\"iptables\", or use mode = \"bridged\"");
  }
  const bool captures =
      wanted.intercept.inbound || wanted.intercept.outbound || wanted.intercept.dns;
  if (wanted.mode == Mode::Host && is_initial_namespace && captures &&
      wanted.intercept.only_uids.empty()) {
    return fail(
        "[network.intercept] cannot be used with mode = \"host\" in the machine's own network "
        "namespace without a user of the app's own: every program of the machine would be "
        "captured; "
        "set [app] user, or mode = \"bridged\"");
  }
  return {};
}

Plan plan_shared_namespace(const Wanted& wanted, const HostState& host) {
  Plan plan;
  plan.facts.service = wanted.service;
  plan.facts.mode = wanted.mode;
  plan.facts.capture_table = capture_table_of(wanted);
  plan.facts.inbound_method = wanted.intercept.inbound_method;
  // The namespace's own files serve as they are, except where names are added to them.
  if (!wanted.aliases.empty()) {
    plan.facts.hosts = render_hosts(wanted, plan.facts, host.hosts, HostsReader::Captured);
    plan.facts.helper_hosts = render_hosts(wanted, plan.facts, host.hosts, HostsReader::Exempt);
  }
  for (const Publish& publish : wanted.publish) {
    if (!publish.is_translated) continue;
    plan.facts.warnings.push_back(fmt::format(
        "port {} is not translated in mode = \"{}\": the app's own port {} is reachable as it is",
        publish.host_port, mode_text(wanted.mode), publish.port));
  }
  return plan;
}

// One chain of `nft list chains`: "type filter hook forward priority filter; policy drop;".
struct ForwardChain {
  std::string table;  // "ip filter"
  bool drops = false;
};

std::vector<ForwardChain> forward_chains(std::string_view listing) {
  std::vector<ForwardChain> chains;
  std::string table;
  while (!listing.empty()) {
    const auto end = std::min(listing.find('\n'), listing.size());
    std::string_view line = listing.substr(0, end);
    listing.remove_prefix(std::min(end + 1, listing.size()));
    if (line.starts_with("table ")) {
      line.remove_prefix(6);
      table = line.substr(0, line.find(" {"));
    } else if (line.find("hook forward") != std::string_view::npos) {
      chains.push_back({table, line.find("policy drop") != std::string_view::npos});
    }
  }
  return chains;
}

std::string_view firewall_of(const std::string& table, std::string_view listing) {
  if (table == "inet firewalld") return "firewalld";
  if (!table.ends_with(" filter")) return "";
  if (listing.find("chain DOCKER-USER") != std::string_view::npos) return "docker";
  if (listing.find("chain ufw-user-forward") != std::string_view::npos ||
      listing.find("chain ufw6-user-forward") != std::string_view::npos) {
    return "ufw";
  }
  return "";
}

std::string_view remedy_of(std::string_view firewall) {
  if (firewall == "docker") {
    return "allow it with: iptables -I DOCKER-USER -i 'pil+' -j ACCEPT; "
           "iptables -I DOCKER-USER -o 'pil+' -j ACCEPT";
  }
  if (firewall == "ufw") return "allow it with: ufw route allow in on INTERFACE";
  if (firewall == "firewalld") {
    return "allow it with: firewall-cmd --zone=trusted --add-interface=INTERFACE";
  }
  return "allow forwarding from and to the interface there";
}

struct Describer {
  static std::string_view where(Side side) { return side == Side::Host ? "host" : "service"; }

  std::string operator()(const PinNamespace& step) const {
    return fmt::format("create network namespace {}", step.path);
  }
  std::string operator()(const CreateVeth& step) const {
    return fmt::format("create veth {} <-> {} (mtu {})", step.host_name, step.inner_name, step.mtu);
  }
  std::string operator()(const AddAddress& step) const {
    return fmt::format("add address {} to {} ({})", step.cidr.text(), step.interface,
                       where(step.side));
  }
  std::string operator()(const SetUp& step) const {
    return fmt::format("set {} up ({})", step.interface, where(step.side));
  }
  std::string operator()(const AddRoute& step) const {
    return fmt::format("add {}route {}{} dev {}{} table {} ({})", step.is_local ? "local " : "",
                       step.destination.text(),
                       step.gateway ? fmt::format(" via {}", step.gateway->text()) : "",
                       step.interface, step.source ? " src " + step.source->text() : "", step.table,
                       where(step.side));
  }
  std::string operator()(const AddMarkRule& step) const {
    return fmt::format("add {} rule fwmark {} lookup {} ({})",
                       step.family == Family::V4 ? "IPv4" : "IPv6", step.mark, step.table,
                       where(step.side));
  }
  std::string operator()(const WriteSysctl& step) const {
    std::string name = step.name;  // shown as sysctl(8) does: net.ipv4.conf.eth0/100.rp_filter
    for (char& c : name) c = c == '/' ? '.' : c == '.' ? '/' : c;
    return fmt::format("set {} = {} ({})", name, step.value, where(step.side));
  }
  std::string operator()(const LoadRules& step) const {
    return fmt::format("load nftables table inet {} ({})", step.table, where(step.side));
  }
  std::string operator()(const LoadIptables& step) const {
    return fmt::format("load iptables chains of {} ({})", step.wanted.service, where(step.side));
  }
  std::string operator()(const FlushConntrack& step) const {
    std::vector<std::string> texts;
    for (const Address& address : step.addresses) texts.push_back(address.text());
    for (const std::uint16_t port : step.udp_ports) texts.push_back(fmt::format("udp {}", port));
    return fmt::format("forget tracked connections of {} ({})", fmt::join(texts, ", "),
                       where(step.side));
  }
};

}  // namespace

std::string describe(const Step& step) { return std::visit(Describer{}, step); }

Result<Plan> plan_create(const Wanted& wanted, const HostState& host) {
  if (auto checked = check_mode(wanted, host.is_initial_namespace); !checked) {
    return fail(checked.error());
  }
  if (wanted.mode == Mode::Bridged) return BridgedPlanner(wanted, host).plan();
  if (wanted.mode == Mode::Sealed) return plan_sealed(wanted, host);
  return plan_shared_namespace(wanted, host);
}

Result<std::vector<Step>> plan_capture(const Wanted& wanted, bool is_initial_namespace) {
  if (auto checked = check_mode(wanted, is_initial_namespace); !checked) {
    return fail(checked.error());
  }
  if (wanted.mode == Mode::Sealed) return plan_sealed_capture(wanted);
  std::vector<Step> steps;
  if (wanted.intercept.backend == Backend::Iptables) {
    steps.push_back(LoadIptables{Side::Inside, wanted});
  } else {
    steps.push_back(
        LoadRules{Side::Inside, capture_table_of(wanted), render_capture_rules(wanted), "", ""});
  }
  // A half-closed connection must outlive the 60 seconds after which the translation is forgotten.
  // The setting exists once connection tracking is in use.
  steps.push_back(WriteSysctl{Side::Inside, "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
                              "3600", false, false});
  return steps;
}

std::vector<std::string> forward_warnings(const HostState& host) {
  std::vector<std::string> warnings;
  for (const ForwardChain& chain : forward_chains(host.chains)) {
    const std::string_view firewall = firewall_of(chain.table, host.chains);
    if (!chain.drops && firewall != "firewalld") continue;
    warnings.push_back(fmt::format(
        "{} drops forwarded packets (table {}), so the service may not reach other machines; {}",
        firewall.empty() ? "a firewall" : firewall, chain.table, remedy_of(firewall)));
  }
  if (host.legacy_tables.find("filter") != std::string::npos) {
    warnings.push_back(
        "legacy iptables has a filter table whose FORWARD policy is not visible here; if the "
        "service "
        "cannot reach other machines, look at: iptables-legacy -S FORWARD");
  }
  return warnings;
}

}  // namespace pillion::netns
