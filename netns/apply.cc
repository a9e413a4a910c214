#include "netns/apply.h"

#include <fmt/format.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "netns/choose_capture.h"
#include "netns/conntrack.h"
#include "netns/fault.h"
#include "netns/iptables.h"
#include "netns/namespace.h"
#include "netns/nft.h"
#include "netns/nft_chains.h"
#include "netns/plan.h"
#include "netns/rtnetlink.h"
#include "netns/rules.h"
#include "netns/sockets.h"
#include "netns/sysctl.h"

namespace pillion::netns {
namespace {

// What to do about a cause, "" where the cause says it all.
std::string_view remedy_of(int errno_value) {
  switch (errno_value) {
    case EPERM:
    case EACCES:
      return "; run as root (CAP_NET_ADMIN and CAP_SYS_ADMIN), or set [network] mode = \"host\"";
    case EOPNOTSUPP:
      return "; the kernel lacks the feature (CONFIG_VETH, CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, "
             "CONFIG_NFT_TPROXY)";
    case EROFS: return "; the setting is read-only here, set it outside the container";
    default: return "";
  }
}

Error step_error(const Step& step, const Error& cause) {
  return Error(fmt::format("cannot {}: {}{}", describe(step), cause.message(),
                           remedy_of(cause.errno_value())),
               cause.errno_value());
}

bool has_chain(const std::vector<NftChain>& chains, std::string_view table, std::string_view name) {
  return std::any_of(chains.begin(), chains.end(), [&](const NftChain& chain) {
    return chain.family == "inet" && chain.table == table && (name.empty() || chain.name == name);
  });
}

bool has_table(const std::vector<NftChain>& chains, std::string_view table) {
  return has_chain(chains, table, "");
}

bool is_optional(const Step& step) {
  const auto* setting = std::get_if<WriteSysctl>(&step);
  return setting && !setting->is_required;
}

// Executes steps in order, each in the namespace of its side.
class Executor {
 public:
  // `inside` may be empty while a PinNamespace step is still to come.
  explicit Executor(Fd inside) : inside_(std::move(inside)) {}

  Result<void> run(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
      auto done = fault_before_step();
      if (done) done = std::visit([this](const auto& typed) { return execute(typed); }, step);
      if (!done && !is_optional(step)) return fail(step_error(step, done.error()));
    }
    return {};
  }

  const std::vector<ChangedSysctl>& changed_sysctls() const { return changed_; }

  // Puts back the settings of the host that the steps changed.
  void restore_sysctls() {
    for (auto changed = changed_.rbegin(); changed != changed_.rend(); ++changed) {
      // Best effort: this is already the way out of an error, which is what gets reported.
      (void)write_sysctl(sysctl_display_name(changed->name), changed->old_value);
    }
    changed_.clear();
  }

 private:
  template<class Work>
  Result<void> on(Side side, Work work) {
    if (side == Side::Host) return work();
    auto scope = NamespaceScope::enter(inside_.get());
    if (!scope) return fail(scope.error());
    return work();
  }
  // Opened once per side; a netlink socket stays in the namespace it was opened in.
  Result<RouteNetlink*> netlink(Side side) {
    auto& slot = side == Side::Host ? host_netlink_ : inside_netlink_;
    if (slot) return &*slot;
    auto opened = on(side, [&]() -> Result<void> {
      auto socket = RouteNetlink::open();
      if (!socket) return fail(socket.error());
      slot = std::move(*socket);
      return {};
    });
    if (!opened) return fail(opened.error());
    return &*slot;
  }
  template<class Work>
  Result<void> with_netlink(Side side, Work work) {
    auto socket = netlink(side);
    if (!socket) return fail(socket.error());
    return work(**socket);
  }

