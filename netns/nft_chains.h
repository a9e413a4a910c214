// The chains of nftables in the calling thread's network namespace, asked for directly (nfnetlink):
// a fraction of the time of run_nft("list chains"). iptables of the nft variant shows here, too.
#pragma once

#include <string>
#include <vector>

#include "runtime/result.h"

namespace pillion::netns {

struct NftChain {
  std::string family;  // "ip", "ip6", "inet", "arp", "bridge", "netdev"
  std::string table;
  std::string name;
  bool is_forward_filter = false;  // hooked to forward; of ip, ip6 and inet
  bool drops_by_policy = false;
};

// An error where the kernel has no nftables.
Result<std::vector<NftChain>> nft_chains();

// Whether there is a table of family inet with this name. Asking first is much cheaper than a
// transaction that fails: its undoing waits for every CPU.
Result<bool> has_nft_table(const std::string& table);

// As `nft list chains` prints them, as far as forward_warnings() looks at it.
std::string nft_chains_text(const std::vector<NftChain>& chains);

}  // namespace pillion::netns
