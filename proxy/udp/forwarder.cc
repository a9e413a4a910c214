#include "proxy/udp/forwarder.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "proxy/worker.h"
#include "runtime/log.h"

namespace pillion::proxy::udp {
namespace {

// Batches of one socket before others get their turn.
constexpr int kBatchesPerTurn = 4;

bool is_any_address(const Address& address) {
  return !address.is_v6() ? address.v4_bits() == 0
                          : IN6_IS_ADDR_UNSPECIFIED(
                                &reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_addr);
}

// A socket that talks to `to` alone: other senders are not heard, and ICMP errors are.
Result<Fd> connect_udp(const Address& to, const Address* source) {
  const int family = to.data()->sa_family;
  Fd fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
  if (!fd) return fail_errno("cannot create a socket for datagrams");
  if (source != nullptr && ::bind(fd.get(), source->data(), source->size()) < 0) {
    return fail_errno("cannot bind to " + source->to_string());
  }
  if (::connect(fd.get(), to.data(), to.size()) < 0) {
    return fail_errno("cannot send datagrams to " + to.to_string());
  }
  return fd;
}

}  // namespace

// ---- A session ----------------------------------------------------------------------------------

class Forwarder::Session final : public Watcher, public Deadline {
 public:
  Session(Forwarder& forwarder, const Key& session_key, const Peer& session_peer)
      : key(session_key), peer(session_peer), owner_(forwarder) {}

  void on_events(std::uint32_t) override {
    if (socket) owner_.answer(*this);  // it may have ended in this batch of events
  }
  void on_deadline(Milliseconds) override { owner_.end(*this, Flag::None, "udp_idle"); }

  const Key key;
  const Peer peer;
  Fd socket;
  Address to;
  RouteStats* stats = nullptr;
  std::shared_ptr<Cluster> cluster;  // shared: the route table may change meanwhile
  std::int64_t started_ns = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  bool is_awaiting = false;  // the last datagram was the client's
  bool is_moved = false;     // the app is elsewhere now: this goes on until the answer at most

