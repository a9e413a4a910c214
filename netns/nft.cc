#include "netns/nft.h"

#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "runtime/fd.h"

namespace pillion::netns {
namespace {

struct ContextFree {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};
using Context = std::unique_ptr<nft_ctx, ContextFree>;

// The first line of nft's complaint, without its "Error: " and position.
std::string first_complaint(const char* text) {
  std::string line(text ? text : "");
  line = line.substr(0, line.find('\n'));
  const auto marker = line.find("Error: ");
  if (marker != std::string::npos) line = line.substr(marker + 7);
  return line.empty() ? "unknown error" : line;
}

int errno_of(const std::string& complaint) {
  if (complaint.find("Operation not permitted") != std::string::npos) return EPERM;
  if (complaint.find("No such file or directory") != std::string::npos) return ENOENT;
  if (complaint.find("not supported") != std::string::npos) return EOPNOTSUPP;
  return 0;
}

// libnftables ends the process when it cannot open its socket, so see first whether one opens.
Result<void> check_netfilter_socket() {
  const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket) return fail_errno("the kernel has no nftables (CONFIG_NF_TABLES)");
  return {};
}

Result<std::string> run(const std::string& commands, bool is_dry_run) {
  if (auto checked = check_netfilter_socket(); !checked) return fail(checked.error());
  const Context context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context) return fail("cannot initialise libnftables");
  nft_ctx_buffer_output(context.get());
  nft_ctx_buffer_error(context.get());
  nft_ctx_set_dry_run(context.get(), is_dry_run);
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) != 0) {
    const std::string complaint = first_complaint(nft_ctx_get_error_buffer(context.get()));
    return fail(Error(complaint, errno_of(complaint)));
  }
  const char* output = nft_ctx_get_output_buffer(context.get());
  return std::string(output ? output : "");
}

}  // namespace

Result<std::string> run_nft(const std::string& commands) { return run(commands, false); }

Result<void> check_nft(const std::string& commands) {
  auto checked = run(commands, true);
  if (!checked) return fail(checked.error());
  return {};
}

Result<bool> delete_nft_table(const std::string& table) {
  auto deleted = run("delete table inet " + table + "\n", false);
  if (deleted) return true;
  if (deleted.error().errno_value() == ENOENT) return false;
  return fail(deleted.error().wrap("cannot delete nftables table inet " + table));
}

}  // namespace pillion::netns
