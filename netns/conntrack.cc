// Message formats: linux/netfilter/nfnetlink_conntrack.h.
#include "netns/conntrack.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>

#include "netns/netlink_attributes.h"
#include "netns/netlink_socket.h"

namespace pillion::netns {
namespace {

// One entry of the table: what is needed to choose it and to name it for deletion.
struct Entry {
  std::uint8_t family = 0;
  std::vector<char> original_tuple;  // payload of CTA_TUPLE_ORIG
  std::vector<char> zone;
  std::vector<Address> ends;
  std::uint8_t protocol = 0;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint16_t reply_source_port = 0;
  std::uint16_t reply_destination_port = 0;
};

void add_address(Entry& entry, const nlattr* attribute, Family family) {
  if (!attribute) return;
  Address address{family, {}};
  if (mnl_attr_get_payload_len(attribute) < address.size()) return;
  std::memcpy(address.bytes.data(), mnl_attr_get_payload(attribute), address.size());
  entry.ends.push_back(address);
}

void read_tuple(Entry& entry, const nlattr* tuple) {
  const Attributes<CTA_TUPLE_MAX + 1> parts(tuple);
  const Attributes<CTA_IP_MAX + 1> ip(parts[CTA_TUPLE_IP]);
  add_address(entry, ip[CTA_IP_V4_SRC], Family::V4);
  add_address(entry, ip[CTA_IP_V4_DST], Family::V4);
  add_address(entry, ip[CTA_IP_V6_SRC], Family::V6);
  add_address(entry, ip[CTA_IP_V6_DST], Family::V6);
}

Attributes<CTA_PROTO_MAX + 1> protocol_of(const nlattr* tuple) {
  const Attributes<CTA_TUPLE_MAX + 1> parts(tuple);
  return Attributes<CTA_PROTO_MAX + 1>(parts[CTA_TUPLE_PROTO]);
}

std::uint16_t port_of(const nlattr* attribute) {
  return attribute ? ntohs(mnl_attr_get_u16(attribute)) : std::uint16_t{0};
}

std::vector<char> payload_of(const nlattr* attribute) {
  const auto* bytes = static_cast<const char*>(mnl_attr_get_payload(attribute));
  return {bytes, bytes + mnl_attr_get_payload_len(attribute)};
}

Entry read_entry(const nlmsghdr* message) {
  Entry entry;
  entry.family = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message))->nfgen_family;
  const Attributes<CTA_MAX + 1> attributes(message, sizeof(nfgenmsg));
  if (const nlattr* reply = attributes[CTA_TUPLE_REPLY]) {
    read_tuple(entry, reply);
    const auto protocol = protocol_of(reply);
    entry.reply_source_port = port_of(protocol[CTA_PROTO_SRC_PORT]);
    entry.reply_destination_port = port_of(protocol[CTA_PROTO_DST_PORT]);
  }
  if (attributes[CTA_ZONE]) entry.zone = payload_of(attributes[CTA_ZONE]);
  const nlattr* original = attributes[CTA_TUPLE_ORIG];
  if (!original) return entry;
  read_tuple(entry, original);
  entry.original_tuple = payload_of(original);
  const auto protocol = protocol_of(original);
  if (const nlattr* number = protocol[CTA_PROTO_NUM]) entry.protocol = mnl_attr_get_u8(number);
  entry.source_port = port_of(protocol[CTA_PROTO_SRC_PORT]);
  entry.destination_port = port_of(protocol[CTA_PROTO_DST_PORT]);
  return entry;
}

bool is_wanted(const Entry& entry, const FlushConntrack& flush) {
  const auto is_in = [](const auto& list, const auto& item) {
    return std::find(list.begin(), list.end(), item) != list.end();
  };
  if (entry.protocol == IPPROTO_UDP && is_in(flush.udp_ports, entry.destination_port)) return true;
  return std::any_of(entry.ends.begin(), entry.ends.end(),
                     [&](const Address& end) { return is_in(flush.addresses, end); });
}

using Choose = std::function<bool(const Entry& entry)>;

Result<std::vector<Entry>> chosen_entries(NetlinkSocket& socket, const Choose& choose) {
  std::vector<Entry> entries;
  alignas(8) std::array<char, 256> buffer{};
  nlmsghdr* request = put_netfilter_request(buffer.data(), NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET,
                                            NLM_F_DUMP, AF_UNSPEC);
  auto dumped = socket.ask(request, [&](const nlmsghdr* message) {
    Entry entry = read_entry(message);
    if (choose(entry)) entries.push_back(std::move(entry));
  });
  if (!dumped) return fail(dumped.error());
  return entries;
}

Result<void> delete_entry(NetlinkSocket& socket, const Entry& entry) {
  alignas(8) std::array<char, 1024> buffer{};
  nlmsghdr* request = put_netfilter_request(buffer.data(), NFNL_SUBSYS_CTNETLINK,
                                            IPCTNL_MSG_CT_DELETE, NLM_F_ACK, entry.family);
  mnl_attr_put(request, CTA_TUPLE_ORIG | NLA_F_NESTED, entry.original_tuple.size(),
               entry.original_tuple.data());
  if (!entry.zone.empty()) mnl_attr_put(request, CTA_ZONE, entry.zone.size(), entry.zone.data());
  return socket.ask(request);
}

// Fails where the kernel has no connection tracking.
Result<NetlinkSocket> open_conntrack() {
  return NetlinkSocket::open(NETLINK_NETFILTER, "the table of tracked connections");
}

}  // namespace

Result<int> flush_conntrack(const FlushConntrack& flush) {
  auto socket = open_conntrack();
  if (!socket) return 0;
  auto entries =
      chosen_entries(*socket, [&](const Entry& entry) { return is_wanted(entry, flush); });
  if (!entries) return fail(entries.error());
  int deleted = 0;
  for (const Entry& entry : *entries) {
    if (delete_entry(*socket, entry)) ++deleted;  // else it ended in the meantime
  }
  return deleted;
}

Result<int> count_rewritten_clients(std::uint16_t port) {
  auto socket = open_conntrack();
  if (!socket) return 0;
  auto entries = chosen_entries(*socket, [&](const Entry& entry) {
    return entry.protocol == IPPROTO_TCP && entry.reply_source_port == port &&
           entry.destination_port != port && entry.reply_destination_port != entry.source_port;
  });
  if (!entries) return fail(entries.error());
  return static_cast<int>(entries->size());
}

}  // namespace pillion::netns
