#include "proxy/worker.h"

#include <sys/socket.h>
#include <time.h>

#include <cerrno>
#include <cstring>
#include <future>

#include "proxy/forwarded.h"
#include "proxy/reuse.h"
#include "runtime/log.h"

namespace pillion::proxy {
namespace {

// Connections taken per wake-up, so that a burst of them does not starve the others.
constexpr int kAcceptsPerTurn = 32;
constexpr std::size_t kFreeExchangesMax = 256;
constexpr std::size_t kLogLinesFlushed = 64 * 1024;
constexpr Milliseconds kSweepInterval = 10'000;
constexpr Milliseconds kAcceptPause = 100;

std::int64_t wall_clock_offset_ns() {
  timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  return wall.tv_sec * 1'000'000'000ll + wall.tv_nsec - Reactor::precise_now_ns();
}

EndpointOptions app_options(const config::ProxyConfig& config, bool is_v6) {
  EndpointOptions options;
  options.source = is_v6 ? Address(*config::IpAddress::parse("::6"), 0)
                         : Address(config.inbound.source_address, 0);
  options.connect_timeout = config.timeouts.app_connect.count();
  options.pool_idle = config.timeouts.app_pool_idle.count();
  return options;
}

SocketOptions socket_options(const config::ProxyTimeouts& timeouts) {
  SocketOptions options;
  options.keepalive_seconds = static_cast<unsigned>(timeouts.tcp_keepalive.count() / 1000);
  options.user_timeout_milliseconds = static_cast<unsigned>(timeouts.tcp_user.count());
  return options;
}

bool is_http2(config::ProxyProtocol protocol) {
  return protocol == config::ProxyProtocol::Http2 || protocol == config::ProxyProtocol::Grpc;
}

bool is_http(config::ProxyProtocol protocol) {
  return protocol == config::ProxyProtocol::Http || is_http2(protocol);
}

}  // namespace

class Worker::AcceptWatcher final : public Watcher, public Deadline {
 public:
  AcceptWatcher(Worker& worker, int listening_fd, ListenerInfo listener)
      : fd(listening_fd), info(std::move(listener)), worker_(worker) {}
  void on_events(std::uint32_t) override { worker_.accept_some(*this); }

  // Out of descriptors: polling on would only burn CPU until some are free.
  void pause() {
    worker_.reactor_.remove(fd);
    worker_.reactor_.timers().arm(*this, worker_.reactor_.now() + kAcceptPause);
  }
  void on_deadline(Milliseconds) override { worker_.reactor_.add_listener(fd, *this); }

  const int fd;  // the server's; shared by the workers
  const ListenerInfo info;

 private:
  Worker& worker_;
};

// Hands the log lines on, and forgets endpoints that nobody uses.
class Worker::Housekeeping final : public Deadline {
 public:
  explicit Housekeeping(Worker& worker) : worker_(worker) {}
  void on_deadline(Milliseconds now) override {
    worker_.flush_log();
    if (now - worker_.swept_at_ > kSweepInterval) {
      worker_.swept_at_ = now;
      worker_.endpoints_.sweep();
    }
  }

