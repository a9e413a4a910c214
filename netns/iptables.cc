#include "netns/iptables.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "netns/fault.h"
#include "netns/iptables_rules.h"
#include "netns/nft.h"
#include "netns/nft_chains.h"
#include "runtime/fd.h"

namespace pillion::netns {
namespace {

constexpr int kTimeoutMilliseconds = 20'000;

struct Variant {
  std::string_view name;   // "iptables-nft"
  std::string_view infix;  // of the programs' names: "-nft"
  bool is_legacy;
};
constexpr Variant kNft{"iptables-nft", "-nft", false};
constexpr Variant kLegacy{"iptables-legacy", "-legacy", true};
constexpr Variant kPlain{"iptables", "", false};  // whichever of the two; some ship only this

std::string find_program(const std::string& name) {
  for (const char* directory : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/", "/usr/local/sbin/"}) {
    if (::access((directory + name).c_str(), X_OK) == 0) return directory + name;
  }
  return "";
}

// "/usr/sbin/ip6tables-nft-save", "" when it is not installed.
std::string program_of(const Variant& variant, Family family, std::string_view action) {
  return find_program(fmt::format("{}{}-{}", family == Family::V4 ? "iptables" : "ip6tables",
                                  variant.infix, action));
}

std::string read_back(const Fd& file) {
  std::string text;
  ::lseek(file.get(), 0, SEEK_SET);
  char buffer[16384];
  for (ssize_t count; (count = ::read(file.get(), buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

Result<int> wait_for(pid_t child) {
  const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  pollfd watch{handle.get(), POLLIN, 0};
  int ready = 1;
  if (handle) {
    while ((ready = ::poll(&watch, 1, kTimeoutMilliseconds)) < 0 && errno == EINTR) {
    }
  }
  if (ready == 0) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (ready == 0) return fail(Error("it did not end within 20 seconds", ETIMEDOUT));
  return status;
}

// Runs the program with `input` on stdin; returns its output.
Result<std::string> run(const std::vector<std::string>& words, const std::string& input) {
  Fd in(::memfd_create("iptables-in", MFD_CLOEXEC));
  Fd out(::memfd_create("iptables-out", MFD_CLOEXEC));
  Fd err(::memfd_create("iptables-err", MFD_CLOEXEC));
  if (!in || !out || !err) return fail_errno("cannot create a file in memory");
  if (auto written = write_all(in.get(), input); !written) return fail(written.error());
  ::lseek(in.get(), 0, SEEK_SET);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot fork");
  if (child == 0) {
    ::dup2(in.get(), STDIN_FILENO);
    ::dup2(out.get(), STDOUT_FILENO);
    ::dup2(err.get(), STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  auto status = wait_for(child);
  if (!status) return fail(status.error().wrap(words.front()));
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return read_back(out);
  std::string complaint = read_back(err);
  while (!complaint.empty() && complaint.back() == '\n') complaint.pop_back();
  std::replace(complaint.begin(), complaint.end(), '\n', ' ');
  const bool is_denied = complaint.find("Permission denied") != complaint.npos ||
                         complaint.find("not permitted") != complaint.npos;
  return fail(Error(fmt::format("{}: {}", words.front(),
                                complaint.empty() ? "it failed without a word" : complaint),
                    is_denied ? EPERM : 0));
}

bool has_ipv6() { return ::access("/proc/net/if_inet6", F_OK) == 0; }

std::vector<Family> families() {
  if (has_ipv6()) return {Family::V4, Family::V6};
  return {Family::V4};
}

std::string legacy_tables(Family family) {
  auto names =
      read_file(family == Family::V4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names");
  return names ? *names : "";
}

// All tables there are. Not asked for by name: the legacy program would create it.
Result<std::string> save(const Variant& variant, Family family, bool with_counters) {
  const std::string program = program_of(variant, family, "save");
  if (program.empty() || (variant.is_legacy && legacy_tables(family).empty())) return std::string();
  std::vector<std::string> words = {program};
  if (with_counters) words.emplace_back("-c");
  return run(words, "");
}

// Tables of the nft variant in which nothing is left but empty built-in chains that accept: made
// for us, and in nobody's way when they are gone.
void delete_empty_tables(const Variant& variant, Family family) {
  if (variant.is_legacy) return;
  auto listing = save(variant, family, false);
  if (!listing) return;
  for (const std::string& table : unused_iptables_tables(*listing)) {
    (void)run_nft(fmt::format("delete table {} {}\n", family == Family::V4 ? "ip" : "ip6", table));
  }
}

std::vector<Variant> installed_variants() {
  std::vector<Variant> variants;
  for (const Variant& variant : {kNft, kLegacy}) {
    if (!program_of(variant, Family::V4, "restore").empty()) variants.push_back(variant);
  }
  if (variants.empty() && !program_of(kPlain, Family::V4, "restore").empty()) {
    variants.push_back(kPlain);
  }
  return variants;
}

// Rules of both variants at once confuse people: where legacy ones exist already, legacy it is.
std::vector<Variant> variants_to_try() {
  auto variants = installed_variants();
  const bool is_legacy_in_use = !legacy_tables(Family::V4).empty();
  std::stable_sort(variants.begin(), variants.end(), [&](const Variant& a, const Variant& b) {
    return (a.is_legacy == is_legacy_in_use) > (b.is_legacy == is_legacy_in_use);
  });
  return variants;
}

Result<void> restore(const Variant& variant, Family family, const std::string& text) {
  const std::string program = program_of(variant, family, "restore");
  if (program.empty()) {
    return fail(fmt::format("no ip6tables{}-restore is installed; IPv6 would go round the proxy",
                            variant.infix));
  }
  std::vector<std::string> words = {program, "--noflush"};
  if (variant.is_legacy) words.insert(words.end(), {"--wait", "10"});
  auto loaded = fault_before_step();
  if (!loaded) return fail(loaded.error().wrap(program));
  auto done = run(words, text);
  if (!done) return fail(done.error());
  return {};
}

bool may_have(const Variant& variant, std::string_view service) {
  if (variant.is_legacy) return !legacy_tables(Family::V4).empty();
  const auto chains = nft_chains();
  if (!chains) return false;
  const auto own = iptables_chains(service);
  return std::any_of(chains->begin(), chains->end(), [&](const NftChain& chain) {
    return std::any_of(own.begin(), own.end(),
                       [&](const OwnChain& item) { return item.name == chain.name; });
  });
}

// What there was before, of one variant and family.
struct Earlier {
  Variant variant;
  Family family;
  std::string rules;
};

std::vector<Earlier> save_earlier(const std::vector<Variant>& variants, std::string_view service) {
  std::vector<Earlier> earlier;
  for (const Variant& variant : variants) {
    if (!may_have(variant, service)) continue;
    for (const Family family : families()) {
      auto listing = save(variant, family, false);
      if (!listing) continue;
      std::string rules = render_iptables_restoration(service, *listing);
      if (!rules.empty()) earlier.push_back({variant, family, std::move(rules)});
    }
  }
  return earlier;
}

Result<void> apply_with(const Variant& variant, const Wanted& wanted) {
  for (const Family family : families()) {
    auto existing = save(variant, family, false);
    if (!existing) return fail(existing.error());
    auto loaded = restore(variant, family, render_iptables_capture(wanted, family, *existing));
    if (!loaded) return fail(loaded.error());
  }
  return {};
}

Result<bool> remove_with(const Variant& variant, std::string_view service) {
  bool is_removed = false;
  for (const Family family : families()) {
    auto existing = save(variant, family, false);
    if (!existing) return fail(existing.error());
    const std::string removal = render_iptables_removal(service, *existing);
    if (removal.empty()) continue;
    auto removed = restore(variant, family, removal);
    if (!removed) return fail(removed.error());
    delete_empty_tables(variant, family);
    is_removed = true;
  }
  return is_removed;
}

// Lines of an iptables-save listing that are about the service's chains, below their tables.
std::string own_lines(const std::string& listing, std::string_view service) {
  const std::string mark = iptables_chains(service).front().name.substr(0, 11);  // "PIL1a2b3c4d"
  std::string text;
  std::string head;
  for (std::size_t at = 0; at < listing.size();) {
    const std::size_t end = std::min(listing.find('\n', at), listing.size());
    const std::string line = listing.substr(at, end - at);
    at = end + 1;
    if (line.starts_with("*")) head = line + "\n";
    if (line.find(mark) == std::string::npos) continue;
    text += std::exchange(head, "") + line + "\n";
  }
  return text;
}

}  // namespace

bool may_have_iptables_capture(std::string_view service) {
  return may_have(kLegacy, service) || may_have(kNft, service);
}

Result<std::string> apply_iptables_capture(const Wanted& wanted) {
  const auto variants = variants_to_try();
  if (variants.empty()) {
    return fail(
        "no iptables-restore is installed (package iptables); it is needed here because "
        "nftables is not available or not chosen");
  }
  const auto earlier = save_earlier(variants, wanted.service);
  std::string problems;
  int errno_value = 0;
  for (const Variant& variant : variants) {
    auto applied = apply_with(variant, wanted);
    if (applied) return std::string(variant.name);
    (void)remove_with(variant, wanted.service);  // the error to report is why it was not applied
    problems += (problems.empty() ? "" : "; ") + applied.error().message();
    errno_value = applied.error().errno_value();
  }
  // Without its older rules the service's traffic would go past the proxy.
  for (const Earlier& item : earlier) (void)restore(item.variant, item.family, item.rules);
  return fail(Error(problems, errno_value));
}

Result<bool> remove_iptables_capture(std::string_view service) {
  bool is_removed = false;
  for (const Variant& variant : installed_variants()) {
    if (!may_have(variant, service)) continue;
    auto removed = remove_with(variant, service);
    if (!removed) return removed;
    is_removed = is_removed || *removed;
  }
  return is_removed;
}

std::string list_iptables_capture(std::string_view service) {
  std::string text;
  for (const Variant& variant : installed_variants()) {
    if (!may_have(variant, service)) continue;
    for (const Family family : families()) {
      auto listing = save(variant, family, true);
      if (!listing) continue;
      const std::string lines = own_lines(*listing, service);
      if (!lines.empty()) {
        text +=
            fmt::format("# {} {}\n{}", family == Family::V4 ? "IPv4" : "IPv6", variant.name, lines);
      }
    }
  }
  return text;
}

}  // namespace pillion::netns
