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

void Worker::close_idle(bool inbound_only) {
  std::vector<HttpConnection*> idle;
  for (const auto& connection : http_connections_) {
    const bool counts = !inbound_only || connection->direction() == Direction::Inbound;
    if (counts && connection->is_idle()) idle.push_back(connection.get());
  }
  for (HttpConnection* connection : idle) connection->close_if_idle();
  // The second GOAWAY: at once where nothing is under way, else after the grace.
  const Milliseconds grace = routes_ ? routes_->snapshot->config().drain.goaway_grace.count() : 0;
  const bool is_grace_over = reactor_.now() - drain_begun_ >= grace;
  for (const auto& [key, connection] : http2_connections_) {
    const bool counts = !inbound_only || connection->direction() == Direction::Inbound;
    if (counts && (is_grace_over || connection->is_idle())) connection->finish_drain();
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

void Worker::shed(const Shedding& shedding) {
  const bool is_refusing = overload() >= OverloadLevel::Refusing;
  buffers_.set_scarce(is_refusing);
  if (overload() == OverloadLevel::Normal) return;
  close_idle(false);
  connections_checkpoint_ = count_all() + kConnectionsStep;
  if (is_refusing) {
    std::vector<HttpConnection*> beginning;
    for (const auto& one : http_connections_) {
      if (one->is_beginning()) beginning.push_back(one.get());
    }
    for (HttpConnection* one : beginning) one->refuse_head();
    if (buffers_.held() >= shedding.held_min) end_largest(shedding.excess);
  }
  endpoints_.close_idle();
  free_exchanges_.clear();
  buffers_.clear();
  pipes_.clear();
  pool_trim();
  buffers_.note_checkpoint();
  if (is_refusing) malloc_trim(0);
}

void Worker::end_largest(std::size_t wanted) {
  std::vector<Exchange*> exchanges;
  for (const auto& one : http_connections_) {
    if (Exchange* exchange = one->exchange()) exchanges.push_back(exchange);
  }
  for (const auto& [key, one] : http2_connections_) one->add_exchanges(exchanges);
  std::vector<MemoryHolder> holders;
  for (Exchange* one : exchanges) holders.push_back({one->held_bytes(), one, one->id(), nullptr});
  for (const auto& [key, one] : relays_) {
    holders.push_back({one->held_bytes(), nullptr, 0, one.get()});
  }
  const auto chosen = choose_largest(std::move(holders), wanted);
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
  for (const auto& connection : http_connections_) busy += connection->is_idle() ? 0 : 1;
  for (const auto& [key, connection] : http2_connections_) busy += connection->is_idle() ? 0 : 1;
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