 private:
  Worker& worker_;
};

Worker::Worker(std::string via_token, AccessLog* log, config::AccessLogFormat format,
               SocketStock* stock, std::size_t read_buffer_bytes)
    : reactor_(loop_),
      wakeup_(loop_, [this] { run_posted(); }),
      buffers_(read_buffer_bytes),
      app_sockets_(stock == nullptr ? nullptr : std::make_unique<AppSockets>(reactor_, *stock)),
      endpoints_(reactor_, stats_),
      via_token_(std::move(via_token)),
      log_(log),
      formatter_(format),
      housekeeping_(std::make_unique<Housekeeping>(*this)),
      wall_offset_ns_(wall_clock_offset_ns()) {}

Worker::~Worker() {
  if (thread_.joinable()) stop();
}

// ---- Thread -------------------------------------------------------------------------------------

void Worker::start() {
  thread_ = std::thread([this] { run(); });
}

void Worker::stop() {
  post([this] { reactor_.stop(); });
  thread_.join();
}

void Worker::run() {
  pthread_setname_np(pthread_self(), "worker");
  reactor_.run();
  remove_listeners(false);
  forwarders_.clear();
  abort_all();
  endpoints_.close_idle();
  flush_log();
}

void Worker::post(std::function<void()> task) {
  const std::lock_guard lock(tasks_mutex_);
  tasks_.push_back(std::move(task));
  wakeup_.send();
}

void Worker::run_posted() {
  std::vector<std::function<void()>> batch;
  {
    const std::lock_guard lock(tasks_mutex_);
    batch.swap(tasks_);
  }
  for (const auto& task : batch) task();
}

// ---- Configuration ------------------------------------------------------------------------------

void Worker::set_snapshot(SnapshotPointer snapshot, const ResolvedUpstreams& resolved,
                          TlsPointer tls) {
  auto table = std::make_shared<RouteTable>();
  table->snapshot = snapshot;
  table->tls = std::move(tls);
  for (std::size_t i = 0; i < snapshot->upstreams().size(); ++i) {
    // An upstream that did not change keeps its cluster, with its pools and counters.
    std::shared_ptr<Cluster> cluster;
    if (routes_) {
      for (const auto& old : routes_->clusters) {
        if (old->config() == snapshot->upstreams()[i]) cluster = old;
      }
    }
    if (!cluster) {
      cluster = std::make_shared<Cluster>(snapshot, i);
      keep_endpoints(*cluster);
    }
    table->clusters.push_back(std::move(cluster));
  }
  flush_interval_ = snapshot->config().access_log.flush_interval.count();
  routes_ = table;
  for (std::size_t i = 0; i < resolved.size() && i < table->clusters.size(); ++i) {
    if (!resolved[i].empty()) set_resolved(i, resolved[i]);
  }
}

void Worker::set_tls(TlsPointer tls) {
  if (!routes_) return;
  auto table = std::make_shared<RouteTable>(*routes_);
  table->tls = std::move(tls);
  routes_ = table;
  for (std::size_t i = 0; i < table->clusters.size(); ++i) {
    std::vector<Address> addresses;
    for (const auto& endpoint : table->clusters[i]->endpoints()) {
      addresses.push_back(endpoint->address());
    }
    set_resolved(i, addresses);
  }
}

// An upstream that changed in other respects need not wait for its names to resolve again.
void Worker::keep_endpoints(Cluster& cluster) {
  if (!routes_) return;
  for (const auto& old : routes_->clusters) {
    if (old->config().name == cluster.config().name &&
        old->config().address == cluster.config().address &&
        old->config().tls == cluster.config().tls) {
      cluster.set_endpoints(old->endpoints());
    }
  }
}

void Worker::set_resolved(std::size_t upstream, const std::vector<Address>& addresses) {
  if (!routes_ || upstream >= routes_->clusters.size()) return;
  Cluster& cluster = *routes_->clusters[upstream];
  std::vector<std::shared_ptr<Endpoint>> endpoints;
  const EndpointOptions options = options_of(cluster, upstream);
  for (const Address& address : addresses) endpoints.push_back(endpoints_.get(address, options));
  cluster.set_endpoints(std::move(endpoints));
}

EndpointOptions Worker::options_of(const Cluster& cluster, std::size_t index) const {
  EndpointOptions options;
  options.connect_timeout = cluster.config().timeouts.connect.count();
  options.pool_idle = cluster.config().timeouts.pool_idle.count();
  options.socket = socket_options(routes_->snapshot->config().timeouts);
  if (routes_->tls && index < routes_->tls->upstreams.size()) {
    options.tls = routes_->tls->upstreams[index];
    const auto protocol = cluster.config().protocol;
    if (options.tls && protocol != config::ProxyProtocol::Tcp &&
        protocol != config::ProxyProtocol::Tls) {
      options.alpn = cluster.uses_http2() ? AlpnChoice::Http2 : AlpnChoice::Http1;
    }
  }
  options.is_http2 = cluster.uses_http2();
  return options;
}

std::shared_ptr<Endpoint> Worker::endpoint_of(const RouteTable& routes, const Address& address,
                                              bool is_app, bool is_http2) {
  const config::ProxyConfig& config = routes.snapshot->config();
  EndpointOptions options;
  if (is_app) {
    options = app_options(config, address.is_v6());
    options.sockets = app_sockets_.get();
  }
  options.socket = socket_options(config.timeouts);
  options.is_http2 = is_http2;
  if (!is_app) return endpoints_.get(address, options);
  options.is_app = true;
  return endpoints_.get(address.with_port(app_ports_.app_port_of(address.port())), options);
}

void Worker::follow_app(DownstreamContext& context) {
  if (!context.endpoint || !context.endpoint->is_retired()) return;
  const std::uint16_t port = app_ports_.app_port_of(context.destination.port());
  context.endpoint =
      endpoints_.get(context.destination.with_port(port), context.endpoint->options());
}

void Worker::set_app_ports(AppPorts ports) {
  endpoints_.follow_app(app_ports_, ports);
  app_ports_ = std::move(ports);
  for (const auto& forwarder : forwarders_) {
    if (forwarder->info().kind == ListenerKind::Publish) forwarder->follow_app();
  }
}

std::map<std::uint16_t, std::size_t> Worker::count_busy_app_ports() const {
  auto busy = endpoints_.count_busy_app_ports();
  for (const auto& [key, relay] : relays_) {
    const Endpoint* endpoint = relay->endpoint();
    if (endpoint != nullptr && endpoint->options().is_app) ++busy[endpoint->address().port()];
  }
  return busy;
}

// ---- Accepting ----------------------------------------------------------------------------------

udp::Batch& Worker::udp_batch() {
  if (!udp_batch_) udp_batch_ = std::make_unique<udp::Batch>();
  return *udp_batch_;
}

void Worker::add_listener(int fd, const ListenerInfo& info) {
  if (info.is_datagram) {
    auto forwarder = std::make_unique<udp::Forwarder>(*this, fd, info);
    if (auto begun = forwarder->begin(); !begun) {
      log::error("{}: {}", info.name, begun.error().message());
      return;
    }
    forwarders_.push_back(std::move(forwarder));
    return;
  }
  auto watcher = std::make_unique<AcceptWatcher>(*this, fd, info);
  reactor_.add_listener(fd, *watcher);
  listeners_.push_back(std::move(watcher));
}

void Worker::remove_listeners(bool inbound_only) {
  for (const auto& forwarder : forwarders_) {
    if (!inbound_only || forwarder->info().direction() == Direction::Inbound) forwarder->leave();
  }
  std::erase_if(listeners_, [&](std::unique_ptr<AcceptWatcher>& watcher) {
    if (inbound_only && watcher->info.direction() != Direction::Inbound) return false;
    // The keeper holds the socket too: its events would go on after our close().
    reactor_.remove(watcher->fd);
    reactor_.bury(std::move(watcher));
    return true;
  });
}

void Worker::accept_some(AcceptWatcher& watcher) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    Fd fd(accept4(watcher.fd, address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log::error("cannot accept a connection: {}", std::strerror(errno));
        watcher.pause();
      }
      return;
    }
    accepted(watcher.info, std::move(fd), Address::from_sockaddr(address));
  }
}

