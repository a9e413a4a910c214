#include "proxy/forwarded.h"

#include <algorithm>

namespace pillion::proxy {
namespace {

using http1::Field;
using http1::FieldId;
using http1::RequestHead;

constexpr std::string_view kClientCertificate = "x-forwarded-client-cert";

bool is_named(const RequestHead& head, const Field& field, std::string_view lower) {
  return http1::equals_ignoring_case(head.fields.name(field), lower);
}

// All values of a field as one list, appended to `memory`; the fields are marked as removed.
std::string_view take_list(RequestHead& head, std::string_view lower, std::string& memory) {
  const std::size_t begin = memory.size();
  for (Field& field : head.fields.all()) {
    if (field.id != FieldId::Forwarded || !is_named(head, field, lower)) continue;
    if (memory.size() > begin) memory.append(", ");
    memory.append(head.fields.value(field));
    field.is_removed = true;
  }
  return std::string_view(memory).substr(begin);
}

bool has_field(const RequestHead& head, std::string_view lower) {
  return std::any_of(head.fields.all().begin(), head.fields.all().end(), [&](const Field& field) {
    return field.id == FieldId::Forwarded && is_named(head, field, lower);
  });
}

// RFC 7239 §6: an IPv6 address stands in brackets and so in quotes; a host with a port, too.
std::string forwarded_element(std::string_view ip, std::string_view proto, std::string_view host) {
  const bool is_v6 = ip.find(':') != std::string_view::npos;
  std::string element = is_v6 ? "for=\"[" : "for=";
  element.append(ip).append(is_v6 ? "]\"" : "").append(";proto=").append(proto);
  if (!host.empty()) element.append(";host=\"").append(host).append("\"");
  return element;
}

// `elements` of trusted proxies and then ours.
std::string joined(std::string_view elements, std::string_view own) {
  std::string text(elements);
  if (!text.empty()) text.append(", ");
  return text.append(own);
}

Forwarded extend_claims(RequestHead& head, unsigned hops, Forwarded own, std::string& memory) {
  std::string lists;
  const std::string client =
      joined(last_elements(take_list(head, "x-forwarded-for", lists), hops), own.client);
  std::string element;
  if (has_field(head, "forwarded")) {
    lists.clear();
    const std::string_view known = last_elements(take_list(head, "forwarded", lists), hops);
    element = joined(known, forwarded_element(own.client, own.proto, own.host));
  }
  memory = client + element;
  Forwarded result;
  result.client = std::string_view(memory).substr(0, client.size());
  result.forwarded = std::string_view(memory).substr(client.size());
  if (!has_field(head, "x-forwarded-proto")) result.proto = own.proto;
  if (!has_field(head, "x-forwarded-host")) result.host = own.host;
  return result;
}

}  // namespace

std::string_view client_ip(std::string_view peer) {
  peer = peer.substr(0, peer.rfind(':'));
  if (peer.starts_with('[')) peer = peer.substr(1, peer.size() - 2);
  return peer;
}

std::string_view last_elements(std::string_view list, unsigned count) {
  bool is_quoted = false;
  std::size_t i = list.size();
  while (i > 0) {
    const char c = list[--i];
    // A quote behind an odd number of backslashes is content.
    if (c == '"') {
      std::size_t slashes = 0;
      while (slashes < i && list[i - slashes - 1] == '\\') ++slashes;
      if (slashes % 2 == 0) is_quoted = !is_quoted;
    } else if (c == ',' && !is_quoted && --count == 0) {
      return http1::trim_whitespace(list.substr(i + 1));
    }
  }
  return http1::trim_whitespace(list);
}

bool is_trusted_proxy(const config::ProxyInbound& inbound, const Address& peer) {
  if (inbound.trusted_hops == 0 || inbound.trusted_proxies.empty()) {
    return inbound.trusted_hops != 0;
  }
  const std::string text = peer.to_string();
  const auto ip = config::IpAddress::parse(client_ip(text));
  return ip && std::any_of(inbound.trusted_proxies.begin(), inbound.trusted_proxies.end(),
                           [&](const config::Cidr& network) { return network.contains(*ip); });
}

Forwarded describe_client(const DownstreamContext& context, RequestHead& head,
                          std::string_view authority, ForwardedMemory& memory) {
  const config::ProxyInbound& inbound = context.config().inbound;
  const bool is_passed = inbound.forwarded == config::ForwardedFields::Pass;
  const bool is_kept = is_passed || context.is_peer_trusted;
  if (head.fields.has(FieldId::Forwarded)) {
    for (Field& field : head.fields.all()) {
      // Only we say who showed which certificate.
      if (field.id == FieldId::Forwarded) {
        field.is_removed |= !is_kept || is_named(head, field, kClientCertificate);
      }
    }
  }
  if (inbound.forwarded != config::ForwardedFields::Set) return {};
  Forwarded own;
  own.client = client_ip(context.peer.write_to(memory.peer));
  own.proto = context.identity ? "https" : "http";
  own.host = authority;
  if (!is_kept || !head.fields.has(FieldId::Forwarded)) return own;
  return extend_claims(head, inbound.trusted_hops, own, memory.lists);
}

}  // namespace pillion::proxy
