// When things go wrong: local replies, retries, truncation, aborts. See http_connection.h.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "proxy/http_connection.h"
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
void HttpConnection::release_upstream(bool is_reusable) {
  Exchange& exchange = *exchange_;
  if (!exchange.upstream) return;
  if (is_reusable) {
    exchange.endpoint->put_idle(std::move(exchange.upstream));
  } else {
    exchange.endpoint->discard(std::move(exchange.upstream));
  }
}

// ---- Retries ------------------------------------------------------------------------------------

// Tries again when nobody can have seen the request, or when seeing it twice does no harm and the
// failure is that of a pooled connection which the upstream had given up (RFC 9110 §9.2.2).
bool HttpConnection::retry_if_safe() {
  Exchange& exchange = *exchange_;
  const bool is_unseen = exchange.bytes_written_upstream == 0;
  const bool is_stale = exchange.was_connection_reused && (is_unseen || exchange.is_idempotent);
  if (!is_stale || !exchange.is_replayable || exchange.is_stale_retried) return false;
  exchange.is_stale_retried = true;
  exchange.is_fresh_connection_needed = true;
  exchange.stats->retries.add();
  release_upstream(false);
  attempt();
  return true;
}

void HttpConnection::on_upstream_connect_failed(int error) {
  if (!exchange_) return;
  Exchange& exchange = *exchange_;
  exchange.stats->connect_failures.add();
  std::string tls_failure;
  if (error == EPROTO && exchange.upstream && exchange.upstream->socket().tls() != nullptr) {
    tls_failure = exchange.upstream->socket().tls()->failure();
  }
  release_upstream(false);
  if (exchange.cluster && exchange.attempts < exchange.attempts_max &&
      has_retry(exchange.cluster->config(), config::RetryOn::ConnectFailure)) {
    exchange.stats->retries.add();
    attempt();
    return;
  }
  if (error == kNoAppSocket) {
    fail_upstream(503, Flag::UpstreamConnectFailure, "no_app_socket", kNoAppSocketReason);
    return;
  }
  const bool is_timeout = error == ETIMEDOUT;
  const std::string cause = !tls_failure.empty() ? "TLS: " + tls_failure
                            : is_timeout         ? "timed out"
                                                 : std::strerror(error);
  const std::string reason =
      fmt::format("cannot connect to {} {}: {}",
                  context_.direction == Direction::Inbound ? "the app at" : "the upstream at",
                  exchange.endpoint->text(), cause);
  fail_upstream(is_timeout ? 504 : 502, Flag::UpstreamConnectFailure,
                !tls_failure.empty() ? "upstream_tls_failure"
                : is_timeout         ? "upstream_connect_timeout"
                                     : "upstream_connect_failure",
                reason);
}

// The upstream takes no more of the request. It may have answered already (a 413, say): look first.
bool HttpConnection::on_request_write_failed() {
  Exchange& exchange = *exchange_;
  if (exchange.was_connection_reused && retry_if_safe()) return false;
  exchange.upstream_out.release(worker_.buffers());
  exchange.is_request_abandoned = true;
  exchange.is_replayable = false;
  exchange.is_upstream_reusable = false;
  exchange.upstream->socket().note_readable();
  read_upstream();
  return false;
}

// ---- Local replies ------------------------------------------------------------------------------

// A bad request: answered, and the connection is never parsed again.
void HttpConnection::reject(int status, Flag flag, std::string_view reason) {
  if (!exchange_) {
    exchange_ = worker_.take_exchange();
    exchange_->started_ns = worker_.reactor().now_ns();
    exchange_->method.assign("-");
    exchange_->path.clear();
    exchange_->authority.clear();
    exchange_->request_id.clear();
    state_ = State::Exchange;
  }
  is_closing_after_response_ = true;
  needs_lingering_ = true;
  held_.release(worker_.buffers());
  if (exchange_->response_state != Exchange::ResponseState::AwaitingHead) {
    truncate_response(flag, "request_error_within_response");
    return;
  }
  reply_locally(status, flag, "request_rejected", reason);
}

