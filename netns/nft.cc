#include "netns/nft.h"

#include <nftables/libnftables.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "netns/fault.h"
#include "netns/nft_chains.h"
#include "runtime/fd.h"

namespace pillion::netns {
namespace {

constexpr int kEffectMilliseconds = 10'000;

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
  // A kernel that has nfnetlink but not nftables refuses to list what is there.
  if (complaint.find("not supported") != std::string::npos ||
      complaint.find("cache initialization failed: Invalid argument") != std::string::npos) {
    return EOPNOTSUPP;
  }
  if (complaint.find("File exists") != std::string::npos) return EEXIST;
  return 0;
}

// What the child process reports: 'o' and nft's output, or 'e' and its complaint.
std::string run_in_this_process(nft_ctx* context, const std::string& commands) {
  if (!context) return "ecannot initialise libnftables";
  nft_ctx_buffer_output(context);
  nft_ctx_buffer_error(context);
  if (nft_run_cmd_from_buffer(context, commands.c_str()) != 0) {
    return "e" + first_complaint(nft_ctx_get_error_buffer(context));
  }
  const char* output = nft_ctx_get_output_buffer(context);
  return std::string("o") + (output ? output : "");
}

// The report goes out before the context is freed: closing its socket after a deletion takes until
// every CPU has let go of the rules.
[[noreturn]] void report_from_child(const std::string& commands, int result_fd, int complaint_fd) {
  ::dup2(complaint_fd, STDERR_FILENO);
  const Context context(nft_ctx_new(NFT_CTX_DEFAULT));
  const bool is_told =
      static_cast<bool>(write_all(result_fd, run_in_this_process(context.get(), commands)));
  ::_exit(is_told ? 0 : 1);
}

std::string read_to_end(int fd) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
  }
}

void reap(pid_t child) {
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// libnftables ends its process on some failures (no socket, no memory, an answer it does not
// understand). In a child of its own that is an error like any other, and can be undone.
Result<NftRun> start(const std::string& commands) {
  if (is_feature_hidden("nftables")) return fail(Error("nftables: not supported", EOPNOTSUPP));
  if (is_feature_hidden("tproxy") && commands.find(" tproxy ") != std::string::npos) {
    return fail(Error("nftables: Could not process rule: No such file or directory", ENOENT));
  }
  auto result = make_pipe();
  if (!result) return fail(result.error());
  // Complaints go to a file, not a pipe: nobody reads them before the child has ended.
  Fd complaint(::memfd_create("nft-stderr", MFD_CLOEXEC));
  if (!complaint) return fail_errno("cannot create a file in memory");
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot fork");
  if (child == 0) report_from_child(commands, result->write_end.get(), complaint.get());
  return NftRun{child, std::move(result->read_end), std::move(complaint)};
}

Result<std::string> finish_run(NftRun run) {
  const std::string report = read_to_end(run.report.get());
  reap(run.child);
  if (report.starts_with("o")) return report.substr(1);
  ::lseek(run.complaint.get(), 0, SEEK_SET);
  const std::string text =
      report.empty() ? first_complaint(read_to_end(run.complaint.get()).c_str()) : report.substr(1);
  return fail(Error("nftables: " + text, errno_of(text)));
}

}  // namespace

Result<std::string> run_nft(const std::string& commands) {
  auto run = start(commands);
  if (!run) return fail(run.error());
  return finish_run(std::move(*run));
}

TableDeletion::TableDeletion(std::string table) : table_(std::move(table)) {
  const auto is_there = has_nft_table(table_);
  if (is_there && !*is_there) return;
  auto run = start("delete table inet " + table_ + "\n");
  if (run) {
    run_ = std::move(*run);
  } else {
    started_ = fail(run.error());
  }
}

void TableDeletion::wait_for_effect() const {
  if (!run_) return;
  // The report is written before the socket is closed, which is what takes its time.
  pollfd watch{run_->report.get(), POLLIN, 0};
  while (::poll(&watch, 1, kEffectMilliseconds) < 0 && errno == EINTR) {
  }
}

Result<bool> TableDeletion::finish() {
  if (started_ && !run_) return false;
  auto deleted = run_ ? finish_run(std::move(*run_)) : Result<std::string>(fail(started_.error()));
  run_.reset();
  if (deleted) return true;
  if (deleted.error().errno_value() == ENOENT) return false;
  return fail(deleted.error().wrap("cannot delete nftables table inet " + table_));
}

Result<bool> delete_nft_table(const std::string& table) { return TableDeletion(table).finish(); }

}  // namespace pillion::netns
