// When things go wrong: local replies, retries, truncation, aborts. See exchange.h.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "proxy/exchange.h"
#include "proxy/worker.h"
#include "runtime/http1/head_writer.h"
#include "runtime/http1/hop_by_hop.h"
#include "runtime/log.h"

namespace pillion::proxy {
namespace {

// Proxy error types of RFC 9209 §2.3.
std::string_view proxy_status_error(Flag flag, int status) {
  switch (flag) {
    case Flag::UpstreamConnectFailure:
      return status == 504 ? "connection_timeout" : "connection_refused";
    case Flag::UpstreamTermination: return "connection_terminated";
    case Flag::UpstreamProtocolError: return "http_protocol_error";
    case Flag::UpstreamTimeout: return "http_response_timeout";
    case Flag::UpstreamOverflow:
    case Flag::Overload: return "connection_limit_reached";
    case Flag::NoRoute: return "destination_not_found";
    case Flag::NoEndpoint: return "dns_error";
    case Flag::LoopDetected: return "proxy_loop_detected";
    case Flag::Refused: return "http_request_denied";
    default: return "http_request_error";
  }
}

bool has_retry(const config::Upstream& upstream, config::RetryOn condition) {
  for (const config::RetryOn one : upstream.retry.on) {
    if (one == condition) return true;
  }
  return false;
}

}  // namespace

// The end of a chunked body with the trailers that may travel. False when they are malformed.
bool append_last_chunk(std::string_view trailer_section, std::string& out) {
  if (trailer_section.empty()) {
    out.append(http1::kLastChunk);
    return true;
  }
  http1::Fields trailers;
  const auto result = http1::parse_field_section(trailer_section, {}, trailers);
  if (result.status != http1::ParseStatus::Done) return false;
  http1::remove_forbidden_trailers(trailers);
  out.append(http1::kLastChunkBeforeTrailers);
  http1::HeadWriter writer(out);
  writer.fields(trailers);
  writer.end();
  return true;
}

// Hands the upstream connection back to its pool, or ends it.
void Exchange::release_upstream(bool is_reusable) {
  if (http2_stream_ != nullptr) {
    Http2UpstreamStream* stream = http2_stream_;
    http2_stream_ = nullptr;
    stream->abandon();
    return;
  }
  if (!upstream_) return;
  if (is_reusable) {
    endpoint_->put_idle(std::move(upstream_));
  } else {
    endpoint_->discard(std::move(upstream_));
  }
}

// ---- Retries ------------------------------------------------------------------------------------

// Tries again when nobody can have seen the request, or when seeing it twice does no harm and the
// failure is that of a pooled connection which the upstream had given up (RFC 9110 §9.2.2).
bool Exchange::retry_if_safe() {
  const bool is_unseen = bytes_written_upstream_ == 0;
  const bool is_stale = was_connection_reused_ && (is_unseen || is_idempotent_);
  if (!is_stale || !is_replayable_ || is_stale_retried_) return false;
  is_stale_retried_ = true;
  is_fresh_connection_needed_ = true;
  stats_->retries.add();
  release_upstream(false);
  attempt();
  return true;
}

void Exchange::on_upstream_connect_failed(int error) {
  std::string tls_failure;
  if (error == EPROTO && upstream_ && upstream_->socket().tls() != nullptr) {
    tls_failure = upstream_->socket().tls()->failure();
  }
  retry_connect(error, tls_failure);
}

// Connects elsewhere, or answers that it cannot. True when another attempt is under way.
bool Exchange::retry_connect(int error, const std::string& tls_failure) {
  stats_->connect_failures.add();
  release_upstream(false);
  if (cluster_ && attempts_ < attempts_max_ && is_replayable_ &&
      has_retry(cluster_->config(), config::RetryOn::ConnectFailure)) {
    stats_->retries.add();
    attempt();
    return true;
  }
  if (error == kNoAppSocket) {
    fail_upstream(503, Flag::UpstreamConnectFailure, "no_app_socket", kNoAppSocketReason);
    return false;
  }
  const bool is_timeout = error == ETIMEDOUT;
  const std::string cause = !tls_failure.empty() ? "TLS: " + tls_failure
                            : is_timeout         ? "timed out"
                                                 : std::strerror(error);
  const std::string reason =
      fmt::format("cannot connect to {} {}: {}",
                  context_->direction == Direction::Inbound ? "the app at" : "the upstream at",
                  endpoint_->text(), cause);
  fail_upstream(is_timeout ? 504 : 502, Flag::UpstreamConnectFailure,
                !tls_failure.empty() ? "upstream_tls_failure"
                : is_timeout         ? "upstream_connect_timeout"
                                     : "upstream_connect_failure",
                reason);
  return false;
}

// The upstream takes no more of the request. It may have answered already (a 413, say): look first.
bool Exchange::on_request_write_failed() {
  if (was_connection_reused_ && retry_if_safe()) return false;
  upstream_out_.release(worker_.buffers());
  is_request_abandoned_ = true;
  is_replayable_ = false;
  is_upstream_reusable_ = false;
  upstream_->socket().note_readable();
  read_upstream();
  return false;
}

// ---- Local replies ------------------------------------------------------------------------------

// A bad request: answered, and nothing more of it is read.
void Exchange::reject(int status, Flag flag, std::string_view reason) {
  downstream_->refuse_request();
  if (response_state_ != ResponseState::AwaitingHead) {
    truncate_response(flag, "request_error_within_response");
    return;
  }
  reply_locally(status, flag, "request_rejected", reason);
}

void Exchange::fail_upstream(int status, Flag flag, std::string_view details, std::string reason) {
  log::debug("{} {}: {}", method_, path_, reason);
  reply_locally(status, flag, details, reason);
}

// Answers in the upstream's stead. Ends the exchange once the answer is written.
void Exchange::reply_locally(int status, Flag flag, std::string_view details,
                             std::string_view reason) {
  release_upstream(false);
  status_ = status;
  flag_ = flag;
  details_ = details;
  response_state_ = ResponseState::Done;
  if (upstream_started_ns_ != 0) upstream_ended_ns_ = Reactor::precise_now_ns();
  const std::string& via = config().via;
  LocalReply reply;
  reply.status = status;
  reply.body = fmt::format("{}: {} ({})\n", via, reason, flag_name(flag));
  reply.proxy_status = fmt::format("{}; error={}; details=\"{}\"", via,
                                   proxy_status_error(flag, status), flag_name(flag));
  reply.is_grpc = is_grpc_;
  reply.reason = reason;
  const bool is_for_neighbour =
      cluster_ ? cluster_->is_neighbour() : is_virtual_address(context_->destination);
  reply.ends_connection =
      is_for_neighbour && (flag == Flag::NoRoute || flag == Flag::UpstreamConnectFailure);
  bytes_sent_ = is_head_ ? 0 : reply.body.size();
  downstream_->send_reply(reply);
}

void Exchange::truncate_response(Flag flag, std::string_view details) {
  flag_ = flag;
  details_ = details;
  response_state_ = ResponseState::Done;
  upstream_ended_ns_ = Reactor::precise_now_ns();
  release_upstream(false);
  downstream_->truncate_response();
}

void Exchange::abort(Flag flag, std::string_view details) {
  release_upstream(false);
  if (flag_ == Flag::None) {
    flag_ = flag;
    details_ = details;
  }
  response_state_ = ResponseState::Done;
  downstream_->abort_exchange();
}

void Exchange::shed() {
  if (response_state_ == ResponseState::AwaitingHead) {
    reject(503, Flag::Overload, "the memory limit is nearly reached");
  } else {
    abort(Flag::Overload, "overload");
  }
}

void Exchange::on_deadline(Milliseconds) {
  switch (response_state_) {
    case ResponseState::Done: abort(Flag::DownstreamClosed, "downstream_idle_timeout"); return;
    case ResponseState::Body:
      truncate_response(Flag::UpstreamTimeout, "stream_idle_timeout");
      return;
    case ResponseState::AwaitingHead: break;
  }
  const bool is_upstream_full = uses_http2_ ? http2_stream_ != nullptr && !http2_stream_->has_room()
                                            : !upstream_out_.is_empty();
  if (!is_request_complete_ && !is_upstream_full && !is_awaiting_tunnel()) {
    reject(408, Flag::RequestTimeout, "the request body stopped coming");
  } else if (is_request_sent()) {
    fail_upstream(504, Flag::UpstreamTimeout, "response_timeout",
                  "the upstream did not answer in time");
  } else {
    fail_upstream(504, Flag::UpstreamTimeout, "request_stalled",
                  "the upstream stopped reading the request");
  }
}

}  // namespace pillion::proxy
