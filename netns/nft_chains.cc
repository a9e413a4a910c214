// Message formats: linux/netfilter/nf_tables.h.
#include "netns/nft_chains.h"

#include <netinet/in.h>  // before the kernel's headers, which then leave its names alone

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cerrno>

#include "netns/netlink_attributes.h"
#include "netns/netlink_socket.h"

namespace pillion::netns {
namespace {

std::string family_text(std::uint8_t family) {
  switch (family) {
    case NFPROTO_IPV4: return "ip";
    case NFPROTO_IPV6: return "ip6";
    case NFPROTO_INET: return "inet";
    case NFPROTO_ARP: return "arp";
    case NFPROTO_BRIDGE: return "bridge";
    default: return "netdev";
  }
}

NftChain read_chain(const nlmsghdr* message) {
  NftChain chain;
  const auto family = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message))->nfgen_family;
  chain.family = family_text(family);
  const Attributes<NFTA_CHAIN_MAX + 1> attributes(message, sizeof(nfgenmsg));
  if (attributes[NFTA_CHAIN_TABLE]) chain.table = mnl_attr_get_str(attributes[NFTA_CHAIN_TABLE]);
  if (attributes[NFTA_CHAIN_NAME]) chain.name = mnl_attr_get_str(attributes[NFTA_CHAIN_NAME]);
  const Attributes<NFTA_HOOK_MAX + 1> hook(attributes[NFTA_CHAIN_HOOK]);
  const bool is_inet = family == NFPROTO_IPV4 || family == NFPROTO_IPV6 || family == NFPROTO_INET;
  if (const nlattr* number = hook[NFTA_HOOK_HOOKNUM]; number && is_inet) {
    chain.is_forward_filter = ntohl(mnl_attr_get_u32(number)) == NF_INET_FORWARD;
  }
  if (const nlattr* policy = attributes[NFTA_CHAIN_POLICY]) {
    chain.drops_by_policy = ntohl(mnl_attr_get_u32(policy)) == NF_DROP;
  }
  return chain;
}

Result<NetlinkSocket> open_nftables() { return NetlinkSocket::open(NETLINK_NETFILTER, "nftables"); }

}  // namespace

Result<std::vector<NftChain>> nft_chains() {
  auto socket = open_nftables();
  if (!socket) return fail(socket.error());
  alignas(8) std::array<char, 256> buffer{};
  std::vector<NftChain> chains;
  auto asked = socket->ask(put_netfilter_request(buffer.data(), NFNL_SUBSYS_NFTABLES,
                                                 NFT_MSG_GETCHAIN, NLM_F_DUMP, NFPROTO_UNSPEC),
                           [&](const nlmsghdr* message) { chains.push_back(read_chain(message)); });
  if (!asked) return fail(asked.error());
  return chains;
}

Result<bool> has_nft_table(const std::string& table) {
  auto socket = open_nftables();
  if (!socket) return fail(socket.error());
  alignas(8) std::array<char, 512> buffer{};
  nlmsghdr* request = put_netfilter_request(buffer.data(), NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE,
                                            NLM_F_ACK, NFPROTO_INET);
  mnl_attr_put_strz(request, NFTA_TABLE_NAME, table.c_str());
  auto asked = socket->ask(request);
  if (asked) return true;
  if (asked.error().errno_value() == ENOENT) return false;
  return fail(asked.error());
}

std::string nft_chains_text(const std::vector<NftChain>& chains) {
  std::string text;
  for (const NftChain& chain : chains) {
    text += fmt::format("table {} {} {{\n\tchain {} {{\n", chain.family, chain.table, chain.name);
    if (chain.is_forward_filter) {
      text += fmt::format("\t\ttype filter hook forward priority filter; policy {};\n",
                          chain.drops_by_policy ? "drop" : "accept");
    }
    text += "\t}\n}\n";
  }
  return text;
}

}  // namespace pillion::netns
