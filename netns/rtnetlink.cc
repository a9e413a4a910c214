// Message formats: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.
#include "netns/rtnetlink.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "netns/netlink_attributes.h"

namespace pillion::netns {
namespace {

// One request; large enough for everything this file sends.
class Request {
 public:
  Request(int type, int flags) : header_(mnl_nlmsg_put_header(buffer_.data())) {
    header_->nlmsg_type = static_cast<std::uint16_t>(type);
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  }
  template<class Header>
  Header* put_header() {
    return static_cast<Header*>(mnl_nlmsg_put_extra_header(header_, sizeof(Header)));
  }
  nlmsghdr* header() { return header_; }

  void put(int type, const std::string& text) {
    mnl_attr_put_strz(header_, static_cast<std::uint16_t>(type), text.c_str());
  }
  void put(int type, std::uint32_t number) {
    mnl_attr_put_u32(header_, static_cast<std::uint16_t>(type), number);
  }
  void put(int type, const Address& address) {
    mnl_attr_put(header_, static_cast<std::uint16_t>(type), address.size(), address.bytes.data());
  }

 private:
  alignas(8) std::array<char, 4096> buffer_{};
  nlmsghdr* header_;
};

std::uint8_t family_of(Family family) { return family == Family::V4 ? AF_INET : AF_INET6; }

int create_flags() { return NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL; }

Address address_of(std::uint8_t family, const nlattr* attribute) {
  Address address{family == AF_INET ? Family::V4 : Family::V6, {}};
  const std::size_t bytes =
      std::min<std::size_t>(address.size(), mnl_attr_get_payload_len(attribute));
  std::memcpy(address.bytes.data(), mnl_attr_get_payload(attribute), bytes);
  return address;
}

Result<void> ignore_exists(Result<void> result) {
  if (!result && result.error().errno_value() == EEXIST) return {};
  return result;
}

// The kernel's own sentence (NLMSGERR_ATTR_MSG), "" without one.
std::string extended_message(const nlmsghdr* message) {
  if (!(message->nlmsg_flags & NLM_F_ACK_TLVS)) return "";
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  std::size_t skip = sizeof(nlmsgerr);
  if (!(message->nlmsg_flags & NLM_F_CAPPED)) skip += error->msg.nlmsg_len - sizeof(nlmsghdr);
  if (message->nlmsg_len < NLMSG_HDRLEN + skip) return "";
  const Attributes<NLMSGERR_ATTR_MAX + 1> attributes(message, static_cast<unsigned>(skip));
  const nlattr* text = attributes[NLMSGERR_ATTR_MSG];
  return text ? mnl_attr_get_str(text) : "";
}

Result<void> result_of(const nlmsghdr* message) {
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  if (error->error == 0) return {};
  const std::string text = extended_message(message);
  const std::string cause = strerror(-error->error);
  return fail(Error(text.empty() ? cause : cause + " (" + text + ")", -error->error));
}

}  // namespace

void RouteNetlink::SocketCloser::operator()(mnl_socket* socket) const { mnl_socket_close(socket); }

Result<RouteNetlink> RouteNetlink::open() {
  mnl_socket* socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
  if (!socket) return fail_errno("cannot open a rtnetlink socket");
  RouteNetlink netlink(socket);
  const int on = 1;
  mnl_socket_setsockopt(socket, NETLINK_EXT_ACK, const_cast<int*>(&on), sizeof on);
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno("cannot bind a rtnetlink socket");
  }
  return netlink;
}

Result<void> RouteNetlink::transact(nlmsghdr* request, const Visit& visit) {
  request->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) {
    return fail_errno("cannot send to rtnetlink");
  }
  std::vector<char> buffer(32768);
  for (;;) {
    const ssize_t received = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return fail_errno("cannot receive from rtnetlink");
    int rest = static_cast<int>(received);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(message, rest); message = mnl_nlmsg_next(message, &rest)) {
      if (message->nlmsg_seq != sequence_) continue;
      if (message->nlmsg_type == NLMSG_ERROR) return result_of(message);
      if (message->nlmsg_type == NLMSG_DONE) return {};
      if (visit) visit(message);
    }
  }
}

