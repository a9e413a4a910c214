// Sources: flags of istio-iptables (tools/istio-iptables/pkg/cmd), annotations of
// istio.io/docs/reference/config/annotations.
#include "netns/pod_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace pillion::netns {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> words_of(std::string_view list) {
  std::vector<std::string_view> words;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view word = trimmed(list.substr(0, comma));
    if (!word.empty()) words.push_back(word);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return words;
}

template<class Integer>
bool parse_number(std::string_view text, Integer& value, std::uint64_t least, std::uint64_t most) {
  std::uint64_t number = 0;
  const auto end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc{} || parsed.ptr != end || number < least || number > most)
    return false;
  value = static_cast<Integer>(number);
  return true;
}

bool parse_port(std::string_view text, std::uint16_t& port) {
  return parse_number(text, port, 1, 65535);
}

bool parse_range(std::string_view text, PortRange& range) {
  const std::size_t dash = text.find_first_of("-:");
  if (dash == text.npos) return parse_port(text, range.first) && (range.last = range.first, true);
  return parse_port(text.substr(0, dash), range.first) &&
         parse_port(text.substr(dash + 1), range.last) && range.first <= range.last;
}

bool parse_id(std::string_view text, std::uint32_t& id) {
  return parse_number(text, id, 0, 0xfffffffe);
}

bool parse_range_of_addresses(std::string_view text, Cidr& cidr) {
  auto parsed = parse_cidr(text);
  if (parsed) cidr = *parsed;
  return parsed.has_value();
}

bool parse_interface(std::string_view text, std::string& name) {
  name = text;
  return is_interface_name(text);
}

// Collects the first error of all options.
class Converter {
 public:
  template<class Item>
  void list(std::string_view option, const std::string& text,
            bool (*parse)(std::string_view, Item&), std::string_view rule,
            std::vector<Item>& items) {
    for (const std::string_view word : words_of(text)) {
      Item item{};
      if (!parse(word, item)) return complain(option, word, rule);
      items.push_back(std::move(item));
    }
  }
  void port(std::string_view option, const std::string& text, std::uint16_t& value) {
    if (!text.empty() && !parse_port(text, value)) complain(option, text, "a port from 1 to 65535");
  }
  void complain(std::string_view option, std::string_view word, std::string_view rule) {
    if (!error_) error_ = Error(fmt::format("{}: '{}' is not {}", option, word, rule));
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  std::optional<Error> error_;
};

constexpr std::string_view kPorts = "a port (80) or a range of ports (8000-8010)";
constexpr std::string_view kId = "a number; users and groups are told by number";

void convert_inbound(const PodOptions& options, Converter& converter, Intercept& intercept) {
  // As Istio: "*" is every port, an empty list none.
  intercept.all_inbound_ports = trimmed(options.inbound_ports) == "*";
  if (!intercept.all_inbound_ports) {
    converter.list("--inbound-ports", options.inbound_ports, parse_port, "a port, or * for all",
                   intercept.inbound_ports);
  }
  converter.list("--exclude-inbound-ports", options.exclude_inbound_ports, parse_port, "a port",
                 intercept.exclude_inbound_ports);
  const std::string& mode = options.inbound_mode;
  if (mode == "TPROXY" || mode == "tproxy") {
    intercept.inbound_method = InboundMethod::Tproxy;
  } else if (mode == "REDIRECT" || mode == "redirect") {
    intercept.inbound_method = InboundMethod::Redirect;
  } else if (mode == "NONE" || mode == "none") {
    intercept.inbound = false;
    intercept.outbound = false;
  } else if (!mode.empty() && mode != "auto") {
    converter.complain("--inbound-interception-mode", mode, "REDIRECT, TPROXY, NONE or auto");
  }
}

void convert_outbound(const PodOptions& options, Converter& converter, Intercept& intercept) {
  constexpr std::string_view kCidr = "a network such as 10.0.0.0/8, or * for all";
  // As Istio: "*" or nothing is everything.
  if (trimmed(options.outbound_cidrs) != "*") {
    converter.list("--outbound-cidrs", options.outbound_cidrs, parse_range_of_addresses, kCidr,
                   intercept.include_outbound_cidrs);
  }
  converter.list("--exclude-outbound-cidrs", options.exclude_outbound_cidrs,
                 parse_range_of_addresses, "a network such as 10.0.0.0/8",
                 intercept.exclude_outbound_cidrs);
  if (trimmed(options.outbound_ports) != "*") {
    converter.list("--outbound-ports", options.outbound_ports, parse_range, kPorts,
                   intercept.include_outbound_ports);
  }
  converter.list("--exclude-outbound-ports", options.exclude_outbound_ports, parse_range, kPorts,
                 intercept.exclude_outbound_ports);
}

void convert_owners(const PodOptions& options, Converter& converter, Intercept& intercept) {
  std::vector<std::uint32_t> proxies;
  converter.list("--proxy-uid", options.proxy_uids, parse_id, kId, proxies);
  if (!proxies.empty()) {
    intercept.proxy_uid = proxies.front();
    intercept.exempt_uids.assign(proxies.begin() + 1, proxies.end());
  }
  converter.list("--proxy-gid", options.proxy_gids, parse_id, kId, intercept.exempt_gids);
  converter.list("--exclude-outbound-owner-groups", options.exclude_outbound_owner_groups, parse_id,
                 kId, intercept.exempt_gids);
  converter.list("--only-uids", options.only_owner_uids, parse_id, kId, intercept.only_uids);
  if (trimmed(options.outbound_owner_groups) != "*") {
    converter.list("--outbound-owner-groups", options.outbound_owner_groups, parse_id, kId,
                   intercept.only_gids);
  }
}

void convert_backend(const PodOptions& options, Converter& converter, Intercept& intercept) {
  if (options.backend == "nftables") intercept.backend = Backend::Nftables;
  if (options.backend == "iptables") intercept.backend = Backend::Iptables;
  const bool is_known =
      options.backend.empty() || options.backend == "auto" || intercept.backend != Backend::Auto;
  if (!is_known) converter.complain("--backend", options.backend, "auto, nftables or iptables");
}

// A Go string literal, as the downward API writes values; without quotes it is taken as it is.
std::string unquoted(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::string(text);
  std::string plain;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size()) ++i;
    plain += text[i];
  }
  return plain;
}

