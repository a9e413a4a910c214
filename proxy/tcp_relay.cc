#include "proxy/tcp_relay.h"

#include <sys/epoll.h>

#include <cerrno>

#include "proxy/detect.h"
#include "proxy/worker.h"
#include "runtime/log.h"

namespace pillion::proxy {
namespace {

// From the second full read on it is taken for bulk data, and no more once so little comes at once.
constexpr unsigned kFullReadsOfBulk = 2;
constexpr std::size_t kBulkBytesMin = 8 * 1024;
constexpr Milliseconds kFirstBytesMilliseconds = 300;

}  // namespace

TcpRelay::TcpRelay(Worker& worker, RelayFacts facts, Socket downstream, Socket upstream,
                   std::string_view to_upstream, std::string_view to_downstream)
    : worker_(worker), facts_(std::move(facts)) {
  downstream_.socket = std::move(downstream);
  upstream_.socket = std::move(upstream);
  downstream_.socket.attach(downstream_);
  upstream_.socket.attach(upstream_);
  downstream_.is_connected = upstream_.is_connected = true;
  upstream_.out.append(worker_.buffers(), to_upstream);
  downstream_.out.append(worker_.buffers(), to_downstream);
}

TcpRelay::TcpRelay(Worker& worker, RelayFacts facts, Socket downstream, bool detecting,
                   DownstreamContext context)
    : worker_(worker),
      facts_(std::move(facts)),
      context_(std::move(context)),
      mode_(detecting ? Mode::Detecting : Mode::Relaying),
      is_by_name_(!facts_.cluster && !facts_.endpoint) {
  if (facts_.cluster) ++facts_.cluster->active_requests;
  facts_.stats->active.add();
  downstream_.is_connected = true;
  downstream_.socket = std::move(downstream);
  downstream_.socket.attach(downstream_);
}

TcpRelay::~TcpRelay() { stop_waiting(); }

void TcpRelay::begin() {
  worker_.stats().tcp_active[static_cast<std::size_t>(facts_.direction)].add();
  touch();
  if (is_by_name_) {
    const auto delay = facts_.snapshot->config().timeouts.tls_handshake;
    worker_.reactor().timers().arm(*this, worker_.reactor().now() + delay.count());
    detect();
    return;
  }
  if (!upstream_.is_connected) {
    connect_upstream();
    return;
  }
  on_side_events(upstream_, 0);
}

void TcpRelay::touch() {
  const auto& timeouts = facts_.snapshot->config().timeouts;
  const bool is_half_closed = downstream_.is_read_ended != upstream_.is_read_ended;
  const auto delay = is_half_closed ? timeouts.half_closed : timeouts.tcp_idle;
  worker_.reactor().timers().arm(*this, worker_.reactor().now() + delay.count());
}

// ---- Connecting ---------------------------------------------------------------------------------

void TcpRelay::connect_upstream() {
  ++facts_.attempts;
  if (facts_.cluster) {
    if (!facts_.cluster->has_endpoints()) {
      finish(Flag::NoEndpoint, "no_healthy_upstream");
      return;
    }
    facts_.endpoint = facts_.cluster->choose(worker_.random(),
                                             facts_.attempts > 1 ? facts_.endpoint.get() : nullptr);
  }
  if (is_refused()) {
    refuse();
    return;
  }
  const EndpointOptions& options = facts_.endpoint->options();
  facts_.stats->connections_made.add();
  worker_.reactor().timers().arm(*this, worker_.reactor().now() + options.connect_timeout);
  const Address& address = facts_.endpoint->address();
  const Address* source = options.source ? &*options.source : nullptr;
  if (options.sockets == nullptr) {
    began_to_connect(
        Socket::connect(worker_.reactor(), upstream_, address, source, options.socket));
    return;
  }
  const int family = address.data()->sa_family;
  if (Fd fd = options.sockets->take(family)) {
    on_app_socket(std::move(fd));
    return;
  }
  options.sockets->wait(*this, family);
  is_awaiting_socket_ = true;
}

// Policy: only configured upstreams may be called.
bool TcpRelay::is_refused() const {
  if (facts_.direction != Direction::Outbound || facts_.cluster) return false;
  return is_virtual_address(context_.destination) ||
         facts_.snapshot->config().outbound.unknown == config::UnknownDestination::Refuse;
}

void TcpRelay::finish_refused() {
  const bool is_virtual = is_virtual_address(context_.destination);
  finish(Flag::Refused, is_virtual ? facts_.snapshot->refusal_of(context_.destination).details
                                   : "destination_not_allowed");
}

// Without a connection. An HTTP client may still name an upstream, or gets an answer that says why.
void TcpRelay::refuse() {
  if (mode_ != Mode::Detecting) {
    finish_refused();
    return;
  }
  is_connect_failed_ = true;
  worker_.reactor().timers().arm(*this, worker_.reactor().now() + kFirstBytesMilliseconds);
  detect();
}

void TcpRelay::on_app_socket(Fd socket) {
  is_awaiting_socket_ = false;
  const EndpointOptions& options = facts_.endpoint->options();
  began_to_connect(Socket::connect(std::move(socket), worker_.reactor(), upstream_,
                                   facts_.endpoint->address(),
                                   options.source ? &*options.source : nullptr, options.socket));
}

void TcpRelay::stop_waiting() {
  if (is_awaiting_socket_) facts_.endpoint->options().sockets->forget(*this);
  is_awaiting_socket_ = false;
}

void TcpRelay::began_to_connect(Result<Socket> socket) {
  if (!socket) {
    log::debug("tcp: {}", socket.error().message());
    facts_.stats->connect_failures.add();
    finish(Flag::UpstreamConnectFailure, "upstream_connect_failure");
    return;
  }
  upstream_.socket = std::move(*socket);
}

// The connection, then TLS where the upstream has it. False while it is not there yet, or after it
// failed.
bool TcpRelay::advance_connect() {
  Socket& socket = upstream_.socket;
  if (socket.tls() == nullptr) {
    if (!socket.is_writable() && !socket.is_hung_up()) return false;
    if (const int error = socket.connect_error(); error != 0) {
      on_connect_failed(error);
      return false;
    }
    if (is_rerouted_ && !socket.has_peer()) return false;
    if (facts_.endpoint->options().tls) socket.start_tls(facts_.endpoint->make_tls());
  }
  if (socket.tls() != nullptr) {
    const HandshakeStatus status = socket.handshake();
    if (status == HandshakeStatus::WouldBlock) return false;
    if (status == HandshakeStatus::Failed) {
      log::debug("tcp: TLS with {}: {}", facts_.endpoint->text(), socket.tls()->failure());
      on_connect_failed(EPROTO);
      return false;
    }
  }
  upstream_.is_connected = true;
  touch();
  return true;
}

void TcpRelay::on_connect_failed(int error) {
  facts_.stats->connect_failures.add();
  upstream_.socket.close();
  if (facts_.cluster && facts_.attempts <= facts_.cluster->config().retry.attempts) {
    connect_upstream();
    return;
  }
  if (mode_ == Mode::Detecting) {
    // An HTTP client is about to send its request and deserves a 502 that says why.
    is_connect_failed_ = true;
    worker_.reactor().timers().arm(*this, worker_.reactor().now() + kFirstBytesMilliseconds);
    detect();
    return;
  }
  finish(Flag::UpstreamConnectFailure,
         error == EPROTO ? "upstream_tls_failure" : "upstream_connect_failure");
}

// ---- Relaying -----------------------------------------------------------------------------------

void TcpRelay::on_side_events(Side& side, std::uint32_t events) {
  if (mode_ == Mode::Closed || !side.socket.is_open()) return;
  side.socket.note_events(events);
  if (&side == &upstream_ && !upstream_.is_connected && !advance_connect()) return;
  if (mode_ == Mode::Detecting) {
    detect();
    if (mode_ != Mode::Relaying) return;
  }
  if (is_connect_failed_) {
    if (is_refused()) {
      finish_refused();
    } else {
      finish(Flag::UpstreamConnectFailure, "upstream_connect_failure");
    }
    return;
  }
  if (!upstream_.is_connected) return;
  if (!flush(downstream_) || !flush(upstream_)) return;
  pump(downstream_, upstream_);
  if (mode_ != Mode::Closed) pump(upstream_, downstream_);
  if (mode_ != Mode::Closed) settle();
}

// Writes what waits for `side`. False after the relay ended.
bool TcpRelay::flush(Side& side) {
  if (side.out.is_empty()) return true;
  if (!side.socket.is_writable()) return true;
  const std::string_view bytes = side.out.view();
  const IoResult result = side.socket.write(bytes.data(), bytes.size());
  if (result.status == IoStatus::Failed) {
    finish(&side == &downstream_ ? Flag::DownstreamClosed : Flag::UpstreamTermination,
           "connection_reset");
    return false;
  }
  side.out.consume(worker_.buffers(), result.bytes);
  return true;
}

void TcpRelay::finish_reset(const Side& side) {
  finish(&side == &downstream_ ? Flag::DownstreamClosed : Flag::UpstreamTermination,
         "connection_reset");
}

void TcpRelay::pump(Side& from, Side& to) {
  // A pipe takes more at once than there may be left.
  const bool is_held = from.pipe && from.pipe->held > 0;
  const bool is_piped = is_held || (from.is_spliced && !worker_.buffers().is_scarce());
  const bool is_alive = is_piped ? pump_pipe(from, to) : pump_copies(from, to);
  if (is_alive) pass_on_end(from, to);
}

// Both return false after the relay ended.
bool TcpRelay::pump_copies(Side& from, Side& to) {
  int turns = worker_.buffers().reads_per_turn();
  while (!from.is_read_ended && to.out.is_empty() && from.socket.is_readable()) {
    if (turns-- == 0) {
      from.socket.rearm(from);
      break;
    }
    const auto buffer = worker_.buffers().read_buffer();
    const IoResult result = from.socket.read(buffer.data(), buffer.size());
    if (result.status == IoStatus::WouldBlock) break;
    if (result.status == IoStatus::Failed) {
      finish_reset(from);
      return false;
    }
    if (result.status == IoStatus::Eof) {
      from.is_read_ended = true;
      break;
    }
    from.bytes_read += result.bytes;
    const IoResult sent = to.socket.write(buffer.data(), result.bytes);
    if (sent.status == IoStatus::Failed) {
      finish_reset(to);
      return false;
    }
    if (sent.bytes < result.bytes) {
      to.out.append(worker_.buffers(), {buffer.data() + sent.bytes, result.bytes - sent.bytes});
    }
    from.full_reads = result.bytes == buffer.size() ? from.full_reads + 1 : 0;
    touch();
    if (from.full_reads == kFullReadsOfBulk && from.socket.tls() == nullptr &&
        to.socket.tls() == nullptr) {
      from.is_spliced = true;
      return pump_pipe(from, to);
    }
  }
  return true;
}

// Through a pipe. While the pipe holds bytes nothing more is read.
bool TcpRelay::pump_pipe(Side& from, Side& to) {
  if (!to.out.is_empty()) return true;
  std::size_t moved = 0;
  int turns = worker_.buffers().reads_per_turn();
  if (!from.pipe) from.pipe = worker_.pipes().take();
  if (!from.pipe) {  // no descriptors left
    from.is_spliced = false;
    from.full_reads = 0;
    return pump_copies(from, to);
  }
  while (true) {
    worker_.buffers().look();
    if (from.pipe->held > 0) {
      const IoStatus status = to.socket.splice_from(*from.pipe);
      if (status == IoStatus::WouldBlock) return true;
      if (status == IoStatus::Ok) continue;
      finish_reset(to);
      return false;
    }
    if (from.is_read_ended || !from.socket.is_readable()) break;
    if (turns-- == 0) {
      from.socket.rearm(from);
      break;
    }
    const IoStatus status = from.socket.splice_to(*from.pipe);
    if (status == IoStatus::Failed) {
      finish_reset(from);
      return false;
    }
    from.is_read_ended = status == IoStatus::Eof;
    from.bytes_read += from.pipe->held;
    moved += from.pipe->held;
  }
  if (moved > 0) touch();
  // Small messages are cheaper to copy.
  if (moved < kBulkBytesMin) {
    from.is_spliced = false;
    from.full_reads = 0;
  }
  worker_.pipes().give(std::move(from.pipe));
  return true;
}

// Half-close: once all that `from` sent has been written, `to` learns that nothing more comes.
void TcpRelay::pass_on_end(Side& from, Side& to) {
  if (!from.is_read_ended || !to.out.is_empty() || to.is_write_shut || from.pipe) return;
  to.socket.shutdown_write();
  to.is_write_shut = true;
  touch();
}

void TcpRelay::settle() {
  if (downstream_.is_write_shut && upstream_.is_write_shut) finish(Flag::None, "closed");
}

void TcpRelay::on_deadline(Milliseconds) {
  if (is_by_name_) {
    finish(Flag::DownstreamTlsFailure, "client_hello_timeout");
  } else if (is_connect_failed_ && is_refused()) {
    finish_refused();
  } else if (!upstream_.is_connected) {
    facts_.stats->connect_failures.add();
    if (is_awaiting_socket_)
      log::warn("a connection of {}: {}", facts_.peer.to_string(), kNoAppSocketReason);
    finish(Flag::UpstreamConnectFailure,
           is_awaiting_socket_ ? "no_app_socket" : "upstream_connect_timeout");
  } else {
    finish(Flag::UpstreamTimeout, "idle_timeout");
  }
}

void TcpRelay::abort(Flag flag, std::string_view details) { finish(flag, details); }

// The one exit: counters, log, sockets.
void TcpRelay::finish(Flag flag, std::string_view details) {
  if (mode_ == Mode::Closed) return;
  mode_ = Mode::Closed;
  stop_waiting();
  const auto direction = static_cast<std::size_t>(facts_.direction);
  const std::int64_t duration = Reactor::precise_now_ns() - facts_.started_ns;
  const bool is_aborted =
      flag == Flag::Drained || flag == Flag::UpstreamTimeout || flag == Flag::Overload;
  (is_aborted ? worker_.stats().tcp_aborted : worker_.stats().tcp_finished)[direction].add();
  worker_.stats().tcp_active[direction].subtract();
  facts_.stats->active.subtract();
  facts_.stats->bytes_received.add(downstream_.bytes_read);
  facts_.stats->bytes_sent.add(upstream_.bytes_read);
  facts_.stats->flags[static_cast<std::size_t>(flag)].add();
  if (facts_.cluster) --facts_.cluster->active_requests;
  if (worker_.is_log_enabled()) {
    const std::string peer = facts_.peer.to_string();
    AccessRecord record;
    record.direction = direction_name(facts_.direction);
    record.method = facts_.method;
    record.path = facts_.path;
    record.authority = facts_.authority;
    record.request_id = facts_.request_id;
    record.status = facts_.status;
    record.protocol = facts_.protocol;
    record.bytes_received = downstream_.bytes_read;
    record.bytes_sent = upstream_.bytes_read;
    record.duration_ns = duration;
    record.upstream_ns = duration;
    record.upstream = facts_.stats->upstream;
    if (facts_.endpoint) record.upstream_address = facts_.endpoint->text();
    record.downstream_address = peer;
    record.tls_version = facts_.tls_version;
    record.peer_uri = facts_.peer_uri;
    record.details = details;
    record.flags = flag_name(flag);
    record.attempts = facts_.attempts;
    worker_.log(record, facts_.started_ns);
  }
  if (flag != Flag::None && !is_alert_sent_) {
    // The other side must not take a failure for an orderly end.
    if (downstream_.socket.is_open()) downstream_.socket.reset_on_close();
    if (upstream_.socket.is_open()) upstream_.socket.reset_on_close();
  }
  downstream_.out.release(worker_.buffers());
  upstream_.out.release(worker_.buffers());
  worker_.pipes().give(std::move(downstream_.pipe));
  worker_.pipes().give(std::move(upstream_.pipe));
  downstream_.socket.close();
  upstream_.socket.close();
  worker_.reactor().timers().disarm(*this);
  worker_.remove(*this);
}

// ---- Detection ----------------------------------------------------------------------------------

// Who speaks first decides: the server, and it is TCP; the client, and its bytes tell.
void TcpRelay::detect() {
  while (downstream_.socket.is_readable() && mode_ == Mode::Detecting) {
    const auto buffer = worker_.buffers().read_buffer();
    const IoResult result = downstream_.socket.read(buffer.data(), buffer.size());
    if (result.status == IoStatus::WouldBlock) break;
    if (result.status == IoStatus::Failed) {
      finish(Flag::DownstreamClosed, "connection_reset");
      return;
    }
    if (result.status == IoStatus::Eof) {
      if (is_by_name_) {
        finish(Flag::DownstreamClosed, "closed_before_client_hello");
        return;
      }
      downstream_.is_read_ended = true;
      mode_ = Mode::Relaying;
      break;
    }
    downstream_.bytes_read += result.bytes;
    upstream_.out.append(worker_.buffers(), {buffer.data(), result.bytes});
    if (is_asking_for_name()) {
      const Named named = look_for_name();
      if (named == Named::Ended) return;
      if (named == Named::Decided) break;
      continue;
    }
    const Detected detected = detect_protocol(upstream_.out.view());
    if (detected == Detected::Http1 || detected == Detected::Http2) {
      become_http(detected == Detected::Http2);
      return;
    }
    if (detected != Detected::Undecided) mode_ = Mode::Relaying;
  }
  if (mode_ == Mode::Detecting && !is_by_name_ && upstream_.is_connected &&
      upstream_.socket.is_readable()) {
    mode_ = Mode::Relaying;
  }
  if (mode_ != Mode::Relaying) return;
  worker_.stats().detections_tcp.add();
  const bool is_tls = detect_protocol(upstream_.out.view()) == Detected::Tls;
  note_detected(is_tls ? DetectedAs::Tls : DetectedAs::Tcp);
}

void TcpRelay::note_detected(DetectedAs detected) {
  auto& times = worker_.stats().detections[static_cast<std::size_t>(context_.kind)];
  times[static_cast<std::size_t>(detected)].observe(worker_.reactor().now_ns() - facts_.started_ns);
}

void TcpRelay::become_http(bool is_http2) {
  mode_ = Mode::Closed;
  stop_waiting();
  worker_.stats().detections_http.add();
  note_detected(DetectedAs::Http);
  worker_.stats().tcp_active[static_cast<std::size_t>(facts_.direction)].subtract();
  facts_.stats->active.subtract();
  if (facts_.cluster) --facts_.cluster->active_requests;
  // The connection that the race opened serves the first request.
  const bool is_whole =
      upstream_.is_connected || !facts_.endpoint || !facts_.endpoint->options().tls;
  const bool is_wanted = !is_http2 || facts_.cluster;  // HTTP/2 has connections of its own
  if (is_wanted && upstream_.socket.is_open() && is_whole && upstream_.socket.has_peer() &&
      !upstream_.socket.is_hung_up()) {
    facts_.endpoint->adopt_idle(std::move(upstream_.socket));
  } else {
    upstream_.socket.close();
  }
  if (is_http2 && !facts_.cluster) {
    context_.is_destination_http2 = true;
    context_.endpoint = worker_.endpoint_of(*context_.routes, context_.destination,
                                            context_.direction == Direction::Inbound, true);
  }
  auto connection = std::make_unique<HttpConnection>(
      worker_, std::move(context_), std::move(downstream_.socket), upstream_.out.view());
  upstream_.out.release(worker_.buffers());
  worker_.reactor().timers().disarm(*this);
  HttpConnection& begun = *connection;
  worker_.adopt(std::move(connection));
  worker_.remove(*this);
  begun.begin();
}

}  // namespace pillion::proxy