Result<void> RouteNetlink::create_veth(const CreateVeth& veth, int inner_namespace_fd) {
  Request request(RTM_NEWLINK, create_flags());
  request.put_header<ifinfomsg>();
  request.put(IFLA_IFNAME, veth.host_name);
  request.put(IFLA_MTU, static_cast<std::uint32_t>(veth.mtu));
  nlattr* info = mnl_attr_nest_start(request.header(), IFLA_LINKINFO);
  request.put(IFLA_INFO_KIND, "veth");
  nlattr* data = mnl_attr_nest_start(request.header(), IFLA_INFO_DATA);
  nlattr* peer = mnl_attr_nest_start(request.header(), VETH_INFO_PEER);
  request.put_header<ifinfomsg>();
  request.put(IFLA_IFNAME, veth.inner_name);
  request.put(IFLA_MTU, static_cast<std::uint32_t>(veth.mtu));
  request.put(IFLA_NET_NS_FD, static_cast<std::uint32_t>(inner_namespace_fd));
  mnl_attr_nest_end(request.header(), peer);
  mnl_attr_nest_end(request.header(), data);
  mnl_attr_nest_end(request.header(), info);
  if (auto created = transact(request.header()); !created) return created;
  auto index = require_index(veth.host_name);
  if (!index) return fail(index.error());
  return set_alias(*index, veth.alias);
}

Result<void> RouteNetlink::set_alias(int interface_index, const std::string& alias) {
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.put_header<ifinfomsg>()->ifi_index = interface_index;
  mnl_attr_put(request.header(), IFLA_IFALIAS, alias.size(), alias.data());
  return transact(request.header());
}

Result<void> RouteNetlink::delete_interface(int interface_index) {
  Request request(RTM_DELLINK, NLM_F_ACK);
  request.put_header<ifinfomsg>()->ifi_index = interface_index;
  return transact(request.header());
}

Result<void> RouteNetlink::set_up(const std::string& interface) {
  auto index = require_index(interface);
  if (!index) return fail(index.error());
  Request request(RTM_NEWLINK, NLM_F_ACK);
  auto* header = request.put_header<ifinfomsg>();
  header->ifi_index = *index;
  header->ifi_flags = IFF_UP;
  header->ifi_change = IFF_UP;
  return transact(request.header());
}

Result<void> RouteNetlink::change_address(int type, int flags, const std::string& interface,
                                          const Cidr& cidr) {
  auto index = require_index(interface);
  if (!index) return fail(index.error());
  Request request(type, flags);
  auto* header = request.put_header<ifaddrmsg>();
  header->ifa_family = family_of(cidr.address.family);
  header->ifa_prefixlen = static_cast<std::uint8_t>(cidr.prefix_length);
  header->ifa_index = static_cast<unsigned>(*index);
  if (cidr.address.family == Family::V6) header->ifa_flags = IFA_F_NODAD;
  request.put(IFA_LOCAL, cidr.address);
  request.put(IFA_ADDRESS, cidr.address);
  return transact(request.header());
}

Result<void> RouteNetlink::add_address(const std::string& interface, const Cidr& cidr) {
  return ignore_exists(change_address(RTM_NEWADDR, create_flags(), interface, cidr));
}

Result<void> RouteNetlink::delete_address(const std::string& interface, const Cidr& cidr) {
  return change_address(RTM_DELADDR, NLM_F_ACK, interface, cidr);
}

Result<void> RouteNetlink::add_route(const AddRoute& route) {
  auto index = require_index(route.interface);
  if (!index) return fail(index.error());
  Request request(RTM_NEWROUTE, create_flags());
  auto* header = request.put_header<rtmsg>();
  header->rtm_family = family_of(route.destination.address.family);
  header->rtm_dst_len = static_cast<std::uint8_t>(route.destination.prefix_length);
  header->rtm_table = RT_TABLE_UNSPEC;
  header->rtm_protocol = RTPROT_BOOT;
  header->rtm_type = route.is_local ? RTN_LOCAL : RTN_UNICAST;
  header->rtm_scope = route.is_local ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  request.put(RTA_TABLE, route.table);
  if (route.destination.prefix_length > 0) request.put(RTA_DST, route.destination.address);
  if (route.gateway) request.put(RTA_GATEWAY, *route.gateway);
  if (route.source) request.put(RTA_PREFSRC, *route.source);
  request.put(RTA_OIF, static_cast<std::uint32_t>(*index));
  return ignore_exists(transact(request.header()));
}

Result<void> RouteNetlink::add_mark_rule(const AddMarkRule& rule) {
  Request request(RTM_NEWRULE, create_flags());
  auto* header = request.put_header<fib_rule_hdr>();
  header->family = family_of(rule.family);
  header->action = FR_ACT_TO_TBL;
  request.put(FRA_TABLE, rule.table);
  request.put(FRA_FWMARK, rule.mark);
  return ignore_exists(transact(request.header()));
}