void Worker::refuse(const Address& peer, std::string_view why) {
  stats_.connections_refused.add();
  log::warn("refused a connection from {}: {}", peer.to_string(), why);
}

void Worker::set_memory_check(std::function<bool()> check) {
  memory_check_ = std::move(check);
  buffers_.set_watch(reactor_.bytes_received(), [this] { look_at_memory(); });
  // What the kernel receives for us while we do not read shows only as events.
  reactor_.set_watch([this] { look_at_memory(); });
}

// A burst must not outrun the timer.
void Worker::look_at_memory() {
  connections_checkpoint_ = count_all() + kConnectionsStep;
  if (!memory_check_ || !memory_check_()) return;
  buffers_.set_scarce(true);
  reactor_.at_batch_end(*this);  // for shed(), which cannot wait for the next batch
}

// False after it refused a connection that would be one too many.
bool Worker::has_room_for(const Address& peer) {
  if (count_all() >= routes_->snapshot->config().limits.max_connections) {
    refuse(peer, "limits.max_connections is reached");
    return false;
  }
  if (count_all() >= connections_max_) {
    refuse(peer, "half of the descriptors that the process may have are taken");
    return false;
  }
  if (count_all() > connections_checkpoint_) look_at_memory();
  if (overload() == OverloadLevel::Closing) {
    stats_.connections_refused.add();  // the level is in the log already
    return false;
  }
  return true;
}

// False after it refused a connection that does not lead to the app.
bool Worker::lead_to_app(const ListenerInfo& info, int fd, DownstreamContext& context,
                         InboundRules& rules) {
  const config::ProxyConfig& config = routes_->snapshot->config();
  const bool is_publish = info.kind == ListenerKind::Publish;
  const Address original =
      is_publish ? Address(config.inbound.app_address, info.app_port) : original_destination(fd);
  if (!is_publish && original.port() == info.own_port) {
    refuse(context.peer, "it was made to the capture listener itself, not to a port of the app");
    return false;
  }
  const auto* port = routes_->snapshot->inbound_port(original.port());
  if (port != nullptr) rules.protocol = port->protocol;
  context.is_peer_trusted = is_trusted_proxy(config.inbound, context.peer);
  rules.mutual_tls = config.inbound.mutual_tls;
  if (port != nullptr && port->mutual_tls) rules.mutual_tls = *port->mutual_tls;
  context.destination = original.is_v6()
                            ? Address(*config::IpAddress::parse("::1"), original.port())
                            : Address(config.inbound.app_address, original.port());
  context.is_destination_http2 = is_http2(rules.protocol);
  context.endpoint = endpoint_of(*routes_, context.destination, true, context.is_destination_http2);
  return true;
}