void HttpConnection::fail_upstream(int status, Flag flag, std::string_view details,
                                   std::string reason) {
  log::debug("{} {}: {}", exchange_->method, exchange_->path, reason);
  reply_locally(status, flag, details, reason);
}

// Answers in the upstream's stead. Ends the exchange once the answer is written.
void HttpConnection::reply_locally(int status, Flag flag, std::string_view details,
                                   std::string_view reason) {
  Exchange& exchange = *exchange_;
  release_upstream(false);
  exchange.status = status;
  exchange.flag = flag;
  exchange.details = details;
  exchange.response_state = Exchange::ResponseState::Done;
  if (exchange.upstream_started_ns != 0) exchange.upstream_ended_ns = Reactor::precise_now_ns();
  if (!exchange.is_request_complete) {
    is_closing_after_response_ = true;
    needs_lingering_ = true;
  }
  const std::string& via = context_.routes->snapshot->config().via;
  const std::string body = fmt::format("{}: {} ({})\n", via, reason, flag_name(flag));
  std::string out;
  http1::HeadWriter writer(out);
  writer.status_line(status, http1::reason_phrase(status));
  writer.field("Content-Type", "text/plain; charset=utf-8");
  writer.field("Proxy-Status", fmt::format("{}; error={}; details=\"{}\"", via,
                                           proxy_status_error(flag, status), flag_name(flag)));
  if (!exchange.request_id.empty()) writer.field("X-Request-ID", exchange.request_id);
  writer.field("Via", fmt::format("1.1 {}", via));
  writer.content_length(body.size());
  if (is_closing_after_response_) {
    writer.field("Connection", "close");
  } else if (exchange.is_http10) {
    writer.field("Connection", "keep-alive");
  }
  writer.end();
  if (!exchange.is_head) out.append(body);
  exchange.bytes_sent = exchange.is_head ? 0 : body.size();
  iovec part{out.data(), out.size()};
  if (!send_downstream(&part, 1)) return;
  if (out_.is_empty()) {
    finish_exchange();
  } else {
    state_ = State::Flushing;
    arm(context_.routes->snapshot->config().timeouts.stream_idle);
  }
}

// The head is out and the rest will not come: the client must see that, so no last chunk is sent,
// and where only the close marks the end it becomes a reset.
void HttpConnection::truncate_response(Flag flag, std::string_view details) {
  Exchange& exchange = *exchange_;
  exchange.flag = flag;
  exchange.details = details;
  exchange.response_state = Exchange::ResponseState::Done;
  exchange.upstream_ended_ns = Reactor::precise_now_ns();
  release_upstream(false);
  is_closing_after_response_ = true;
  if (exchange.downstream_coding == Exchange::DownstreamCoding::UntilClose) {
    is_reset_on_close_ = true;
  }
  if (out_.is_empty()) {
    finish_exchange();
  } else {
    state_ = State::Flushing;
  }
}

// Ends exchange and connection at once.
void HttpConnection::abort_exchange(Flag flag, std::string_view details) {
  Exchange& exchange = *exchange_;
  release_upstream(false);
  if (exchange.flag == Flag::None) {
    exchange.flag = flag;
    exchange.details = details;
  }
  record_exchange();
  worker_.give_exchange(std::move(exchange_));
  ++exchange_id_;
  close();
}

void HttpConnection::on_exchange_timeout() {
  Exchange& exchange = *exchange_;
  if (exchange.response_state != Exchange::ResponseState::AwaitingHead) {
    truncate_response(Flag::UpstreamTimeout, "stream_idle_timeout");
    return;
  }
  const bool is_request_sent = exchange.is_request_complete &&
                               exchange.request_sent == exchange.request.size() &&
                               exchange.upstream_out.is_empty();
  if (!exchange.is_request_complete && exchange.upstream_out.is_empty()) {
    reject(408, Flag::RequestTimeout, "the request body stopped coming");
  } else if (is_request_sent) {
    fail_upstream(504, Flag::UpstreamTimeout, "response_timeout",
                  "the upstream did not answer in time");
  } else {
    fail_upstream(504, Flag::UpstreamTimeout, "request_stalled",
                  "the upstream stopped reading the request");
  }
}

}  // namespace pillion::proxy
