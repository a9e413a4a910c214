// How a worker lets go of what it has: drains, and gives memory back. See worker.h.
#include <malloc.h>

#include "proxy/size_pool.h"
#include "proxy/worker.h"
#include "runtime/log.h"

namespace pillion::proxy {

// ---- Drain --------------------------------------------------------------------------------------

void Worker::begin_drain() {
  if (is_draining_inbound_) return;
  is_draining_inbound_ = true;
  drain_begun_ = reactor_.now();
  for (const auto& [key, connection] : http2_connections_) {
    if (connection->direction() == Direction::Inbound) connection->begin_drain();
  }
}

void Worker::close_drained() {
  const Milliseconds now = reactor_.now();
  std::vector<HttpConnection*> idle;
  for (const auto& one : http_connections_) {
    if (one->direction() != Direction::Inbound || one->is_awaiting_first(now)) continue;
    if (one->is_idle()) idle.push_back(one.get());
  }
  for (HttpConnection* connection : idle) connection->close_if_idle();
  // The second GOAWAY: at once where nothing is under way, else after the grace.
  const Milliseconds grace = routes_ ? routes_->snapshot->config().drain.goaway_grace.count() : 0;
  const bool is_grace_over = now - drain_begun_ >= grace;
  for (const auto& [key, one] : http2_connections_) {
    if (one->direction() != Direction::Inbound || one->is_awaiting_first(now)) continue;
    if (is_grace_over || one->is_idle()) one->finish_drain();
  }
}

void Worker::abort_all() {
  std::vector<HttpConnection*> connections;
  for (const auto& connection : http_connections_) connections.push_back(connection.get());
  for (HttpConnection* connection : connections) connection->abort(Flag::Drained, "drained");
  std::vector<Http2Connection*> http2;
  for (const auto& [key, connection] : http2_connections_) http2.push_back(connection.get());
  for (Http2Connection* connection : http2) connection->abort(Flag::Drained, "drained");
  std::vector<TlsAcceptor*> acceptors;
  for (const auto& [key, acceptor] : acceptors_) acceptors.push_back(acceptor.get());
  for (TlsAcceptor* acceptor : acceptors) acceptor->abort();
  std::vector<TcpRelay*> relays;
  for (const auto& [key, relay] : relays_) relays.push_back(relay.get());
  for (TcpRelay* relay : relays) relay->abort(Flag::Drained, "drained");
}

// ---- Memory ------------------------------------------------------------------------------------

// Who has only now connected is told by the answer.
void Worker::close_idle() {
  const Milliseconds now = reactor_.now();
  std::vector<HttpConnection*> idle;
  for (const auto& one : http_connections_) {
    if (one->is_idle() && !one->is_awaiting_first(now)) idle.push_back(one.get());
  }
  for (HttpConnection* connection : idle) connection->close_if_idle();
  for (const auto& [key, one] : http2_connections_) {
    if (!one->is_awaiting_first(now)) one->finish_drain();
  }
}

void Worker::shed(const Shedding& shedding) {
  const bool is_refusing = overload() >= OverloadLevel::Refusing;
  buffers_.set_scarce(is_refusing || shedding.excess > 0);
  if (overload() == OverloadLevel::Normal) return;
  if (shedding.excess > 0 && shedding.counts_sockets) {
    for (const auto& one : http_connections_) {
      if (one->is_idle()) one->drop_unsent();
    }
  }
  close_idle();
  connections_checkpoint_ = count_all() + kConnectionsStep;
  if (is_refusing) {
    std::vector<HttpConnection*> beginning;
    for (const auto& one : http_connections_) {
      if (one->is_beginning()) beginning.push_back(one.get());
    }
    for (HttpConnection* one : beginning) one->refuse_head();
  }
  if (shedding.excess > 0) end_largest(shedding);
  endpoints_.close_idle();
  free_exchanges_.clear();
  buffers_.clear();
  pipes_.clear();
  pool_trim();
  if (is_refusing) malloc_trim(0);
}

void Worker::end_largest(const Shedding& shedding) {
  std::vector<Exchange*> exchanges;
  for (const auto& one : http_connections_) {
    if (Exchange* exchange = one->exchange()) exchanges.push_back(exchange);
  }
  for (const auto& [key, one] : http2_connections_) one->add_exchanges(exchanges);
  std::vector<MemoryHolder> holders;
  std::size_t held = 0;
  const auto add = [&](std::size_t bytes, Exchange* exchange, std::uint64_t id, TcpRelay* relay) {
    held += bytes;
    holders.push_back({bytes, exchange, id, relay});
  };
  const bool counts_sockets = shedding.counts_sockets;
  for (Exchange* one : exchanges) add(one->held_bytes(counts_sockets), one, one->id(), nullptr);
  for (const auto& [key, one] : relays_) {
    add(one->held_bytes(counts_sockets), nullptr, 0, one.get());
  }
  if (held < shedding.held_min) return;
  const auto chosen = choose_largest(std::move(holders), shedding.excess);
  for (const MemoryHolder& one : chosen) {
    if (one.relay != nullptr) {
      one.relay->abort(Flag::Overload, "overload");
    } else if (one.exchange->id() == one.exchange_id) {  // not ended by the end of another
      one.exchange->shed();
    }
  }
  if (!chosen.empty())
    log::warn("{} exchanges or connections ended for lack of memory", chosen.size());
}

// ---- Numbers -----------------------------------------------------------------------------------

std::size_t Worker::count_busy() const {
  std::size_t busy = relays_.size() + acceptors_.size();
  const auto is_busy = [now = reactor_.now()](const auto& connection) {
    return !connection.is_idle() || connection.is_awaiting_first(now);
  };
  for (const auto& connection : http_connections_) busy += is_busy(*connection) ? 1 : 0;
  for (const auto& [key, connection] : http2_connections_) busy += is_busy(*connection) ? 1 : 0;
  for (const auto& forwarder : forwarders_) busy += forwarder->count_awaiting();
  return busy;
}

std::size_t Worker::count_all() const {
  return http_connections_.size() + http2_connections_.size() + relays_.size() + acceptors_.size();
}

std::size_t Worker::count_connections(Direction direction) const {
  std::size_t count = 0;
  for (const auto& one : http_connections_) count += one->direction() == direction ? 1 : 0;
  for (const auto& [key, one] : http2_connections_) count += one->direction() == direction ? 1 : 0;
  for (const auto& [key, one] : relays_) count += one->direction() == direction ? 1 : 0;
  return count;
}

}  // namespace pillion::proxy
