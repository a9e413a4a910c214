#include "proxy/cluster.h"

namespace pillion::proxy {

std::size_t choose_endpoint(config::LoadBalancing policy, std::span<const std::size_t> loads,
                            std::size_t previous, std::uint64_t random, std::size_t excluded) {
  PILLION_ASSERT(!loads.empty());
  const std::size_t count = loads.size();
  if (count == 1) return 0;
  const auto skip_excluded = [&](std::size_t choice) {
    return choice == excluded ? (choice + 1) % count : choice;
  };
  if (policy == config::LoadBalancing::RoundRobin) return skip_excluded((previous + 1) % count);
  const std::size_t first = skip_excluded(random % count);
  if (policy == config::LoadBalancing::Random) return first;
  // Power of two choices, by connections in use.
  const std::size_t second = skip_excluded((first + 1 + (random >> 32) % (count - 1)) % count);
  return loads[second] < loads[first] ? second : first;
}

void Cluster::set_endpoints(std::vector<std::shared_ptr<Endpoint>> endpoints) {
  endpoints_ = std::move(endpoints);
  previous_ = 0;
}

const std::shared_ptr<Endpoint>& Cluster::choose(RandomSource& random, const Endpoint* excluded) {
  if (endpoints_.size() == 1) return endpoints_.front();
  loads_.clear();
  std::size_t excluded_index = kNoEndpoint;
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    loads_.push_back(endpoints_[i]->active());
    if (endpoints_[i].get() == excluded) excluded_index = i;
  }
  previous_ = choose_endpoint(config().load_balancing, loads_, previous_, random.next_u64(),
                              excluded_index);
  return endpoints_[previous_];
}

}  // namespace pillion::proxy
