// Chains, for a service whose hash is 1a2b3c4d:
//   mangle PREROUTING -> _PKT  invalid packets; TPROXY
//   nat    PREROUTING -> _IN   declared ports to 15006
//   nat    OUTPUT     -> _OUT  exemptions -> _CAP excluded destinations -> _PRT included ports
//                              -> _NET included networks -> 15001
//   raw    OUTPUT     -> _ZO, PREROUTING -> _ZI  conntrack zones of DNS capture
// A list in one nftables rule becomes a rule for each element; "not in the list" becomes an inner
// chain that only the elements of the list enter.
#include "netns/iptables_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "netns/rules.h"

namespace pillion::netns {
namespace {

std::string prefix_of(std::string_view service) {
  return "PIL" + names_of(service).host_interface.substr(3, 8);
}

bool has_line(std::string_view text, std::string_view line) {
  for (std::size_t at = text.find(line); at != text.npos; at = text.find(line, at + 1)) {
    const bool starts = at == 0 || text[at - 1] == '\n';
    const std::size_t end = at + line.size();
    if (starts && (end == text.size() || text[end] == '\n' || text[end] == ' ')) return true;
  }
  return false;
}

// The part of an iptables-save listing that is about one table.
std::string_view section_of(std::string_view listing, std::string_view table) {
  const std::string head = fmt::format("*{}\n", table);
  std::size_t at = listing.starts_with(head) ? 0 : listing.find("\n" + head);
  if (at == listing.npos) return {};
  const std::size_t end = listing.find("\nCOMMIT", at);
  return listing.substr(at, end == listing.npos ? listing.npos : end - at + 1);
}

std::string port_text(const PortRange& range) {
  return range.first == range.last ? fmt::format("{}", range.first)
                                   : fmt::format("{}:{}", range.first, range.last);
}

class Writer {
 public:
  Writer(const Wanted& wanted, Family family, std::string_view existing)
      : intercept_(wanted.intercept),
        service_(wanted.service),
        prefix_(prefix_of(wanted.service)),
        family_(family),
        existing_(existing) {}

  std::string write(const std::vector<std::string>& tables) {
    for (const std::string& table : tables) {
      begin(table);
      if (table == "mangle") write_packets();
      if (table == "nat") write_nat();
      if (table == "raw") write_zones();
      text_ += "COMMIT\n";
    }
    return std::move(text_);
  }

 private:
  // Naming a chain empties it; jumps are added where they are missing, at the front, so that no
  // other program's rule decides before ours.
  void begin(const std::string& table) {
    text_ += fmt::format("*{}\n", table);
    const std::string_view section = section_of(existing_, table);
    const auto chains = iptables_chains(service_);
    for (const OwnChain& chain : chains) {
      if (chain.table == table) text_ += fmt::format(":{} - [0:0]\n", chain.name);
    }
    for (const OwnChain& chain : chains) {
      if (chain.table != table || chain.hook.empty()) continue;
      if (has_line(section, fmt::format("-A {} -j {}", chain.hook, chain.name))) continue;
      text_ += fmt::format("-I {} 1 -j {}\n", chain.hook, chain.name);
    }
  }

  template<class... Args>
  void rule(std::string_view chain, fmt::format_string<Args...> format, Args&&... args) {
    text_ += fmt::format("-A {}_{} {}\n", prefix_, chain,
                         fmt::format(format, std::forward<Args>(args)...));
  }
  bool is_v4() const { return family_ == Family::V4; }
  std::string_view loopback() const { return is_v4() ? "127.0.0.0/8" : "::1/128"; }

  // One match for each captured inbound port, or one for all of them.
  std::vector<std::string> inbound_matches() const {
    if (intercept_.all_inbound_ports) return {"-p tcp"};
    std::vector<std::string> matches;
    for (const std::uint16_t port : captured_inbound_ports(intercept_)) {
      matches.push_back(fmt::format("-p tcp --dport {}", port));
    }
    return matches;
  }
  void write_inbound_exemptions(std::string_view chain) {
    for (const std::string& name : intercept_.exclude_interfaces) {
      rule(chain, "-i {} -j RETURN", name);
    }
    if (!intercept_.all_inbound_ports) return;
    for (const std::uint16_t port : uncaptured_inbound_ports(intercept_)) {
      rule(chain, "-p tcp --dport {} -j RETURN", port);
    }
  }

