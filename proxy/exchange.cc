// Facts, checks, routing and record of an exchange. See exchange.h.
#include "proxy/exchange.h"

#include <algorithm>
#include <utility>

#include "proxy/worker.h"
#include "runtime/http1/hop_by_hop.h"

namespace pillion::proxy {
namespace {

using http1::BodyKind;
using http1::Field;
using http1::FieldId;
using http1::RequestHead;

bool is_idempotent_method(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE" || method == "TRACE";
}

// RFC 9110 §7.8; bodies on upgrades have no meaning that all agree on.
bool is_websocket_upgrade(const RequestHead& head, const http1::Framing& framing) {
  return head.fields.has(FieldId::Upgrade) && head.version == http1::Version::Http11 &&
         head.method == "GET" &&
         (framing.kind == BodyKind::None ||
          (framing.kind == BodyKind::Length && framing.length == 0)) &&
         head.fields.has_list_element(FieldId::Connection, "upgrade") &&
         http1::equals_ignoring_case(head.fields.find(FieldId::Upgrade), "websocket");
}

// Longer ones, with a body that was inspected, are given back.
constexpr std::size_t kRequestKept = 256 * 1024;

// How often this very instance has handled the request (its token is in Via).
unsigned count_own_hops(const RequestHead& head, std::string_view token) {
  if (!head.fields.has(FieldId::Via)) return 0;
  unsigned hops = 0;
  for (const Field& field : head.fields.all()) {
    if (field.id != FieldId::Via) continue;
    std::string_view value = head.fields.value(field);
    for (std::size_t at = value.find(token); at != std::string_view::npos;
         at = value.find(token, at + token.size())) {
      ++hops;
    }
  }
  return hops;
}

}  // namespace

Exchange::~Exchange() = default;

void Exchange::arm(std::chrono::milliseconds delay) {
  if (delay.count() <= 0) delay = config().timeouts.stream_idle;
  worker_.reactor().timers().arm(*this, worker_.reactor().now() + delay.count());
}

// ---- Facts --------------------------------------------------------------------------------------

void Exchange::begin(Downstream& downstream, DownstreamContext& context, const RequestHead& head) {
  downstream_ = &downstream;
  context_ = &context;
  started_ns_ = worker_.reactor().now_ns();
  method_.assign(head.method);
  path_.assign(head.path);
  authority_.assign(head.authority);
  is_http10_ = head.version == http1::Version::Http10;
  is_head_ = head.is_head();
  is_idempotent_ = is_idempotent_method(head.method);
  is_grpc_ =
      http1::starts_with_ignoring_case(head.fields.find(FieldId::ContentType), "application/grpc");
  takes_trailers_ =
      head.fields.has(FieldId::Te) && head.fields.has_list_element(FieldId::Te, "trailers");
  const std::string_view id = head.fields.find(FieldId::RequestId);
  if (is_valid_request_id(id) && head.fields.count(FieldId::RequestId) == 1) {
    request_id_.assign(id);
  } else {
    assign_uuid(worker_.random(), request_id_);
  }
}

void Exchange::begin_malformed(Downstream& downstream, DownstreamContext& context) {
  downstream_ = &downstream;
  context_ = &context;
  started_ns_ = worker_.reactor().now_ns();
  method_.assign("-");
  path_.clear();
  authority_.clear();
  request_id_.clear();
}

bool Exchange::accept(RequestHead& head, const http1::Framing& framing) {
  request_framing_ = framing;
  if (head.is_connect()) {
    reject(403, Flag::Refused, "CONNECT is not allowed here");
    return false;
  }
  if (worker_.overload() >= OverloadLevel::Refusing) {
    reject(503, Flag::Overload, "the memory limit is nearly reached");
    return false;
  }
  const auto& limits = config().limits;
  if (limits.body_size && framing.kind == BodyKind::Length &&
      framing.length > limits.body_size->value) {
    reject(413, Flag::LimitExceeded, "the request body is larger than the limit");
    return false;
  }
  if (count_own_hops(head, worker_.via_token()) >= limits.max_hops) {
    reject(508, Flag::LoopDetected, "the request came through this proxy too many times");
    return false;
  }
  wants_upgrade_ = is_websocket_upgrade(head, framing);
  const RuleSet* rules = context_->routes->snapshot->rules();
  return rules == nullptr || rules->is_empty(context_->direction) || consult_rules(head);
}

// ---- Routing ------------------------------------------------------------------------------------

void Exchange::prepare(RequestHead& head) {
  if (inspection_ && inspection_->is_holding()) return;
  if (choose_destination()) {
    uses_http2_ = cluster_ ? cluster_->uses_http2() : context_->is_destination_http2;
    // Without a key there is nothing to answer an HTTP/1 client with.
    if (uses_http2_ && wants_upgrade_ && head.fields.find("sec-websocket-key") == nullptr) {
      wants_upgrade_ = false;
    }
  } else {
    is_route_refused_ = true;
  }
  if (uses_http2_) {
    build_http2_request(head);
  } else {
    build_request(head);
  }
}

// Sets cluster or endpoint, and the counters; false when nothing leads there.
bool Exchange::choose_destination() {
  if (inspection_ && inspection_->walk.upstream) {
    apply_route({RouteAnswer::Kind::Upstream, *inspection_->walk.upstream});
    return true;
  }
  const RouteAnswer answer = choose_route(*context_->routes->snapshot,
                                          {context_->kind, authority_, context_->destination,
                                           context_->upstream, context_->is_upstream_fallback});
  if (answer.kind == RouteAnswer::Kind::Refused) return false;
  apply_route(answer);
  return true;
}

void Exchange::apply_route(const RouteAnswer& answer) {
  if (answer.kind == RouteAnswer::Kind::Upstream) {
    cluster_ = context_->routes->clusters[answer.upstream];
    ++cluster_->active_requests;
    stats_ = &cluster_->stats(context_->direction, worker_.stats());
    attempts_max_ = cluster_->config().retry.attempts + 1;
  } else {
    if (!context_->endpoint) {
      context_->endpoint = worker_.endpoint_of(*context_->routes, context_->destination, false,
                                               context_->is_destination_http2);
    }
    worker_.follow_app(*context_);
    endpoint_ = context_->endpoint;
    if (context_->destination_stats == nullptr) {
      context_->destination_stats = &worker_.stats().route(
          context_->direction, context_->direction == Direction::Inbound ? "app" : "passthrough");
    }
    stats_ = context_->destination_stats;
  }
  stats_->active.add();
}

// What is written anew must not go twice.
void Exchange::remove_replaced_fields(RequestHead& head, bool is_host_rewritten, bool is_id_kept) {
  const std::size_t ignored = http1::remove_hop_by_hop(head.fields, wants_upgrade_);
  if (ignored > 0) worker_.stats().nominations_ignored.add(ignored);
  if (is_host_rewritten || !is_id_kept) {
    for (Field& field : head.fields.all()) {
      if (field.id == FieldId::Host) field.is_removed |= is_host_rewritten;
      if (field.id == FieldId::RequestId) field.is_removed |= !is_id_kept;
    }
  }
  if (inspection_) remove_ruled_fields(head);
}

void Exchange::dispatch() {
  if (inspection_ && inspection_->is_holding()) {
    begin_holding();
    return;
  }
  is_dispatched_ = true;
  if (is_route_refused_) {
    Refusal refusal = context_->routes->snapshot->refusal_of(context_->destination);
    if (refusal.names_host && !authority_.empty()) refusal.reason += ": " + authority_;
    reply_locally(refusal.status, Flag::NoRoute, refusal.details, refusal.reason);
    return;
  }
  if (cluster_ && cluster_->active_requests > cluster_->config().circuit_breaker.max_requests) {
    reply_locally(503, Flag::UpstreamOverflow, "max_requests",
                  "the upstream has max_requests requests under way");
    return;
  }
  arm(idle_timeout());
  attempt();
}

void Exchange::attempt() {
  ++attempts_;
  request_sent_ = 0;
  bytes_written_upstream_ = 0;
  if (cluster_) {
    if (!cluster_->has_endpoints()) {
      reply_locally(503, Flag::NoEndpoint, "no_healthy_upstream",
                    "the upstream's name resolves to no address");
      return;
    }
    endpoint_ = cluster_->choose(worker_.random(), attempts_ > 1 ? endpoint_.get() : nullptr);
  }
  if (uses_http2_) {
    attempt_http2();
  } else {
    attempt_http1();
  }
}

// False after it answered that there is none.
bool Exchange::has_connection_room() {
  if (!cluster_ || endpoint_->active() < cluster_->config().circuit_breaker.max_connections) {
    return true;
  }
  reply_locally(503, Flag::UpstreamOverflow, "max_connections",
                "the upstream has max_connections connections in use");
  return false;
}

// ---- Record -------------------------------------------------------------------------------------

void Exchange::record() {
  const std::int64_t now = Reactor::precise_now_ns();
  const std::int64_t duration = now - started_ns_;
  const auto direction = static_cast<std::size_t>(context_->direction);
  RouteStats& stats =
      stats_ != nullptr ? *stats_ : worker_.stats().route(context_->direction, "none");
  stats.responses[static_cast<std::size_t>(std::clamp(status_ / 100, 0, 5))].add();
  stats.observe_duration(duration);
  stats.bytes_received.add(bytes_received_);
  stats.bytes_sent.add(bytes_sent_);
  stats.flags[static_cast<std::size_t>(flag_)].add();
  if (stats_ != nullptr) stats.active.subtract();
  if (cluster_) --cluster_->active_requests;
  const bool is_aborted = flag_ == Flag::Drained || flag_ == Flag::UpstreamTermination;
  (is_aborted ? worker_.stats().exchanges_aborted : worker_.stats().exchanges_finished)[direction]
      .add();
  if (!worker_.is_log_enabled()) return;

  AccessRecord record;
  record.direction = direction_name(context_->direction);
  record.method = method_;
  record.path = path_;
  record.authority = authority_;
  record.status = status_;
  record.protocol = is_http10_   ? "HTTP/1.0"
                    : is_tunnel_ ? "websocket"
                                 : downstream_->protocol_name();
  record.bytes_received = bytes_received_;
  record.bytes_sent = bytes_sent_;
  record.duration_ns = duration;
  if (upstream_started_ns_ != 0) {
    const std::int64_t ended = upstream_ended_ns_ != 0 ? upstream_ended_ns_ : now;
    record.upstream_ns = ended - upstream_started_ns_;
  }
  if (stats_ != nullptr) record.upstream = stats_->upstream;
  if (endpoint_) record.upstream_address = endpoint_->text();
  char peer[Address::kTextBytesMax];
  record.downstream_address = context_->peer.write_to(peer);
  record.request_id = request_id_;
  record.tls_version = context_->tls_version();
  record.peer_uri = context_->peer_uri();
  record.details = details_;
  record.flags = flag_name(flag_);
  record.attempts = attempts_;
  record.is_connection_reused = was_connection_reused_;
  worker_.log(record, started_ns_);
}

std::size_t Exchange::held_bytes(bool counts_sockets) const {
  std::size_t bytes = downstream_->held_bytes(counts_sockets) + request_.size() +
                      upstream_out_.size() + http2_request_.body.size() + response_held_.size();
  if (inspection_) bytes += inspection_->body.size();
  if (http2_stream_ != nullptr) bytes += http2_stream_->out.size();
  if (counts_sockets && upstream_) bytes += upstream_->socket().kernel_bytes();
  return bytes;
}

void Exchange::reset() {
  worker_.reactor().timers().disarm(*this);
  ++id_;
  if (http2_stream_ != nullptr) std::exchange(http2_stream_, nullptr)->abandon();
  downstream_ = nullptr;
  context_ = nullptr;
  is_http10_ = is_head_ = is_grpc_ = takes_trailers_ = is_idempotent_ = false;
  wants_upgrade_ = is_request_complete_ = false;
  request_framing_ = {};
  body_position_.remaining = 0;
  body_position_.chunks.reset();
  if (inspection_) {
    inspection_->body.release(worker_.buffers());
    inspection_.reset();
  }
  request_.clear();
  if (request_.capacity() > kRequestKept) request_.shrink_to_fit();
  request_sent_ = 0;
  if (!upstream_out_.is_empty()) upstream_out_.release(worker_.buffers());
  http2_request_.clear();
  uses_http2_ = is_dispatched_ = is_tunnel_ = false;
  is_replayable_ = true;
  cluster_.reset();
  endpoint_.reset();
  upstream_.reset();
  attempts_ = 0;
  attempts_max_ = 2;
  is_route_refused_ = is_stale_retried_ = is_request_abandoned_ = false;
  is_fresh_connection_needed_ = was_connection_reused_ = false;
  bytes_written_upstream_ = 0;
  response_state_ = ResponseState::AwaitingHead;
  response_held_.clear();
  response_progress_ = {};
  response_framing_ = {};
  response_remaining_ = 0;
  response_chunks_.reset();
  is_upstream_reusable_ = false;
  upstream_version_ = "1.1";
  request_id_.clear();
  stats_ = nullptr;
  status_ = 0;
  flag_ = Flag::None;
  details_ = {};
  bytes_received_ = bytes_sent_ = 0;
  started_ns_ = upstream_started_ns_ = upstream_ended_ns_ = 0;
}

}  // namespace pillion::proxy
