#include "netns/doctor.h"

#include <dirent.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <set>
#include <sstream>

#include "netns/apply.h"
#include "netns/choose_capture.h"
#include "netns/conntrack.h"
#include "netns/fault.h"
#include "netns/inspect.h"
#include "netns/iptables_rules.h"
#include "netns/namespace.h"
#include "netns/nft_chains.h"
#include "netns/plan.h"
#include "netns/rtnetlink.h"
#include "netns/rules.h"
#include "netns/sysctl.h"
#include "netns/trial.h"
#include "runtime/fd.h"

namespace pillion::netns {
namespace {

std::uint64_t number_of(const std::string& text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// The sum of the column `drop` over all CPUs (hexadecimal, with a heading).
std::uint64_t dropped_by_conntrack() {
  auto text = read_file("/proc/net/stat/nf_conntrack");
  if (!text) return 0;
  std::istringstream lines(*text);
  std::string line;
  std::getline(lines, line);
  std::istringstream heading(line);
  int column = -1;
  int index = 0;
  for (std::string word; heading >> word; ++index) {
    if (word == "drop") column = index;
  }
  std::uint64_t sum = 0;
  while (column >= 0 && std::getline(lines, line)) {
    std::istringstream words(line);
    std::string word;
    for (int i = 0; i <= column; ++i) words >> word;
    std::uint64_t number = 0;
    std::from_chars(word.data(), word.data() + word.size(), number, 16);
    sum += number;
  }
  return sum;
}

// The same way that is in force, with the present configuration.
std::string expected_rules(const Wanted& wanted, const std::string& found) {
  if (wanted.mode == Mode::Sealed || found.empty()) return "";
  const bool is_nft = found.starts_with("table ");
  CaptureFacts choice;
  choice.backend = is_nft ? Backend::Nftables : Backend::Iptables;
  const bool is_tproxy = found.find(is_nft ? " tproxy " : "-j TPROXY") != std::string::npos;
  choice.inbound_method = is_tproxy ? InboundMethod::Tproxy : InboundMethod::Redirect;
  const Wanted chosen = with_choice(wanted, choice);
  if (is_nft) return render_capture_rules(chosen);
  std::string text = render_iptables_capture(chosen, Family::V4, "");
  if (found.find("# IPv6") != std::string::npos) {
    text += render_iptables_capture(chosen, Family::V6, "");
  }
  return text;
}

bool has_address(RouteNetlink& netlink, std::string_view name) {
  auto interfaces = netlink.interfaces();
  auto addresses = netlink.addresses();
  if (!interfaces || !addresses) return true;  // not seen is not missing
  for (const Interface& item : *interfaces) {
    if (item.name != name || !item.is_up) continue;
    return std::any_of(addresses->begin(), addresses->end(), [&](const InterfaceAddress& address) {
      return address.interface_index == item.index && !address.cidr.address.is_link_local();
    });
  }
  return false;
}

bool contains(const std::vector<std::uint32_t>& list, std::uint32_t item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// A user whose connections should be captured: the app's, told by who listens on its port.
std::optional<std::uint32_t> captured_user(const View& view) {
  const Intercept& intercept = view.wanted.intercept;
  if (!intercept.only_uids.empty()) return intercept.only_uids.front();
  const auto is_exempt = [&](std::uint32_t uid) {
    return uid == intercept.proxy_uid || contains(intercept.exempt_uids, uid) ||
           contains(intercept.exempt_gids, uid);
  };
  for (const std::uint32_t uid : view.app_uids) {
    if (!is_exempt(uid)) return uid;
  }
  for (const TcpSocket& socket : view.sockets.value_or(std::vector<TcpSocket>{})) {
    const auto ports = captured_inbound_ports(intercept);
    const bool is_app = std::find(ports.begin(), ports.end(), socket.local_port) != ports.end();
    if (socket.state == kTcpListen && is_app && !is_exempt(socket.uid)) return socket.uid;
  }
  constexpr std::uint32_t kNobody = 65534;
  return is_exempt(kNobody) ? std::nullopt : std::optional(kNobody);
}

// Nobody is there: the highest address of the virtual ones, and one of the discard prefix
// (RFC 6666). Where only some networks or ports are captured, inside these.
Address trial_address(const Intercept& intercept, Family family) {
  for (const Cidr& cidr : intercept.include_outbound_cidrs) {
    if (cidr.address.family == family) return cidr.network().address.plus(1);
  }
  return *parse_address(family == Family::V4 ? "240.240.255.254" : "100::9");
}

void try_connections(View& view) {
  const Intercept& intercept = view.wanted.intercept;
  const auto user = captured_user(view);
  if (!user) {
    view.connection_problem =
        "no trial connection was made: every user that could make it is exempt";
    return;
  }
  constexpr std::uint16_t kDiscardPort = 9;
  const auto& ports = intercept.include_outbound_ports;
  const std::uint16_t port = ports.empty() ? kDiscardPort : ports.front().first;
  for (const Family family : {Family::V4, Family::V6}) {
    TrialConnection trial;
    trial.family = family;
    const auto packets = [&] {
      auto inspection = inspect_inside(view.wanted);
      return packets_to_port(inspection, intercept.outbound_port);
    };
    trial.packets_before = packets();
    auto outcome = try_connection(trial_address(intercept, family), port, *user);
    if (!outcome) {
      view.connection_problem = outcome.error().message();
      return;
    }
    trial.packets_after = packets();
    trial.has_route = *outcome != TrialOutcome::NoRoute;
    trial.is_accepted = *outcome == TrialOutcome::Accepted;
    view.connections.push_back(trial);
  }
}

void ask_name_servers(View& view, const std::string& resolv_conf) {
  auto text = read_file(resolv_conf);
  if (!text) return;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string keyword;
    std::string server;
    if (!(words >> keyword >> server) || keyword != "nameserver") continue;
    auto address = parse_address(server);
    if (address) view.queries.push_back({server, try_query(*address)});
    if (view.queries.size() == 3) return;  // as many as the resolver library uses
  }
}

void look_inside(View& view, const ExamineOptions& options) {
  const Wanted& wanted = view.wanted;
  if (auto chains = nft_chains(); !chains) view.nftables_problem = chains.error().message();
  if (is_feature_hidden("nftables")) view.nftables_problem = "hidden by PILLION_NETNS_FAULT";
  view.capture_rules = inspect_inside(wanted);
  if (options.knows_configuration) view.expected_rules = expected_rules(wanted, view.capture_rules);
  if (auto netlink = RouteNetlink::open(); netlink && wanted.mode == Mode::Bridged) {
    view.has_inner_interface = has_address(*netlink, kInnerInterface);
  }
  if (auto rewritten = count_rewritten_clients(wanted.intercept.inbound_port)) {
    view.rewritten_clients = *rewritten;
  }
  auto sockets = tcp_sockets(1u << kTcpListen | 1u << kTcpCloseWait);
  if (sockets) view.sockets = std::move(*sockets);
  view.conntrack_count = number_of(read_sysctl("net/netfilter/nf_conntrack_count"));
  view.conntrack_max = number_of(read_sysctl("net/netfilter/nf_conntrack_max"));
  view.conntrack_dropped = dropped_by_conntrack();
  view.close_wait_seconds =
      number_of(read_sysctl("net/netfilter/nf_conntrack_tcp_timeout_close_wait"));
  const bool has_trial = wanted.intercept.outbound && !view.capture_rules.empty();
  if (options.tries_connections && has_trial) {
    try_connections(view);
  } else if (has_trial) {
    view.connection_problem = "no trial connection was made, as asked";
  }
  if (options.asks_name_servers) ask_name_servers(view, options.resolv_conf);
}

void look_at_host(View& view) {
  if (view.wanted.mode != Mode::Bridged) return;
  const Names names = names_of(view.wanted.service);
  view.host_rules = list_table(names.host_table);
  if (auto netlink = RouteNetlink::open()) {
    view.has_host_interface = has_address(*netlink, names.host_interface);
  }
  if (auto host = observe_host()) {
    view.is_forwarding4 = host->is_forwarding4;
    view.warnings = forward_warnings(*host);
  }
}

// "orders" of "pillion-orders"; "" for anything else.
std::string service_of_pin(std::string_view name) {
  constexpr std::string_view kPrefix = "pillion-";
  return name.starts_with(kPrefix) ? std::string(name.substr(kPrefix.size())) : "";
}

// Services with a pinned namespace, and whether a process is in it.
std::vector<std::pair<std::string, bool>> pinned_services() {
  std::vector<std::pair<std::string, bool>> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/run/netns"), ::closedir);
  if (!directory) return found;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string service = service_of_pin(entry->d_name);
    if (service.empty()) continue;
    auto pin = open_namespace_file("/run/netns/" + std::string(entry->d_name));
    found.emplace_back(service, pin && process_in(pin->get()));
  }
  return found;
}

}  // namespace

View examine(const Wanted& wanted, const ExamineOptions& options) {
  View view;
  view.wanted = wanted;
  view.app_uids = options.app_uids;
  look_at_host(view);
  auto inside = open_namespace(wanted);
  if (!inside) {
    view.namespace_problem = "the service has no network: " + inside.error().message();
    return view;
  }
  auto scope = NamespaceScope::enter(inside->get());
  if (!scope) {
    view.namespace_problem = scope.error().message();
    return view;
  }
  look_inside(view, options);
  return view;
}

std::vector<Leftover> find_leftovers(const std::vector<std::string>& running) {
  std::vector<Leftover> leftovers;
  std::set<std::string> used(running.begin(), running.end());
  for (const auto& [service, is_in_use] : pinned_services()) {
    const bool is_used = is_in_use || used.contains(service);
    if (is_used) used.insert(service);
    if (!is_used) leftovers.push_back({service, "namespace " + names_of(service).netns_path});
  }
  auto netlink = RouteNetlink::open();
  auto interfaces = netlink ? netlink->interfaces() : fail(netlink.error());
  if (!interfaces) return leftovers;
  for (const Interface& item : *interfaces) {
    constexpr std::string_view kPrefix = "pillion ";
    if (!item.alias.starts_with(kPrefix)) continue;
    const std::string service = item.alias.substr(kPrefix.size());
    if (!used.contains(service)) leftovers.push_back({service, "interface " + item.name});
  }
  return leftovers;
}

}  // namespace pillion::netns