  void write_packets() {
    rule("PKT", "-p tcp -m conntrack --ctstate INVALID -j DROP");
    if (!captures_inbound(intercept_) || intercept_.inbound_method != InboundMethod::Tproxy) return;
    write_inbound_exemptions("PKT");
    for (const std::string& match : inbound_matches()) {
      rule("PKT", "! -i lo {} -m addrtype --dst-type LOCAL -j TPROXY --on-port {}", match,
           intercept_.inbound_port);
    }
  }

  void write_nat() {
    if (captures_inbound(intercept_) && intercept_.inbound_method != InboundMethod::Tproxy) {
      write_inbound_exemptions("IN");
      for (const std::string& match : inbound_matches()) {
        rule("IN", "{} -m addrtype --dst-type LOCAL -j REDIRECT --to-ports {}", match,
             intercept_.inbound_port);
      }
    }
    if (!intercept_.outbound && !intercept_.dns) return;
    write_outbound_exemptions();
    write_outbound();
  }

  void write_calls_to_self() {
    if (!captures_inbound(intercept_)) return;
    const std::string proxy =
        fmt::format("-m owner --uid-owner {} -o lo ! -d {}", intercept_.proxy_uid, loopback());
    if (intercept_.all_inbound_ports) {
      for (const std::uint16_t port : uncaptured_inbound_ports(intercept_)) {
        rule("OUT", "{} -p tcp --dport {} -j RETURN", proxy, port);
      }
    }
    for (const std::string& match : inbound_matches()) {
      rule("OUT", "{} {} -j REDIRECT --to-ports {}", proxy, match, intercept_.inbound_port);
    }
  }

  void write_outbound_exemptions() {
    rule("OUT", "-o lo -s {} -j RETURN", is_v4() ? "127.0.0.6/32" : "::6/128");
    write_calls_to_self();
    rule("OUT", "-m owner --uid-owner {} -j RETURN", intercept_.proxy_uid);
    for (const std::uint32_t uid : intercept_.exempt_uids) {
      rule("OUT", "-m owner --uid-owner {} -j RETURN", uid);
    }
    for (const std::uint32_t gid : intercept_.exempt_gids) {
      rule("OUT", "-m owner --gid-owner {} -j RETURN", gid);
    }
    for (const std::string& name : intercept_.exclude_interfaces) {
      rule("OUT", "-o {} -j RETURN", name);
    }
    write_entries_to_capture();
  }

  void write_entries_to_capture() {
    std::vector<std::string> users = {""};
    if (!intercept_.only_uids.empty()) users.clear();
    for (const std::uint32_t uid : intercept_.only_uids) {
      users.push_back(fmt::format("-m owner --uid-owner {} ", uid));
    }
    std::vector<std::string> groups = {""};
    if (!intercept_.only_gids.empty()) groups.clear();
    for (const std::uint32_t gid : intercept_.only_gids) {
      groups.push_back(fmt::format("-m owner --gid-owner {} ", gid));
    }
    for (const std::string& user : users) {
      for (const std::string& group : groups) rule("OUT", "{}{}-j {}_CAP", user, group, prefix_);
    }
  }

  void write_outbound() {
    if (intercept_.dns) {
      rule("CAP", "-p udp --dport 53 -j REDIRECT --to-ports {}", intercept_.dns_port);
      rule("CAP", "-p tcp --dport 53 -j REDIRECT --to-ports {}", intercept_.dns_port);
    }
    if (!intercept_.outbound) return;
    rule("CAP", "! -p tcp -j RETURN");
    rule("CAP", "-o lo -j RETURN");
    if (!intercept_.dns) rule("CAP", "-p tcp --dport 53 -j RETURN");
    for (const PortRange& range : intercept_.exclude_outbound_ports) {
      rule("CAP", "-p tcp --dport {} -j RETURN", port_text(range));
    }
    for (const Cidr& cidr : intercept_.exclude_outbound_cidrs) {
      if (cidr.address.family == family_) rule("CAP", "-d {} -j RETURN", cidr.network().text());
    }
    if (intercept_.include_outbound_ports.empty()) rule("CAP", "-p tcp -j {}_PRT", prefix_);
    for (const PortRange& range : intercept_.include_outbound_ports) {
      rule("CAP", "-p tcp --dport {} -j {}_PRT", port_text(range), prefix_);
    }
    write_included_networks();
  }

  void write_included_networks() {
    if (intercept_.include_outbound_cidrs.empty()) rule("PRT", "-j {}_NET", prefix_);
    for (const Cidr& cidr : intercept_.include_outbound_cidrs) {
      if (cidr.address.family == family_) {
        rule("PRT", "-d {} -j {}_NET", cidr.network().text(), prefix_);
      }
    }
    rule("NET", "-p tcp -j REDIRECT --to-ports {}", intercept_.outbound_port);
  }

