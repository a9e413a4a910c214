// Message formats: linux/netfilter/nf_tables.h.
#include "netns/nft_chains.h"

#include <netinet/in.h>  // before the kernel's headers, which then leave its names alone

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

#include "netns/netlink_attributes.h"

namespace pillion::netns {
namespace {

struct SocketCloser {
  void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, SocketCloser>;

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

nlmsghdr* put_request(char* buffer, int type, int flags, std::uint8_t family) {
  nlmsghdr* header = mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
  header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  header->nlmsg_seq = 1;
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
  extra->nfgen_family = family;
  extra->version = NFNETLINK_V0;
  return header;
}

// Sends the request and calls `callback` for every message of the answer.
Result<void> ask(const nlmsghdr* request, mnl_cb_t callback, void* data) {
  const Socket socket(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC));
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno("cannot open a netfilter socket");
  }
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) {
    return fail_errno("cannot send to netfilter");
  }
  std::vector<char> answer(65536);
  for (int state = MNL_CB_OK; state > MNL_CB_STOP;) {
    const ssize_t received = mnl_socket_recvfrom(socket.get(), answer.data(), answer.size());
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return fail_errno("cannot receive from netfilter");
    state = mnl_cb_run(answer.data(), static_cast<std::size_t>(received), 1, 0, callback, data);
    if (state < 0) return fail_errno("cannot ask nftables");
  }
  return {};
}

}  // namespace

Result<std::vector<NftChain>> nft_chains() {
  alignas(8) std::array<char, 256> buffer{};
  std::vector<NftChain> chains;
  auto asked = ask(
      put_request(buffer.data(), NFT_MSG_GETCHAIN, NLM_F_DUMP, NFPROTO_UNSPEC),
      [](const nlmsghdr* message, void* data) {
        static_cast<std::vector<NftChain>*>(data)->push_back(read_chain(message));
        return MNL_CB_OK;
      },
      &chains);
  if (!asked) return fail(asked.error());
  return chains;
}

Result<bool> has_nft_table(const std::string& table) {
  alignas(8) std::array<char, 512> buffer{};
  nlmsghdr* request = put_request(buffer.data(), NFT_MSG_GETTABLE, NLM_F_ACK, NFPROTO_INET);
  mnl_attr_put_strz(request, NFTA_TABLE_NAME, table.c_str());
  auto asked = ask(request, nullptr, nullptr);
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