// Decides what a connection is about; see router.h for where its requests go.
void Worker::accepted(const ListenerInfo& info, Fd fd, const Address& peer) {
  if (!has_room_for(peer)) return;
  const config::ProxyConfig& config = routes_->snapshot->config();
  set_tcp_options(fd.get(), socket_options(config.timeouts));
  DownstreamContext context;
  context.kind = info.kind;
  context.direction = info.direction();
  context.peer = peer;
  context.routes = routes_;
  InboundRules port;
  config::ProxyProtocol& protocol = port.protocol;
  switch (info.kind) {
    case ListenerKind::Inbound:
    case ListenerKind::Publish:
      if (!lead_to_app(info, fd.get(), context, port)) return;
      break;
    case ListenerKind::Outbound:
      context.destination = original_destination(fd.get());
      if (context.destination.port() == info.own_port &&
          context.destination == local_address(fd.get())) {
        refuse(peer, "it was made to the capture listener itself, not to a destination");
        return;
      }
      if (is_virtual_address(context.destination)) {
        context.upstream = routes_->snapshot->upstream_of_address(context.destination);
        // A neighbour that cannot be reached is said so to an HTTP client.
        if (!context.upstream && !routes_->snapshot->is_neighbour_address(context.destination)) {
          refuse(peer, "no upstream has the address " + context.destination.to_string());
          return;
        }
      }
      break;
    case ListenerKind::Explicit: {
      if (info.explicit_index >= config.explicit_listeners.size()) {
        refuse(peer, "its listener is no longer configured");
        return;
      }
      const auto& listener = config.explicit_listeners[info.explicit_index];
      protocol = listener.protocol;
      if (!listener.upstream.empty()) {
        context.upstream = routes_->snapshot->upstream_of_name(listener.upstream);
      } else if (!listener.fallback.empty()) {
        context.upstream = routes_->snapshot->upstream_of_name(listener.fallback);
        context.is_upstream_fallback = true;
      }
      break;
    }
  }
  if (context.upstream && !context.is_upstream_fallback &&
      protocol == config::ProxyProtocol::Auto) {
    protocol = routes_->clusters[*context.upstream]->config().protocol;
  }
  begin(std::move(context), protocol, port.mutual_tls, std::move(fd));
}

void Worker::begin(DownstreamContext context, config::ProxyProtocol protocol,
                   config::MutualTls mutual_tls, Fd fd) {
  stats_.connections_accepted[static_cast<std::size_t>(context.direction)].add();
  // The app's own TLS passes through a permissive port untouched.
  const bool is_own_tls =
      protocol == config::ProxyProtocol::Tls && mutual_tls == config::MutualTls::Permissive;
  if (mutual_tls == config::MutualTls::Disable || is_own_tls) {
    begin_connection(std::move(context), protocol, Socket(reactor_, std::move(fd)));
    return;
  }
  if (!context.routes->tls || !context.routes->tls->server) {
    refuse(context.peer, "its port wants TLS and there is no identity");
    return;
  }
  auto acceptor =
      std::make_unique<TlsAcceptor>(*this, std::move(context), protocol, mutual_tls, std::move(fd));
  TlsAcceptor& begun = *acceptor;
  stats_.connections_active[static_cast<std::size_t>(begun.direction())].add();
  acceptors_.emplace(&begun, std::move(acceptor));
  begun.begin();
}