  // See add_dns_zones() in rules.cc.
  void write_zones() {
    rule("ZO", "-p udp --dport 53 -m owner --uid-owner {} -j CT --zone 1", intercept_.proxy_uid);
    rule("ZO", "-p udp --sport {} -j CT --zone 2", intercept_.dns_port);
    rule("ZO", "-p udp --dport 53 -m owner ! --uid-owner {} -j CT --zone 2", intercept_.proxy_uid);
    rule("ZI", "! -i lo -p udp --sport 53 -j CT --zone 1");
  }

  const Intercept& intercept_;
  std::string service_;
  std::string prefix_;
  Family family_;
  std::string_view existing_;
  std::string text_;
};

bool is_unused(std::string_view section) {
  while (!section.empty()) {
    const std::size_t end = std::min(section.find('\n'), section.size());
    const std::string_view line = section.substr(0, end);
    section.remove_prefix(std::min(end + 1, section.size()));
    if (line.starts_with("-") || line.starts_with("[")) return false;
    // ":INPUT ACCEPT [0:0]"; a chain of somebody's has "-" in place of the policy.
    if (line.starts_with(":") && line.find(" ACCEPT ") == line.npos) return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> unused_iptables_tables(std::string_view listing) {
  std::vector<std::string> unused;
  for (const char* table : {"mangle", "nat", "raw"}) {
    const std::string_view section = section_of(listing, table);
    if (!section.empty() && is_unused(section)) unused.emplace_back(table);
  }
  return unused;
}

std::vector<OwnChain> iptables_chains(std::string_view service) {
  const std::string prefix = prefix_of(service);
  return {{"mangle", prefix + "_PKT", "PREROUTING"},
          {"nat", prefix + "_IN", "PREROUTING"},
          {"nat", prefix + "_OUT", "OUTPUT"},
          {"nat", prefix + "_CAP", ""},
          {"nat", prefix + "_PRT", ""},
          {"nat", prefix + "_NET", ""},
          {"raw", prefix + "_ZO", "OUTPUT"},
          {"raw", prefix + "_ZI", "PREROUTING"}};
}

std::vector<std::string> iptables_tables(const Wanted& wanted) {
  std::vector<std::string> tables = {"mangle", "nat"};
  if (wanted.intercept.dns) tables.emplace_back("raw");
  return tables;
}

std::string render_iptables_capture(const Wanted& wanted, Family family,
                                    std::string_view existing) {
  return Writer(wanted, family, existing).write(iptables_tables(wanted));
}

std::string render_iptables_restoration(std::string_view service, std::string_view existing) {
  std::string text;
  for (const std::string_view table : {"mangle", "nat", "raw"}) {
    std::string_view section = section_of(existing, table);
    std::string chains;
    std::string jumps;
    for (const OwnChain& chain : iptables_chains(service)) {
      if (chain.table != table || !has_line(section, ":" + chain.name)) continue;
      chains += fmt::format(":{} - [0:0]\n", chain.name);
      if (!chain.hook.empty()) jumps += fmt::format("-I {} 1 -j {}\n", chain.hook, chain.name);
    }
    if (chains.empty()) continue;
    text += fmt::format("*{}\n{}{}", table, chains, jumps);
    const std::string own = "-A " + prefix_of(service) + "_";
    while (!section.empty()) {
      const std::size_t end = std::min(section.find('\n'), section.size());
      if (section.starts_with(own)) text += fmt::format("{}\n", section.substr(0, end));
      section.remove_prefix(std::min(end + 1, section.size()));
    }
    text += "COMMIT\n";
  }
  return text;
}

std::string render_iptables_removal(std::string_view service, std::string_view existing) {
  std::string text;
  for (const std::string_view table : {"mangle", "nat", "raw"}) {
    const std::string_view section = section_of(existing, table);
    std::string jumps;
    std::string flushes;
    std::string deletions;
    for (const OwnChain& chain : iptables_chains(service)) {
      if (chain.table != table || !has_line(section, ":" + chain.name)) continue;
      if (has_line(section, fmt::format("-A {} -j {}", chain.hook, chain.name))) {
        jumps += fmt::format("-D {} -j {}\n", chain.hook, chain.name);
      }
      flushes += fmt::format("-F {}\n", chain.name);
      deletions += fmt::format("-X {}\n", chain.name);
    }
    if (!flushes.empty()) {
      text += fmt::format("*{}\n{}{}{}COMMIT\n", table, jumps, flushes, deletions);
    }
  }
  return text;
}

}  // namespace pillion::netns