Result<void> RouteNetlink::delete_mark_rules(std::uint32_t mark, std::uint32_t table) {
  for (const Family family : {Family::V4, Family::V6}) {
    for (Result<void> deleted; deleted;) {
      Request request(RTM_DELRULE, NLM_F_ACK);
      auto* header = request.put_header<fib_rule_hdr>();
      header->family = family_of(family);
      header->action = FR_ACT_TO_TBL;
      request.put(FRA_TABLE, table);
      request.put(FRA_FWMARK, mark);
      deleted = transact(request.header());
    }
    for (Result<void> deleted; deleted;) {
      Request request(RTM_DELROUTE, NLM_F_ACK);
      auto* header = request.put_header<rtmsg>();
      header->rtm_family = family_of(family);
      header->rtm_scope = RT_SCOPE_NOWHERE;
      request.put(RTA_TABLE, table);
      deleted = transact(request.header());
    }
  }
  return {};
}

Result<std::vector<Interface>> RouteNetlink::interfaces() {
  Request request(RTM_GETLINK, NLM_F_DUMP);
  request.put_header<ifinfomsg>();
  std::vector<Interface> found;
  auto dumped = transact(request.header(), [&](const nlmsghdr* message) {
    const auto* header = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
    const Attributes<IFLA_IFALIAS + 1> attributes(message, sizeof *header);
    Interface item;
    item.index = header->ifi_index;
    item.is_up = (header->ifi_flags & IFF_UP) != 0;
    item.is_loopback = (header->ifi_flags & IFF_LOOPBACK) != 0;
    if (attributes[IFLA_IFNAME]) item.name = mnl_attr_get_str(attributes[IFLA_IFNAME]);
    if (attributes[IFLA_IFALIAS]) item.alias = mnl_attr_get_str(attributes[IFLA_IFALIAS]);
    if (attributes[IFLA_MTU]) item.mtu = static_cast<int>(mnl_attr_get_u32(attributes[IFLA_MTU]));
    found.push_back(std::move(item));
  });
  if (!dumped) return fail(dumped.error().wrap("cannot list network interfaces"));
  return found;
}

Result<std::vector<InterfaceAddress>> RouteNetlink::addresses() {
  Request request(RTM_GETADDR, NLM_F_DUMP);
  request.put_header<ifaddrmsg>();
  std::vector<InterfaceAddress> found;
  auto dumped = transact(request.header(), [&](const nlmsghdr* message) {
    const auto* header = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
    if (header->ifa_family != AF_INET && header->ifa_family != AF_INET6) return;
    const Attributes<IFA_LOCAL + 1> attributes(message, sizeof *header);
    const nlattr* attribute =
        attributes[IFA_LOCAL] ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
    if (!attribute) return;
    found.push_back({static_cast<int>(header->ifa_index),
                     {address_of(header->ifa_family, attribute), header->ifa_prefixlen}});
  });
  if (!dumped) return fail(dumped.error().wrap("cannot list addresses"));
  return found;
}

Result<std::vector<Route>> RouteNetlink::routes() {
  Request request(RTM_GETROUTE, NLM_F_DUMP);
  request.put_header<rtmsg>();
  std::vector<Route> found;
  auto dumped = transact(request.header(), [&](const nlmsghdr* message) {
    const auto* header = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
    if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6) return;
    if (header->rtm_type != RTN_UNICAST || header->rtm_table == RT_TABLE_LOCAL) return;
    const Attributes<RTA_VIA + 1> attributes(message, sizeof *header);
    Route route;
    route.destination = {Address{header->rtm_family == AF_INET ? Family::V4 : Family::V6, {}},
                         header->rtm_dst_len};
    if (attributes[RTA_DST]) {
      route.destination.address = address_of(header->rtm_family, attributes[RTA_DST]);
    }
    if (attributes[RTA_OIF]) {
      route.interface_index = static_cast<int>(mnl_attr_get_u32(attributes[RTA_OIF]));
    }
    route.has_gateway = attributes[RTA_GATEWAY] || attributes[RTA_VIA];
    found.push_back(route);
  });
  if (!dumped) return fail(dumped.error().wrap("cannot list routes"));
  return found;
}

Result<int> RouteNetlink::index_of(const std::string& interface) {
  Request request(RTM_GETLINK, NLM_F_ACK);
  request.put_header<ifinfomsg>();
  request.put(IFLA_IFNAME, interface);
  int index = 0;
  auto found = transact(request.header(), [&](const nlmsghdr* message) {
    index = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message))->ifi_index;
  });
  if (!found && found.error().errno_value() != ENODEV) return fail(found.error());
  return index;
}

Result<int> RouteNetlink::require_index(const std::string& interface) {
  auto index = index_of(interface);
  if (index && *index == 0) return fail(Error("no interface " + interface, ENODEV));
  return index;
}

}  // namespace pillion::netns
