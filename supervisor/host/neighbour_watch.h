// The other services of this host that this one may call by name: follows the registry, decides who
// is reachable and where, and keeps the file by which the proxy knows them.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/service.h"
#include "netns/facts.h"
#include "netns/wanted.h"
#include "runtime/fd.h"
#include "runtime/loop.h"
#include "runtime/neighbours.h"
#include "supervisor/host/service_registry.h"

namespace pillion::supervisor::host {

// What decides; see neighbour_facts_of().
struct NeighbourFacts {
  std::string name;             // our own: no neighbour
  bool may_call = true;         // false: the proxy refuses what is not declared
  std::set<std::string> taken;  // names that mean something else here
  bool is_captured = false;     // the app's calls to virtual addresses reach the proxy
  std::string gateway;          // the host, as our namespace sees it; "" = we are on the host
};
NeighbourFacts neighbour_facts_of(const config::Service& service,
                                  const std::optional<netns::Facts>& network);

// Pure. `before` is what was said last: who was there and is not now is stopped.
std::vector<Neighbour> plan_neighbours(const NeighbourFacts& facts,
                                       const std::vector<RegisteredService>& registered,
                                       const std::vector<Neighbour>& before);
// Their names in the service's hosts file.
std::vector<netns::HostAlias> neighbour_aliases(const NeighbourFacts& facts,
                                                const std::vector<Neighbour>& neighbours);
// What this service has to offer.
std::vector<RegisteredPort> registered_ports_of(const config::Service& service);

class NeighbourWatch {
 public:
  using OnChange = std::function<void(const std::vector<netns::HostAlias>&)>;

  // `file` is written when something changed; a file that an earlier supervisor wrote is read.
  NeighbourWatch(Loop& loop, const ServiceRegistry& registry, NeighbourFacts facts,
                 std::string file);

  // `on_change` is called now, and from the loop later.
  Result<void> start(OnChange on_change);

 private:
  void on_event();
  void update();

  const ServiceRegistry& registry_;
  const NeighbourFacts facts_;
  const std::string file_;
  std::vector<Neighbour> neighbours_;
  OnChange on_change_;
  Fd inotify_;
  std::optional<Poll> poll_;
  Timer settle_;
  Timer periodic_;
};

}  // namespace pillion::supervisor::host
