#include "proxy/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "runtime/log.h"

namespace pillion::proxy {
namespace {

// getaddrinfo() does not tell a TTL; this is what most records would say.
constexpr std::chrono::seconds kRefresh{30};
constexpr std::chrono::seconds kRetry{5};

struct Outcome {
  std::vector<Address> addresses;
  std::string problem;  // why a name gave none
};

bool is_numeric(const config::Upstream& upstream) {
  return std::all_of(upstream.address.begin(), upstream.address.end(), [](const auto& one) {
    return config::IpAddress::parse(one.host).has_value();
  });
}

void resolve_one(const config::HostPort& target, Outcome& outcome) {
  if (const auto ip = config::IpAddress::parse(target.host)) {
    outcome.addresses.emplace_back(*ip, target.port);
    return;
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(target.host.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    outcome.problem = "cannot resolve " + target.host + ": " + gai_strerror(error);
    return;
  }
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    const Address address = Address::from_sockaddr(one->ai_addr).with_port(target.port);
    // An own virtual address would lead back into the capture.
    if (is_virtual_address(address)) {
      outcome.problem = target.host + " resolves to a virtual address of this service";
      continue;
    }
    outcome.addresses.push_back(address);
  }
  freeaddrinfo(list);
}

Outcome resolve(const config::Upstream& upstream) {
  Outcome outcome;
  for (const config::HostPort& target : upstream.address) resolve_one(target, outcome);
  return outcome;
}

}  // namespace

struct Resolver::Core : std::enable_shared_from_this<Resolver::Core> {
  Core(Loop& owner_loop, SnapshotPointer accepted, OnAddresses addresses_changed,
       std::function<void()> first_round)
      : loop(owner_loop),
        snapshot(std::move(accepted)),
        on_addresses(std::move(addresses_changed)),
        on_first_round(std::move(first_round)),
        addresses(snapshot->upstreams().size()),
        problems(snapshot->upstreams().size()),
        pending(snapshot->upstreams().size()) {
    for (std::size_t i = 0; i < addresses.size(); ++i) timers.emplace_back(loop);
  }

  void start(std::size_t index) {
    // Copies for the pool's thread; `self` keeps the receiver alive until `done` has run.
    auto outcome = std::make_shared<Outcome>();
    ++jobs;
    loop.queue_work(
        [outcome, pinned = snapshot, index] { *outcome = resolve(pinned->upstreams()[index]); },
        [self = shared_from_this(), outcome, index] { self->finish(index, *outcome); });
  }

  void finish(std::size_t index, const Outcome& outcome) {
    --jobs;
    if (!is_stopped) note(index, outcome);
  }

  void note(std::size_t index, const Outcome& outcome) {
    const config::Upstream& upstream = snapshot->upstreams()[index];
    if (outcome.problem != problems[index]) {
      problems[index] = outcome.problem;
      if (!outcome.problem.empty()) log::warn("upstream {}: {}", upstream.name, outcome.problem);
    }
    if (!outcome.addresses.empty() && outcome.addresses != addresses[index]) {
      addresses[index] = outcome.addresses;
      on_addresses(index, addresses[index]);
    }
    if (!is_numeric(upstream)) {
      timers[index].start(outcome.problem.empty() ? Duration(kRefresh) : Duration(kRetry),
                          [this, index] { start(index); });
    }
    if (pending > 0 && !is_tried(index)) {
      tried.push_back(index);
      if (--pending == 0) on_first_round();
    }
  }

  bool is_tried(std::size_t index) const {
    return std::find(tried.begin(), tried.end(), index) != tried.end();
  }

  Loop& loop;
  const SnapshotPointer snapshot;
  const OnAddresses on_addresses;
  const std::function<void()> on_first_round;
  std::vector<std::vector<Address>> addresses;
  std::vector<std::string> problems;
  std::vector<Timer> timers;
  std::vector<std::size_t> tried;
  std::size_t pending;
  std::size_t jobs = 0;
  bool is_stopped = false;
};

Resolver::Resolver(Loop& loop, SnapshotPointer snapshot, OnAddresses on_addresses,
                   std::function<void()> on_first_round)
    : core_(std::make_shared<Core>(loop, std::move(snapshot), std::move(on_addresses),
                                   std::move(on_first_round))) {
  const std::size_t count = core_->addresses.size();
  if (count == 0) {
    loop.defer([core = core_] {
      if (!core->is_stopped) core->on_first_round();
    });
  }
  for (std::size_t i = 0; i < count; ++i) {
    const config::Upstream& upstream = core_->snapshot->upstreams()[i];
    if (is_numeric(upstream)) {
      // Known now: no request needs to wait for a thread.
      const Outcome outcome = resolve(upstream);
      core_->addresses[i] = outcome.addresses;
      loop.defer([core = core_, outcome, i] {
        if (!core->is_stopped) core->note(i, outcome);
      });
    } else {
      core_->start(i);
    }
  }
}

Resolver::~Resolver() {
  core_->is_stopped = true;
  core_->timers.clear();
}

bool Resolver::is_busy() const { return core_->jobs > 0; }

const std::vector<std::vector<Address>>& Resolver::addresses() const { return core_->addresses; }

}  // namespace pillion::proxy