 private:
  Forwarder& owner_;
};

// ---- The listener -------------------------------------------------------------------------------

Forwarder::Forwarder(Worker& worker, int fd, ListenerInfo info)
    : worker_(worker), fd_(fd), info_(std::move(info)), own_(local_address(fd)) {}

Forwarder::~Forwarder() { close(); }

Result<void> Forwarder::begin() {
  if (is_any_address(own_)) {
    if (auto done = tell_destinations(fd_); !done) return done;
  }
  worker_.reactor().add_listener(fd_, *this);
  is_open_ = true;
  return {};
}

void Forwarder::leave() {
  if (!is_open_) return;
  worker_.reactor().remove(fd_);
  is_open_ = false;
  std::vector<Session*> done;
  for (const auto& [key, session] : sessions_) {
    if (!session->is_awaiting) done.push_back(session.get());
    worker_.reactor().timers().arm(*session, worker_.reactor().now() + kFirstRequestGrace);
  }
  for (Session* session : done) end(*session, Flag::None, "udp_closed");
}

std::size_t Forwarder::count_awaiting() const {
  if (is_open_) return 0;
  return static_cast<std::size_t>(
      std::count_if(sessions_.begin(), sessions_.end(),
                    [](const auto& entry) { return entry.second->is_awaiting; }));
}

void Forwarder::close() {
  if (is_open_) worker_.reactor().remove(fd_);
  is_open_ = false;
  while (!sessions_.empty()) end(*sessions_.begin()->second, Flag::None, "udp_closed");
}

void Forwarder::follow_app() {
  const config::ProxyConfig& config = worker_.routes()->snapshot->config();
  const Address app = worker_.app_address(Address(config.inbound.app_address, info_.app_port));
  std::vector<Session*> done;
  for (const auto& [key, session] : sessions_) {
    if (session->to == app) continue;
    session->is_moved = true;
    if (!session->is_awaiting) done.push_back(session.get());
    worker_.reactor().timers().arm(*session, worker_.reactor().now() + kFirstRequestGrace);
  }
  for (Session* session : done) end(*session, Flag::None, "udp_closed");
}

void Forwarder::on_events(std::uint32_t) {
  for (int turn = 0; turn < kBatchesPerTurn && is_open_; ++turn) {
    const int count = worker_.udp_batch().receive(fd_, true);
    if (count <= 0) return;
    worker_.stats().udp_received.add(static_cast<std::uint64_t>(count));
    forward(static_cast<std::size_t>(count));
    if (static_cast<std::size_t>(count) < Batch::kMessages) return;
  }
}

// Neighbours in the batch that belong to one session go in one call.
void Forwarder::forward(std::size_t count) {
  Batch& batch = worker_.udp_batch();
  std::size_t first = 0;
  while (first < count) {
    Session* session = session_of(batch.peer(first));
    std::size_t end_of_run = first + 1;
    const Key key{batch.peer(first).address(), batch.peer(first).local()};
    while (end_of_run < count &&
           key == Key{batch.peer(end_of_run).address(), batch.peer(end_of_run).local()}) {
      ++end_of_run;
    }
    if (session == nullptr) {
      worker_.stats().udp_dropped.add(end_of_run - first);
    } else {
      send_on(*session, first, end_of_run - first);
    }
    first = end_of_run;
  }
}

void Forwarder::send_on(Session& session, std::size_t first, std::size_t count) {
  Batch& batch = worker_.udp_batch();
  int error = 0;
  const std::size_t sent = batch.send(session.socket.get(), first, count, nullptr, error);
  for (std::size_t i = first; i < first + sent; ++i) session.bytes_received += batch.size_of(i);
  worker_.stats().udp_forwarded.add(sent);
  session.is_awaiting = true;
  worker_.stats().udp_dropped.add(count - sent);
  // ICMP's answer to an earlier datagram: the next one begins anew, perhaps elsewhere.
  if (error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH) {
    worker_.stats().udp_unreachable.add();
    end(session, Flag::UpstreamConnectFailure, "udp_unreachable");
    return;
  }
  touch(session);
}

// What the other side says goes to the session's client.
void Forwarder::answer(Session& session) {
  Batch& batch = worker_.udp_batch();
  for (int turn = 0; turn < kBatchesPerTurn; ++turn) {
    const int count = batch.receive(session.socket.get(), false);
    if (count == 0) return;
    if (count < 0) {
      // Nobody is there: a later datagram tries again, perhaps elsewhere.
      worker_.stats().udp_unreachable.add();
      end(session, Flag::UpstreamConnectFailure, "udp_unreachable");
      return;
    }
    int error = 0;
    const auto received = static_cast<std::size_t>(count);
    const std::size_t sent = batch.send(fd_, 0, received, &session.peer, error);
    for (std::size_t i = 0; i < sent; ++i) session.bytes_sent += batch.size_of(i);
    worker_.stats().udp_answered.add(sent);
    session.is_awaiting = false;
    worker_.stats().udp_dropped.add(received - sent);
    touch(session);
    if (session.is_moved) {
      end(session, Flag::None, "udp_closed");
      return;
    }
  }
  // More is waiting: its edge is behind us.
  worker_.reactor().hand_over(session.socket.get(), session);
}

void Forwarder::touch(Session& session) {
  if (!is_open_ || session.is_moved) return;  // it has until the end of its last second
  const auto idle = worker_.routes()->snapshot->config().timeouts.udp_idle;
  worker_.reactor().timers().arm(session, worker_.reactor().now() + idle.count());
}

// ---- Sessions -----------------------------------------------------------------------------------

// Null where the datagram has to be dropped.
Forwarder::Session* Forwarder::session_of(const Peer& peer) {
  const Key key{peer.address(), peer.local()};
  const auto found = sessions_.find(key);
  if (found != sessions_.end() && found->second->is_moved) {
    end(*found->second, Flag::None, "udp_closed");
    return open_session(key, peer);
  }
  return found != sessions_.end() ? found->second.get() : open_session(key, peer);
}

// Towards ourselves each datagram would open a session of its own, and so on.
bool Forwarder::is_own_address(const Address& to) const {
  return to == own_ || (to.port() == own_.port() && is_any_address(own_) && to.is_loopback());
}

Forwarder::Session* Forwarder::open_session(const Key& key, const Peer& peer) {
  const RouteTable& routes = *worker_.routes();
  const config::ProxyConfig& config = routes.snapshot->config();
  if (worker_.stats().udp_active.value() >= config.limits.max_udp_sessions ||
      worker_.overload() >= OverloadLevel::Refusing) {
    worker_.stats().udp_sessions_refused.add();
    return nullptr;
  }
  auto session = std::make_unique<Session>(*this, key, peer);
  const Direction direction = info_.direction();
  std::optional<Address> source;
  if (info_.kind == ListenerKind::Explicit) {
    const auto& listeners = config.explicit_listeners;
    const auto index =
        info_.explicit_index < listeners.size()
            ? routes.snapshot->upstream_of_name(listeners[info_.explicit_index].upstream)
            : std::nullopt;
    if (!index || !routes.clusters[*index]->has_endpoints()) return nullptr;
    session->cluster = routes.clusters[*index];
    session->to = session->cluster->choose(worker_.random(), nullptr)->address();
    session->stats = &session->cluster->stats(direction, worker_.stats());
  } else {
    session->to = worker_.app_address(Address(config.inbound.app_address, info_.app_port));
    source = Address(config.inbound.source_address, 0);
    session->stats = &worker_.stats().route(direction, "app");
  }
  if (is_own_address(session->to)) {
    log::warn("{}: datagrams to {} would come back to it", info_.name, session->to.to_string());
    return nullptr;
  }
  auto socket = connect_udp(session->to, source ? &*source : nullptr);
  if (!socket) {
    log::debug("{}: {}", info_.name, socket.error().message());
    return nullptr;
  }
  session->socket = std::move(*socket);
  session->started_ns = worker_.reactor().now_ns();
  worker_.reactor().add(session->socket.get(), *session);
  worker_.stats().udp_active.add();
  session->stats->active.add();
  return sessions_.emplace(key, std::move(session)).first->second.get();
}

void Forwarder::end(Session& session, Flag flag, std::string_view details) {
  record(session, flag, details);
  auto node = sessions_.extract(session.key);
  worker_.reactor().timers().disarm(session);
  session.socket = Fd();
  worker_.reactor().bury(std::move(node.mapped()));
}

void Forwarder::record(const Session& session, Flag flag, std::string_view details) {
  RouteStats& stats = *session.stats;
  worker_.stats().udp_active.subtract();
  stats.active.subtract();
  stats.bytes_received.add(session.bytes_received);
  stats.bytes_sent.add(session.bytes_sent);
  stats.flags[static_cast<std::size_t>(flag)].add();
  if (!worker_.is_log_enabled()) return;
  const std::string peer = session.key.client.to_string();
  const std::string to = session.to.to_string();
  AccessRecord record;
  record.direction = direction_name(info_.direction());
  record.protocol = "udp";
  record.bytes_received = session.bytes_received;
  record.bytes_sent = session.bytes_sent;
  record.duration_ns = Reactor::precise_now_ns() - session.started_ns;
  record.upstream_ns = record.duration_ns;
  record.upstream = stats.upstream;
  record.upstream_address = to;
  record.downstream_address = peer;
  record.details = details;
  record.flags = flag_name(flag);
  record.attempts = 1;
  worker_.log(record, session.started_ns);
}

}  // namespace pillion::proxy::udp