  Result<void> execute(const PinNamespace& step) {
    auto fd = create_pinned_namespace(step.path);
    if (!fd) return fail(fd.error());
    inside_ = std::move(*fd);
    return {};
  }
  Result<void> execute(const CreateVeth& step) {
    return with_netlink(
        Side::Host, [&](RouteNetlink& socket) { return socket.create_veth(step, inside_.get()); });
  }
  Result<void> execute(const AddAddress& step) {
    return with_netlink(step.side, [&](RouteNetlink& socket) {
      return socket.add_address(step.interface, step.cidr);
    });
  }
  Result<void> execute(const SetUp& step) {
    return with_netlink(step.side,
                        [&](RouteNetlink& socket) { return socket.set_up(step.interface); });
  }
  Result<void> execute(const AddRoute& step) {
    return with_netlink(step.side, [&](RouteNetlink& socket) { return socket.add_route(step); });
  }
  Result<void> execute(const AddMarkRule& step) {
    return with_netlink(step.side,
                        [&](RouteNetlink& socket) { return socket.add_mark_rule(step); });
  }
  Result<void> execute(const WriteSysctl& step) {
    return on(step.side, [&]() -> Result<void> {
      const std::string old_value = read_sysctl(step.name);
      auto written = write_sysctl(step.name, step.value);
      if (!written && step.may_vanish && written.error().errno_value() == ENOENT) return {};
      if (!written) return written;
      if (step.is_reported && old_value != step.value) {
        changed_.push_back({sysctl_display_name(step.name), old_value, step.value});
      }
      return {};
    });
  }
  Result<void> execute(const LoadRules& step) {
    return on(step.side, [&]() -> Result<void> {
      // Asked first: a transaction that fails, or deletes, waits for every CPU.
      const auto chains = nft_chains();
      const bool is_there = chains && has_table(*chains, step.table);
      if (is_there && !step.chain.empty() && !has_chain(*chains, step.table, step.chain)) {
        auto added = run_nft(step.addition);
        if (!added) return fail(added.error());
        return {};
      }
      auto loaded = run_nft(is_there ? step.rules : creating_rules(step.rules, step.table));
      if (!loaded && loaded.error().errno_value() == EEXIST) loaded = run_nft(step.rules);
      if (!loaded) return fail(loaded.error());
      return {};
    });
  }
  Result<void> execute(const LoadIptables& step) {
    return on(step.side, [&]() -> Result<void> {
      auto loaded = apply_iptables_capture(step.wanted);
      if (!loaded) return fail(loaded.error());
      return {};
    });
  }
  Result<void> execute(const FlushConntrack& step) {
    return on(step.side, [&]() -> Result<void> {
      auto flushed = flush_conntrack(step);
      if (!flushed) return fail(flushed.error());
      return {};
    });
  }

