#include "supervisor/host/neighbour_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <variant>

#include "runtime/file_replacement.h"
#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kSettle = std::chrono::milliseconds(20);
// A keeper that was killed leaves its file, and no event.
constexpr auto kPeriod = std::chrono::seconds(5);

bool is_loopback(const std::string& address) {
  const auto ip = config::IpAddress::parse(address);
  return ip && ip->is_loopback();
}

// Where the proxy finds a port that the host listens on; "" = nowhere.
std::string target_of(const RegisteredPort& port, const std::string& gateway) {
  const bool is_on_host = gateway.empty();
  if (port.host_address == "*") return is_on_host ? "127.0.0.1" : gateway;
  return is_on_host || !is_loopback(port.host_address) ? port.host_address : "";
}

// By the app's own port, and by the host's where that is no port of the app.
std::vector<NeighbourPort> targets_of(const RegisteredService& service,
                                      const std::string& gateway) {
  std::vector<NeighbourPort> targets;
  const auto add = [&](std::uint16_t number, const RegisteredPort& port) {
    const std::string address = target_of(port, gateway);
    const bool is_there = std::any_of(targets.begin(), targets.end(),
                                      [&](const auto& each) { return each.port == number; });
    if (address.empty() || is_there) return;
    targets.push_back({number, port.protocol, address, port.host_port});
  };
  for (const RegisteredPort& port : service.ports) add(port.port, port);
  for (const RegisteredPort& port : service.ports) add(port.host_port, port);
  return targets;
}

}  // namespace

NeighbourFacts neighbour_facts_of(const config::Service& service,
                                  const std::optional<netns::Facts>& network) {
  NeighbourFacts facts;
  facts.name = service.name();
  for (const auto& [name, address] : service.network.hosts) facts.taken.insert(name);
  const config::Child* proxy = service.using_component(config::Component::Proxy);
  if (proxy != nullptr) {
    const auto& config = std::get<config::ProxyConfig>(proxy->config);
    facts.may_call = config.outbound.unknown != config::UnknownDestination::Refuse;
    for (const auto& upstream : config.upstreams) {
      facts.taken.insert(upstream.name);
      facts.taken.insert(upstream.hosts.begin(), upstream.hosts.end());
    }
  }
  facts.is_captured = proxy != nullptr && service.network.intercept.outbound;
  if (network && service.network.mode == config::NetworkMode::Bridged) {
    facts.gateway = network->gateway4.empty() ? network->gateway6 : network->gateway4;
  }
  return facts;
}

std::vector<Neighbour> plan_neighbours(const NeighbourFacts& facts,
                                       const std::vector<RegisteredService>& registered,
                                       const std::vector<Neighbour>& before) {
  std::vector<Neighbour> neighbours;
  std::set<std::uint32_t> used;
  for (const RegisteredService& service : registered) {
    if (service.name == facts.name || facts.taken.count(service.name) > 0) continue;
    used.insert(service.address);
    Neighbour neighbour{service.name, service.address, NeighbourState::Running, {}};
    if (!facts.may_call) {
      neighbour.state = NeighbourState::Denied;
    } else {
      neighbour.ports = targets_of(service, facts.gateway);
      if (neighbour.ports.empty()) neighbour.state = NeighbourState::Distant;
    }
    neighbours.push_back(std::move(neighbour));
  }
  for (const Neighbour& old : before) {
    const bool is_there = std::any_of(neighbours.begin(), neighbours.end(),
                                      [&](const auto& each) { return each.name == old.name; });
    // Whoever has its address now is not it.
    if (is_there || !used.insert(old.address).second) continue;
    const bool is_denied = old.state == NeighbourState::Denied;
    neighbours.push_back(
        {old.name, old.address, is_denied ? old.state : NeighbourState::Stopped, {}});
  }
  std::sort(neighbours.begin(), neighbours.end(),
            [](const auto& left, const auto& right) { return left.name < right.name; });
  return neighbours;
}

std::vector<netns::HostAlias> neighbour_aliases(const NeighbourFacts& facts,
                                                const std::vector<Neighbour>& neighbours) {
  std::vector<netns::HostAlias> aliases;
  for (const Neighbour& neighbour : neighbours) {
    const std::vector<std::string> names = {neighbour.name,
                                            neighbour.name + std::string(kNeighbourSuffix)};
    if (facts.is_captured) {
      aliases.push_back({neighbour_address_text(neighbour.address), names});
    } else if (!facts.gateway.empty() && neighbour.state == NeighbourState::Running) {
      aliases.push_back({facts.gateway, names});
    }
  }
  return aliases;
}

std::vector<RegisteredPort> registered_ports_of(const config::Service& service) {
  std::vector<RegisteredPort> ports;
  for (const config::Publish& publish : service.network.publish) {
    if (publish.transport != config::Transport::Tcp) continue;
    for (unsigned i = 0; i < publish.host.count(); ++i) {
      RegisteredPort port;
      port.port = static_cast<std::uint16_t>(publish.target.first + i);
      port.host_port = static_cast<std::uint16_t>(publish.host.first + i);
      port.protocol = config::name_of(config::AppProtocol::Auto);
      for (const config::ChildPort& declared : service.app().ports) {
        if (declared.port == port.port) port.protocol = config::name_of(declared.protocol);
      }
      port.host_address = publish.address ? publish.address->to_string() : "*";
      ports.push_back(std::move(port));
    }
  }
  return ports;
}

NeighbourWatch::NeighbourWatch(Loop& loop, const ServiceRegistry& registry, NeighbourFacts facts,
                               std::string file)
    : registry_(registry),
      facts_(std::move(facts)),
      file_(std::move(file)),
      settle_(loop),
      periodic_(loop) {
  if (const auto text = read_file(file_)) neighbours_ = parse_neighbours(*text);
  inotify_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (inotify_) poll_.emplace(loop, inotify_.get());
}

Result<void> NeighbourWatch::start(OnChange on_change) {
  on_change_ = std::move(on_change);
  if (auto opened = registry_.open(); !opened) return opened;
  constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
  if (inotify_ &&
      ::inotify_add_watch(inotify_.get(), registry_.directory().c_str(), kEvents) >= 0) {
    poll_->start(kReadable, [this](int, int) { on_event(); });
  }
  periodic_.start(kPeriod, kPeriod, [this] { update(); });
  neighbours_ = plan_neighbours(facts_, registry_.list(), neighbours_);
  on_change_(neighbour_aliases(facts_, neighbours_));
  return replace_file(file_, render_neighbours(neighbours_), 0644, Survives::ProcessCrash);
}

void NeighbourWatch::on_event() {
  alignas(inotify_event) char buffer[4096];
  while (::read(inotify_.get(), buffer, sizeof buffer) > 0) {
  }
  settle_.start(kSettle, [this] { update(); });
}

void NeighbourWatch::update() {
  auto neighbours = plan_neighbours(facts_, registry_.list(), neighbours_);
  if (neighbours == neighbours_) return;
  neighbours_ = std::move(neighbours);
  auto written = replace_file(file_, render_neighbours(neighbours_), 0644, Survives::ProcessCrash);
  if (!written) log::warn("the proxy does not learn of a neighbour: {}", written.error().message());
  on_change_(neighbour_aliases(facts_, neighbours_));
}

}  // namespace pillion::supervisor::host
