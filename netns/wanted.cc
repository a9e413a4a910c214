#include "netns/wanted.h"

#include <fmt/format.h>

#include <algorithm>

namespace pillion::netns {
namespace {

// FNV-1a: stable over releases, because it names interfaces that a later release must find.
std::uint32_t hash_of(std::string_view text) {
  std::uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619u;
  return hash;
}

}  // namespace

Wanted::Wanted() : pool(*parse_cidr("10.213.0.0/16")), pool6(*parse_cidr("fd70:696c:6c69::/48")) {}

Address virtual_address(std::size_t upstream_index) {
  PILLION_ASSERT(upstream_index < 65000);
  return virtual_addresses().address.plus(upstream_index + 1);
}

Cidr virtual_addresses() { return *parse_cidr("240.240.0.0/16"); }

Names names_of(std::string_view service) {
  Names names;
  names.netns = fmt::format("pillion-{}", service);
  names.netns_path = "/run/netns/" + names.netns;
  names.host_interface = fmt::format("pil{:08x}h", hash_of(service));
  names.host_table = "pillion_" + std::string(service);
  std::replace(names.host_table.begin(), names.host_table.end(), '-', '_');
  names.interface_alias = fmt::format("pillion {}", service);
  return names;
}

std::string capture_table_of(const Wanted& wanted) {
  const bool is_own = wanted.mode == Mode::Bridged || wanted.mode == Mode::Sealed;
  return is_own ? std::string(kCaptureTable) : names_of(wanted.service).host_table;
}

bool is_interface_name(std::string_view name) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_.-:@+").find(c) != std::string_view::npos;
  };
  return !name.empty() && name.size() <= 15 && name.front() != '-' && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), is_plain);
}

std::string_view inbound_method_text(InboundMethod method) {
  switch (method) {
    case InboundMethod::Auto: return "auto";
    case InboundMethod::Redirect: return "redirect";
    case InboundMethod::Tproxy: return "tproxy";
  }
  PILLION_ASSERT(false);
}

std::string_view backend_text(Backend backend) {
  switch (backend) {
    case Backend::Auto: return "auto";
    case Backend::Nftables: return "nftables";
    case Backend::Iptables: return "iptables";
  }
  PILLION_ASSERT(false);
}

std::string_view proxy_down_text(ProxyDown policy) {
  return policy == ProxyDown::Closed ? "closed" : "open";
}

std::string_view mode_text(Mode mode) {
  switch (mode) {
    case Mode::Bridged: return "bridged";
    case Mode::Sealed: return "sealed";
    case Mode::Host: return "host";
    case Mode::Join: return "join";
  }
  PILLION_ASSERT(false);
}

}  // namespace pillion::netns