  Fd inside_;
  std::optional<RouteNetlink> host_netlink_;
  std::optional<RouteNetlink> inside_netlink_;
  std::vector<ChangedSysctl> changed_;
};

Result<void> refuse_if_in_use(const Names& names) {
  auto pinned = open_namespace_file(names.netns_path);
  if (!pinned) return {};
  // An unmounted leftover is an ordinary file and no namespace of anybody.
  const auto pid = process_in(pinned->get());
  if (!pid) return {};
  return fail(
      fmt::format("the network namespace {} is in use by process {}; stop the service that "
                  "runs in it first",
                  names.netns_path, *pid));
}

// Addresses inside, told by the host's end of the pair; empty when that is gone.
std::vector<Address> inner_addresses(RouteNetlink& netlink, int interface_index) {
  std::vector<Address> inner;
  auto addresses = netlink.addresses();
  if (!addresses) return inner;
  for (const InterfaceAddress& item : *addresses) {
    if (item.interface_index == interface_index && !item.cidr.address.is_link_local()) {
      inner.push_back(item.cidr.address.plus(1));
    }
  }
  return inner;
}

// The interface with the service's name, unless its alias tells that it is somebody else's. A run
// that was killed between creating and labelling left no alias.
Result<int> find_own_interface(RouteNetlink& netlink, const Names& names) {
  auto interfaces = netlink.interfaces();
  if (!interfaces) return fail(interfaces.error());
  for (const Interface& item : *interfaces) {
    if (item.name != names.host_interface) continue;
    return item.alias.empty() || item.alias == names.interface_alias ? item.index : 0;
  }
  return 0;
}

// The host's end of the pair, as found; index 0 = there is none.
struct HostEnd {
  int index = 0;
  std::vector<Address> inner_addresses;  // that the service had inside
};

Result<HostEnd> find_host_end(RouteNetlink& netlink, const Names& names) {
  auto index = find_own_interface(netlink, names);
  if (!index) return fail(index.error());
  HostEnd end;
  end.index = *index;
  if (*index != 0) end.inner_addresses = inner_addresses(netlink, *index);
  return end;
}

Result<void> delete_host_end(RouteNetlink& netlink, const HostEnd& end, const Names& names) {
  auto deleted = netlink.delete_interface(end.index);
  if (deleted || deleted.error().errno_value() == ENODEV) return {};
  return fail(
      Error(fmt::format("cannot delete interface {}: {}{}", names.host_interface,
                        deleted.error().message(), remedy_of(deleted.error().errno_value()))));
}

// In a child process, as it looks through the host's whole table; its pid, or 0. It begins once the
// rules have no effect any more, or a packet would be tracked by them again.
pid_t forget_connections(const std::vector<Address>& addresses, const TableDeletion& deletion) {
  if (addresses.empty()) return 0;
  const pid_t child = ::fork();
  if (child == 0) {
    deletion.wait_for_effect();
    (void)flush_conntrack({Side::Host, addresses, {}});  // best effort: they end by themselves
    ::_exit(0);
  }
  return child;
}

// Everything is tried; the first thing that could not be removed is reported. The table, the
// interface and the tracked connections take their time, so they take it together; but all of it is
// over at the end: the caller removes the cgroup that we are in.
Result<std::vector<std::string>> remove_named(const Names& names) {
  std::vector<std::string> removed;
  TableDeletion deletion(names.host_table);
  auto netlink = RouteNetlink::open();
  auto end = netlink ? find_host_end(*netlink, names) : fail(netlink.error());
  Result<void> interface = end ? Result<void>() : fail(end.error());
  pid_t forgetting = 0;
  if (end && end->index != 0) {
    forgetting = forget_connections(end->inner_addresses, deletion);
    interface = delete_host_end(*netlink, *end, names);
    if (interface) removed.push_back("interface " + names.host_interface);
  }
  auto pin = remove_pin(names.netns_path);
  auto table = deletion.finish();
  if (table && *table) removed.push_back("table inet " + names.host_table);
  if (pin && *pin) removed.push_back("namespace " + names.netns_path);
  if (forgetting > 0) ::waitpid(forgetting, nullptr, 0);
  if (!interface) return fail(interface.error());
  if (!table) return fail(table.error());
  if (!pin) return fail(pin.error());
  return removed;
}

Result<Facts> create_from(const Plan& plan, const Names& names) {
  Executor executor{Fd()};
  auto done = executor.run(plan.steps);
  if (!done) {
    (void)remove_named(names);  // the step's error is the one to report
    executor.restore_sysctls();
    return fail(done.error());
  }
  Facts facts = plan.facts;
  facts.changed_sysctls = executor.changed_sysctls();
  return facts;
}

Result<Facts> create_pinned(const Wanted& wanted) {
  const Names names = names_of(wanted.service);
  auto lock = lock_netns_directory();
  if (!lock) {
    return fail(Error(fmt::format("cannot create network namespace {}: {}{}", names.netns_path,
                                  lock.error().message(), remedy_of(lock.error().errno_value()))));
  }
  if (auto unused = refuse_if_in_use(names); !unused) return fail(unused.error());
  if (auto removed = remove_named(names); !removed) {
    const Error& cause = removed.error();
    return fail(Error(fmt::format("cannot remove remains of an earlier run: {}{}", cause.message(),
                                  remedy_of(cause.errno_value())),
                      cause.errno_value()));
  }
  auto host = observe_host();
  if (!host) return fail(host.error());
  auto plan = plan_create(wanted, *host);
  if (!plan) return fail(plan.error());
  return create_from(*plan, names);
}

// Nothing was made but what goes with the namespace itself.
Result<Facts> seal_in_place(const Wanted& wanted) {
  if (is_initial_namespace()) {
    return fail(
        "in_place would seal the machine's own network namespace; run it in one of its own");
  }
  auto host = observe_host();
  if (!host) return fail(host.error());
  auto plan = plan_create(wanted, *host);
  if (!plan) return fail(plan.error());
  auto inside = current_namespace();
  if (!inside) return fail(inside.error());
  Executor executor(std::move(*inside));
  if (auto done = executor.run(plan->steps); !done) return fail(done.error());
  return plan->facts;
}

// Host and join: nothing is built; the namespace must exist and the mode must be allowed in it.
Result<Facts> adopt_namespace(const Wanted& wanted) {
  auto inside = open_namespace(wanted);
  if (!inside) return fail(inside.error());
  auto scope = NamespaceScope::enter(inside->get());
  if (!scope) {
    return fail(
        Error(scope.error().message() + std::string(remedy_of(scope.error().errno_value()))));
  }
  auto host = observe_host();
  if (!host) return fail(host.error());
  auto plan = plan_create(wanted, *host);
  if (!plan) return fail(plan.error());
  if (wanted.mode == Mode::Join) plan->facts.netns_path = join_path(wanted.join);
  return plan->facts;
}

Result<Fd> open_for_capture(const Wanted& wanted) {
  auto inside = open_namespace(wanted);
  if (inside) return inside;
  return fail(Error(fmt::format("cannot capture traffic of {}: {}; run create first",
                                wanted.service, inside.error().message())));
}

bool has_initial_namespace(const Fd& inside) {
  auto scope = NamespaceScope::enter(inside.get());
  return scope && is_initial_namespace();
}

// A kernel without nftables has no table of ours.
Result<void> delete_capture_table(const Wanted& wanted) {
  auto deleted = delete_nft_table(capture_table_of(wanted));
  if (!deleted && deleted.error().errno_value() != EOPNOTSUPP) return fail(deleted.error());
  return {};
}

Result<void> delete_capture_chains(const Wanted& wanted) {
  auto removed = remove_iptables_capture(wanted.service);
  if (!removed) return fail(removed.error());
  return {};
}

// The proxy calls the app from ::6, which, unlike 127.0.0.6, is nobody's by itself. Where we build
// the namespace it is there; in another's it comes and goes with capture.
bool borrows_proxy_source(const Wanted& wanted) {
  return (wanted.mode == Mode::Host || wanted.mode == Mode::Join) && wanted.ipv6;
}

const Cidr& proxy_source6() {
  static const Cidr source = *parse_cidr("::6/128");
  return source;
}

// Without IPv6 there is nothing to be done, and no harm.
void add_proxy_source(const Fd& inside, const Wanted& wanted) {
  if (!borrows_proxy_source(wanted) || !captures_inbound(wanted.intercept)) return;
  auto scope = NamespaceScope::enter(inside.get());
  auto netlink = scope ? RouteNetlink::open() : fail(scope.error());
  if (netlink) (void)netlink->add_address("lo", proxy_source6());
}

// Another service, or Istio, may share the namespace, and its proxy the address.
void remove_proxy_source(const Wanted& wanted) {
  if (!borrows_proxy_source(wanted)) return;
  const auto chains = nft_chains();
  const bool is_used =
      chains && std::any_of(chains->begin(), chains->end(), [](const auto& chain) {
        const bool is_capture =
            chain.table.starts_with("pillion_") && chain.name == "inbound_packets";
        return is_capture || chain.name.starts_with("PIL") || chain.name.starts_with("ISTIO");
      });
  auto netlink = RouteNetlink::open();
  if (!is_used && netlink) (void)netlink->delete_address("lo", proxy_source6());
}

Result<void> remove_capture_in(const Fd& inside, const Wanted& wanted) {
  auto scope = NamespaceScope::enter(inside.get());
  if (!scope) return fail(scope.error());
  auto deleted = delete_capture_table(wanted);
  auto removed = delete_capture_chains(wanted);
  remove_proxy_source(wanted);
  return deleted ? removed : deleted;
}

// Rules of an earlier run stay live, and what belongs to them.
void give_up_capture(const Fd& inside, const Wanted& wanted) {
  auto scope = NamespaceScope::enter(inside.get());
  if (scope) remove_proxy_source(wanted);
}

// What another backend had loaded before; ours is live by now, so nothing slips through.
Result<void> remove_other_backend(const Fd& inside, const Wanted& wanted, Backend used) {
  auto scope = NamespaceScope::enter(inside.get());
  if (!scope) return fail(scope.error());
  return used == Backend::Iptables ? delete_capture_table(wanted) : delete_capture_chains(wanted);
}

InboundListener look_at_listener(const Fd& inside, std::uint16_t port) {
  InboundListener listener;
  auto scope = NamespaceScope::enter(inside.get());
  if (!scope) return listener;
  auto sockets = tcp_sockets(1u << kTcpListen);
  if (!sockets) return listener;
  for (const TcpSocket& socket : *sockets) {
    if (socket.local_port != port) continue;
    // All of them must be transparent: IPv4's and IPv6's.
    const bool is_first = !listener.is_there;
    listener.is_there = true;
    if (is_first || !socket.is_transparent || !*socket.is_transparent) {
      listener.is_transparent = socket.is_transparent;
    }
  }
  return listener;
}

// The kernel or the container lacks what the way needs; another way may do.
bool is_unsupported(const Error& error) {
  const int value = error.errno_value();
  return value == EOPNOTSUPP || value == ENOENT || value == EPROTONOSUPPORT ||
         value == EAFNOSUPPORT;
}

Result<void> try_capture(const Fd& inside, const Wanted& wanted) {
  auto steps = plan_capture(wanted, has_initial_namespace(inside));
  if (!steps) return fail(steps.error());
  auto copy = inside.duplicate();
  if (!copy) return fail(copy.error());
  Executor executor{std::move(*copy)};
  return executor.run(*steps);
}

}  // namespace