void Worker::begin_connection(DownstreamContext context, config::ProxyProtocol protocol,
                              Socket socket) {
  follow_app(context);
  context.is_http2_declared = is_http2(protocol);
  if (is_http(protocol)) {  // which version, the client's first bytes say
    auto connection = std::make_unique<HttpConnection>(*this, std::move(context), std::move(socket),
                                                       std::string_view());
    HttpConnection& begun = *connection;
    adopt(std::move(connection));
    begun.begin();
    return;
  }
  RelayFacts facts;
  facts.direction = context.direction;
  facts.peer = context.peer;
  facts.started_ns = reactor_.now_ns();
  facts.tls_version = context.tls_version();
  facts.peer_uri = context.peer_uri();
  facts.snapshot = context.routes->snapshot;
  const bool is_by_name = context.kind == ListenerKind::Explicit &&
                          protocol == config::ProxyProtocol::Tls &&
                          (!context.upstream || context.is_upstream_fallback);
  if (is_by_name) {
    facts.stats = &stats_.route(context.direction, "none");
  } else if (context.upstream) {
    facts.cluster = context.routes->clusters[*context.upstream];
    facts.stats = &facts.cluster->stats(context.direction, stats_);
  } else if (context.kind == ListenerKind::Explicit) {
    refuse(context.peer, "an explicit listener that is not HTTP needs an upstream");
    return;
  } else {
    if (!context.endpoint) {
      context.endpoint = endpoint_of(*context.routes, context.destination, false);
    }
    facts.endpoint = context.endpoint;
    facts.stats = &stats_.route(context.direction,
                                context.direction == Direction::Inbound ? "app" : "passthrough");
  }
  if (overload() >= OverloadLevel::Refusing) {
    stats_.connections_refused.add();
    return;
  }
  const bool is_detecting = is_by_name || (protocol == config::ProxyProtocol::Auto &&
                                           !is_server_first_port(context.destination.port()));
  auto relay = std::make_unique<TcpRelay>(*this, std::move(facts), std::move(socket), is_detecting,
                                          std::move(context));
  TcpRelay& begun = *relay;
  adopt(std::move(relay));
  begun.begin();
}

// ---- Connections --------------------------------------------------------------------------------

void Worker::adopt(std::unique_ptr<HttpConnection> connection) {
  stats_.connections_active[static_cast<std::size_t>(connection->direction())].add();
  http_connections_.add(std::move(connection));
}

void Worker::adopt(std::unique_ptr<TcpRelay> relay) {
  stats_.connections_active[static_cast<std::size_t>(relay->direction())].add();
  const void* key = relay.get();
  relays_.emplace(key, std::move(relay));
}

void Worker::remove(HttpConnection& connection) {
  auto taken = http_connections_.take(connection);
  if (!taken) return;
  stats_.connections_active[static_cast<std::size_t>(connection.direction())].subtract();
  reactor_.bury(std::move(taken));
}

void Worker::remove(TcpRelay& relay) {
  auto node = relays_.extract(&relay);
  if (node.empty()) return;
  stats_.connections_active[static_cast<std::size_t>(relay.direction())].subtract();
  reactor_.bury(std::move(node.mapped()));
}

void Worker::remove(TlsAcceptor& acceptor) {
  auto node = acceptors_.extract(&acceptor);
  if (node.empty()) return;
  stats_.connections_active[static_cast<std::size_t>(node.mapped()->direction())].subtract();
  reactor_.bury(std::move(node.mapped()));
}

void Worker::begin_http2(DownstreamContext context, Socket socket, std::string_view first) {
  auto connection =
      std::make_unique<Http2Connection>(*this, std::move(context), std::move(socket), first);
  Http2Connection& begun = *connection;
  stats_.connections_active[static_cast<std::size_t>(begun.direction())].add();
  http2_connections_.emplace(&begun, std::move(connection));
  begun.begin();
}

void Worker::remove(Http2Connection& connection) {
  auto node = http2_connections_.extract(&connection);
  if (node.empty()) return;
  stats_.connections_active[static_cast<std::size_t>(node.mapped()->direction())].subtract();
  reactor_.bury(std::move(node.mapped()));
}

std::unique_ptr<Exchange> Worker::take_exchange() {
  reactor_.set_under_way(++exchanges_under_way_);
  if (free_exchanges_.empty()) return std::make_unique<Exchange>(*this);
  auto exchange = std::move(free_exchanges_.back());
  free_exchanges_.pop_back();
  return exchange;
}

void Worker::give_exchange(std::unique_ptr<Exchange> exchange) {
  exchange->reset();
  reactor_.set_under_way(--exchanges_under_way_);
  if (kIsReusing && free_exchanges_.size() < kFreeExchangesMax) {
    free_exchanges_.push_back(std::move(exchange));
  } else {
    reactor_.bury(std::move(exchange));  // a call of it may be under way
  }
}

// ---- Log ----------------------------------------------------------------------------------------

void Worker::log(AccessRecord& record, std::int64_t started_ns) {
  record.wall_ns = started_ns + wall_offset_ns_;
  formatter_.append(log_lines_, record);
  if (log_lines_.size() >= kLogLinesFlushed) {
    log_->submit(log_lines_);
  } else if (!housekeeping_->is_armed()) {
    reactor_.timers().arm(*housekeeping_, reactor_.now() + flush_interval_);
  }
}

void Worker::flush_log() {
  wall_offset_ns_ = wall_clock_offset_ns();
  if (log_ != nullptr) log_->submit(log_lines_);
}

}  // namespace pillion::proxy
