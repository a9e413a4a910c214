// The server's listening sockets: those that were handed over, or its own. See server.h.
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

#include "proxy/server.h"
#include "runtime/log.h"
#include "runtime/socket_broker.h"

namespace pillion::proxy {
namespace {

std::optional<std::size_t> number_after(std::string_view name, std::string_view prefix) {
  if (name.substr(0, prefix.size()) != prefix) return std::nullopt;
  std::size_t number = 0;
  const auto result =
      std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
  if (result.ec != std::errc() || result.ptr != name.data() + name.size()) return std::nullopt;
  return number;
}

Result<Fd> listen_on(const config::SocketAddress& address, bool is_datagram = false) {
  const std::string ip = address.ip.to_string();
  return is_datagram ? bind_udp(ip, address.port) : listen_tcp(ip, address.port);
}

bool is_datagram_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
}

}  // namespace

bool Server::forwards_datagrams() const {
  return std::any_of(listeners_.begin(), listeners_.end(),
                     [](const OpenListener& listener) { return listener.info.is_datagram; });
}

void Server::add_listener(Fd fd, ListenerInfo info) {
  info.own_port = local_port(fd.get()).value_or(std::uint16_t{0});
  log::info("listening for {} on port {}", info.name, info.own_port);
  listeners_.push_back({std::move(fd), std::move(info)});
}

// The sockets our parent made, by name; on our own, those of the configuration.
Result<void> Server::open_listeners(InheritedListeners& inherited) {
  if (inherited.is_empty()) return open_own_listeners();
  health_listener_ = inherited.take("health");
  prometheus_listener_ = inherited.take("prometheus");
  admin_listener_ = inherited.take("admin");
  if (auto channel = inherited.take(kBrokerListener)) {
    app_sockets_ = std::make_unique<SocketStock>(std::move(*channel));
  }
  if (auto done = open_dns(inherited); !done) return done;
  for (const std::string& name : inherited.names()) {
    auto fd = inherited.take(name);
    if (!fd) continue;
    if (auto done = set_nonblocking(fd->get(), true); !done) return done;
    ListenerInfo info;
    info.name = name;
    info.is_datagram = is_datagram_socket(fd->get());
    if (name == "inbound" || name == "inbound6") {
      info.kind = ListenerKind::Inbound;
    } else if (name == "outbound" || name == "outbound6") {
      info.kind = ListenerKind::Outbound;
    } else if (const auto index = number_after(name, "explicit-")) {
      info.kind = ListenerKind::Explicit;
      info.explicit_index = *index;
    } else {
      const auto& published = snapshot_->config().inbound.published;
      const auto found = std::find_if(published.begin(), published.end(),
                                      [&](const auto& one) { return one.listener == name; });
      if (found == published.end()) {
        log::warn("ignoring the socket named {}: nothing in the configuration uses it", name);
        continue;
      }
      info.kind = ListenerKind::Publish;
      info.app_port = found->port;
    }
    add_listener(std::move(*fd), std::move(info));
  }
  return {};
}

// Only handed-over sockets: what a proxy started alone would answer, nobody is led to ask.
Result<void> Server::open_dns(InheritedListeners& inherited) {
  for (const char* name : {"dns", "dns6", "dns-tcp", "dns-tcp6"}) {
    auto fd = inherited.take(name);
    if (!fd) continue;
    if (auto done = set_nonblocking(fd->get(), true); !done) return done;
    if (!dns_) {
      dns_ = std::make_unique<dns::Forwarder>(loop_);
      set_dns_names();
    }
    log::info("listening for {} on port {}", name, local_port(fd->get()).value_or(0));
    if (std::string_view(name).starts_with("dns-tcp")) {
      dns_->serve_tcp(std::move(*fd));
    } else if (auto done = dns_->serve_udp(std::move(*fd)); !done) {
      return done;
    }
  }
  return {};
}

Result<void> Server::open_own_listeners() {
  const config::ProxyConfig& config = snapshot_->config();
  const auto open = [this](const config::SocketAddress& address,
                           ListenerInfo info) -> Result<void> {
    auto fd = listen_on(address, info.is_datagram);
    if (!fd) return fail(fd.error());
    add_listener(std::move(*fd), std::move(info));
    return {};
  };
  if (auto done = open(config.inbound.listen, {"inbound", ListenerKind::Inbound, 0, 0, 0, false});
      !done) {
    return done;
  }
  if (auto done =
          open(config.outbound.listen, {"outbound", ListenerKind::Outbound, 0, 0, 0, false});
      !done) {
    return done;
  }
  for (std::size_t i = 0; i < config.explicit_listeners.size(); ++i) {
    const bool is_datagram = config.explicit_listeners[i].transport == config::Transport::Udp;
    auto done = open(config.explicit_listeners[i].listen,
                     {fmt::format("explicit-{}", i), ListenerKind::Explicit, 0, 0, i, is_datagram});
    if (!done) return done;
  }
  for (const config::PublishedListener& published : config.inbound.published) {
    if (!published.listen) continue;
    auto done = open(*published.listen, {published.listener, ListenerKind::Publish, published.port,
                                         0, 0, published.transport == config::Transport::Udp});
    if (!done) return done;
  }
  const std::pair<const config::SocketAddress*, std::optional<Fd>*> plain[] = {
      {&config.health.listen, &health_listener_},
      {&config.prometheus.listen, &prometheus_listener_},
      {&config.admin.listen, &admin_listener_}};
  for (const auto& [address, listener] : plain) {
    auto fd = listen_on(*address);
    if (!fd) return fail(fd.error());
    *listener = std::move(*fd);
  }
  return {};
}

}  // namespace pillion::proxy