constexpr std::pair<std::string_view, std::string PodOptions::*> kAnnotations[] = {
    {"sidecar.istio.io/interceptionMode", &PodOptions::inbound_mode},
    {"traffic.sidecar.istio.io/includeInboundPorts", &PodOptions::inbound_ports},
    {"traffic.sidecar.istio.io/excludeInboundPorts", &PodOptions::exclude_inbound_ports},
    {"traffic.sidecar.istio.io/includeOutboundPorts", &PodOptions::outbound_ports},
    {"traffic.sidecar.istio.io/excludeOutboundPorts", &PodOptions::exclude_outbound_ports},
    {"traffic.sidecar.istio.io/includeOutboundIPRanges", &PodOptions::outbound_cidrs},
    {"traffic.sidecar.istio.io/excludeOutboundIPRanges", &PodOptions::exclude_outbound_cidrs},
    {"traffic.sidecar.istio.io/excludeInterfaces", &PodOptions::exclude_interfaces},
};

// Traffic of nested virtual machines and docker bridges in the Pod: 15001 is bound to loopback
// only, where a redirection of forwarded packets cannot lead.
bool is_unsupported_annotation(std::string_view key) {
  return key == "traffic.sidecar.istio.io/kubevirtInterfaces" ||
         key == "istio.io/reroute-virtual-interfaces";
}

}  // namespace

Result<void> read_annotations(std::string_view text, PodOptions& options) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = line.find('=');
    if (equals == line.npos) continue;
    const std::string_view key = trimmed(line.substr(0, equals));
    const std::string value = unquoted(trimmed(line.substr(equals + 1)));
    if (is_unsupported_annotation(key) && !value.empty()) {
      return fail(
          fmt::format("the annotation {} has no counterpart: connections that are forwarded "
                      "through the Pod are "
                      "not captured; remove it, or capture inside the guest",
                      key));
    }
    for (const auto& [name, member] : kAnnotations) {
      if (key == name && (options.*member).empty()) options.*member = value;
    }
  }
  return {};
}

Result<Wanted> wanted_from_pod_options(const PodOptions& options) {
  // The document's reader knows what a name may be.
  auto wanted = parse_wanted(fmt::format("{{\"service\": \"{}\"}}", options.name));
  if (!wanted) return fail("--name: must be a-z, 0-9 and -, at most 63 characters");
  wanted->mode = options.namespace_path.empty() ? Mode::Host : Mode::Join;
  wanted->join = options.namespace_path;
  Converter converter;
  Intercept& intercept = wanted->intercept;
  converter.port("--outbound-port", options.outbound_port, intercept.outbound_port);
  converter.port("--inbound-capture-port", options.inbound_capture_port, intercept.inbound_port);
  convert_inbound(options, converter, intercept);
  convert_outbound(options, converter, intercept);
  convert_owners(options, converter, intercept);
  convert_backend(options, converter, intercept);
  converter.list("--exclude-interfaces", options.exclude_interfaces, parse_interface,
                 "the name of a network interface", intercept.exclude_interfaces);
  intercept.dns = options.redirect_dns;
  if (converter.error()) return fail(*converter.error());
  return wanted;
}

}  // namespace pillion::netns