Result<Facts> create_network(const Wanted& wanted) {
  switch (wanted.mode) {
    case Mode::Bridged: return create_pinned(wanted);
    case Mode::Host:
    case Mode::Join: return adopt_namespace(wanted);
    case Mode::Sealed: return wanted.is_in_place ? seal_in_place(wanted) : create_pinned(wanted);
  }
  PILLION_ASSERT(false);
}

Result<std::vector<CaptureFacts>> find_capture_attempts(const Wanted& wanted) {
  auto inside = open_for_capture(wanted);
  if (!inside) return fail(inside.error());
  const auto listener = look_at_listener(*inside, wanted.intercept.inbound_port);
  return capture_attempts(wanted, listener);
}

Result<CaptureFacts> apply_capture(const Wanted& wanted) {
  auto inside = open_for_capture(wanted);
  if (!inside) return fail(inside.error());
  auto attempts = find_capture_attempts(wanted);
  if (!attempts) return fail(attempts.error());
  add_proxy_source(*inside, wanted);
  for (std::size_t i = 0;; ++i) {
    const CaptureFacts& attempt = (*attempts)[i];
    // Rules load whole or not at all: older ones are still live after a failure.
    auto done = try_capture(*inside, with_choice(wanted, attempt));
    if (done) {
      auto removed = remove_other_backend(*inside, wanted, attempt.backend);
      if (!removed) return fail(removed.error().wrap("cannot remove the rules of another backend"));
      return attempt;
    }
    if (i + 1 == attempts->size() || !is_unsupported(done.error())) {
      give_up_capture(*inside, wanted);
      return fail(done.error());
    }
    explain_fallback(attempt, done.error().message(), (*attempts)[i + 1]);
  }
}

Result<void> remove_capture(const Wanted& wanted) {
  auto inside = open_namespace(wanted);
  if (!inside && inside.error().errno_value() == ENOENT) return {};
  if (!inside) return fail(inside.error());
  return remove_capture_in(*inside, wanted);
}

Result<std::vector<std::string>> remove_network(std::string_view service) {
  auto removed = remove_named(names_of(service));
  if (removed) return removed;
  return fail(
      Error(fmt::format("cannot remove the network of {}: {}{}", service, removed.error().message(),
                        remedy_of(removed.error().errno_value()))));
}

}  // namespace pillion::netns
