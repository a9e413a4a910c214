#include "netns/name_files.h"

#include <fmt/format.h>

#include <algorithm>

namespace pillion::netns {
namespace {

std::vector<std::string> words_of(std::string_view line) {
  line = line.substr(0, line.find_first_of("#;"));
  std::vector<std::string> words;
  for (std::size_t at = 0;;) {
    at = line.find_first_not_of(" \t\r", at);
    if (at == std::string_view::npos) return words;
    const auto end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.emplace_back(line.substr(at, end - at));
    at = end;
  }
}

std::vector<std::vector<std::string>> lines_of(std::string_view text) {
  std::vector<std::vector<std::string>> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto words = words_of(text.substr(0, end));
    if (words.size() >= 2) lines.push_back(std::move(words));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

Dns parse_resolv_conf(std::string_view text) {
  Dns dns;
  for (const auto& words : lines_of(text)) {
    const std::vector<std::string> values(words.begin() + 1, words.end());
    if (words[0] == "nameserver") dns.nameservers.push_back(values[0]);
    if (words[0] == "search" || words[0] == "domain") dns.search = values;
    if (words[0] == "options") {
      dns.options.insert(dns.options.end(), values.begin(), values.end());
    }
  }
  return dns;
}

bool is_reachable_inside(const std::string& server) {
  auto address = parse_address(server);  // an address with a zone ("%eth0") does not parse
  return address && !address->is_loopback() && !address->is_link_local();
}

std::vector<std::string> reachable(const std::vector<std::string>& servers) {
  std::vector<std::string> kept;
  std::copy_if(servers.begin(), servers.end(), std::back_inserter(kept), is_reachable_inside);
  return kept;
}

std::vector<std::string> choose_servers(const Dns& host, const Dns& upstream,
                                        std::vector<std::string>& warnings) {
  auto servers = reachable(host.nameservers);
  if (servers.empty()) servers = reachable(upstream.nameservers);
  if (servers.empty()) {
    warnings.push_back(
        "the host's resolv.conf names no DNS server that can be reached from the service's "
        "namespace (loopback and link-local ones cannot); set [network.dns] nameservers");
  }
  return servers;
}

bool is_virtual(const std::string& address) {
  auto parsed = parse_address(address);
  return parsed && virtual_addresses().contains(*parsed);
}

void append_host_entries(std::string& out, std::string_view host_text,
                         const std::vector<std::string>& taken_names) {
  for (const auto& words : lines_of(host_text)) {
    auto address = parse_address(words[0]);
    if (!address || address->is_link_local()) continue;
    std::string names;
    for (auto name = words.begin() + 1; name != words.end(); ++name) {
      const bool is_taken =
          std::find(taken_names.begin(), taken_names.end(), *name) != taken_names.end();
      if (!is_taken) names += " " + *name;
    }
    if (!names.empty()) out += words[0] + names + "\n";
  }
}

}  // namespace

std::string render_resolv_conf(const Dns& dns, std::string_view host_text,
                               std::string_view upstream_text, std::vector<std::string>& warnings) {
  const Dns host = parse_resolv_conf(host_text);
  Dns chosen = dns;
  if (chosen.nameservers.empty()) {
    chosen.nameservers = choose_servers(host, parse_resolv_conf(upstream_text), warnings);
  }
  if (chosen.search.empty()) chosen.search = host.search;
  if (chosen.options.empty()) chosen.options = host.options;
  std::string text = "# Written by Pillion for one service\n";
  for (const std::string& server : chosen.nameservers) text += "nameserver " + server + "\n";
  if (!chosen.search.empty()) text += fmt::format("search {}\n", fmt::join(chosen.search, " "));
  if (!chosen.options.empty()) text += fmt::format("options {}\n", fmt::join(chosen.options, " "));
  return text;
}

std::string render_hosts(const Wanted& wanted, const Facts& facts, std::string_view host_text,
                         HostsReader reader) {
  std::string text =
      "# Written by Pillion for one service\n"
      "127.0.0.1 localhost\n"
      "::1 localhost ip6-localhost ip6-loopback\n";
  std::vector<std::string> names = {"localhost", "ip6-localhost", "ip6-loopback"};
  const auto add = [&](const std::string& address, const std::vector<std::string>& added) {
    if (address.empty() || added.empty()) return;
    text += fmt::format("{} {}\n", address, fmt::join(added, " "));
    names.insert(names.end(), added.begin(), added.end());
  };
  add(facts.address4, {wanted.service});
  add(facts.address6, {wanted.service});
  // One family only: a captured connection is always accepted, by the proxy, so an app that tries
  // IPv6 first would never fall back to IPv4, where most services of a host listen.
  add(facts.gateway4.empty() ? facts.gateway6 : facts.gateway4, {"host.pillion.internal"});
  for (const HostAlias& alias : wanted.aliases) {
    if (reader == HostsReader::Exempt && is_virtual(alias.address)) continue;
    add(alias.address, alias.names);
  }
  append_host_entries(text, host_text, names);
  return text;
}

std::string render_nsswitch_conf(std::string_view host_text) {
  std::string text = "# Written by Pillion for one service\nhosts: files dns\n";
  for (const auto& words : lines_of(host_text)) {
    if (words[0] != "hosts:") text += fmt::format("{}\n", fmt::join(words, " "));
  }
  return text;
}

}  // namespace pillion::netns
