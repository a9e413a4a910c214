// One request and its response, with every attempt made for it: the part that does not depend on
// what the client speaks (see downstream.h). It routes, sends the request upstream, retries, hands
// the response on as it comes, and records all of it once.
//
// The code is split by subject: exchange.cc (facts, routing, record), exchange_request.cc (to an
// HTTP/1 upstream), exchange_response.cc (from it), exchange_http2.cc (both ways with HTTP/2),
// exchange_failure.cc (local replies, retries, aborts), exchange_rules.cc (what the rules decide).
//
// Exchanges are reused: their strings keep their memory, so that a request in the steady state
// allocates nothing. It reads from one side only while the other has taken everything, so an
// exchange holds at most one read of memory per direction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/body_parts.h"
#include "proxy/buffers.h"
#include "proxy/cluster.h"
#include "proxy/downstream.h"
#include "proxy/http2_upstream.h"
#include "proxy/rules/inspection.h"
#include "proxy/stats.h"
#include "proxy/timer_wheel.h"
#include "proxy/upstream_connection.h"
#include "runtime/http1/chunked.h"
#include "runtime/http1/framing.h"
#include "runtime/http1/head_parser.h"

namespace pillion::proxy {

class Worker;

class Exchange final : public Deadline,
                       private UpstreamUser,
                       private Http2Requester,
                       private VerdictUser {
 public:
  explicit Exchange(Worker& worker) : worker_(worker) {}
  ~Exchange() override;

  // ---- The downstream's calls, in this order. Each may end the exchange.

  // Notes the head's facts. Both references must stay until reset().
  void begin(Downstream& downstream, DownstreamContext& context, const http1::RequestHead& head);
  // The same for a head that could not be parsed; only reject() may follow.
  void begin_malformed(Downstream& downstream, DownstreamContext& context);
  // Refuses what must not be forwarded; false after it answered.
  bool accept(http1::RequestHead& head, const http1::Framing& framing);
  // Chooses the destination, and writes the head for it. What of the body comes before dispatch()
  // travels with it, and stays for a retry.
  void prepare(http1::RequestHead& head);
  void send_body(BodyParts& body, std::string_view trailer_section);
  void dispatch();

  bool wants_body() const;               // room for more of the request's body
  void resume_response();                // the client has taken what it was given
  void touch() { arm(idle_timeout()); }  // something moved
  void reject(int status, Flag flag, std::string_view reason);
  // The client went away, or the drain's deadline came.
  void abort(Flag flag, std::string_view details);
  // Ends it for lack of memory: with 503 if the client has nothing of a response yet.
  void shed();
  // What it holds for its two peers, the downstream's share included; see there.
  std::size_t held_bytes(bool counts_sockets) const;
  // The one exit: log and metrics. reset() follows.
  void record();
  // Everything as new, memory kept.
  void reset();

  void on_deadline(Milliseconds now) override;

  // Tells an exchange from the next one in the same memory.
  std::uint64_t id() const { return id_; }

  // ---- Facts that the downstream reads.
  bool is_http10() const { return is_http10_; }
  bool is_head() const { return is_head_; }
  bool is_request_complete() const { return is_request_complete_; }
  // What the response came by, for Via: "1.0", "1.1", "2".
  std::string_view upstream_version() const { return upstream_version_; }
  bool is_response_begun() const { return response_state_ != ResponseState::AwaitingHead; }
  const std::string& request_id() const { return request_id_; }
  const http1::Framing& request_framing() const { return request_framing_; }

  // Where an HTTP/1 client's connection is in the request's body: kept here, so that it takes no
  // memory while the connection is idle.
  struct BodyPosition {
    std::uint64_t remaining = 0;
    http1::ChunkedDecoder chunks;
  };
  BodyPosition& body_position() { return body_position_; }

 private:
  enum class ResponseState : std::uint8_t { AwaitingHead, Body, Done };

  void arm(std::chrono::milliseconds delay);
  std::chrono::milliseconds idle_timeout() const {
    return is_tunnel_ ? config().timeouts.tcp_idle : config().timeouts.stream_idle;
  }
  // A client without a socket of its own waits for the 101: its bytes wait too.
  bool is_awaiting_switch() const {
    return wants_upgrade_ && !is_tunnel_ && response_state_ == ResponseState::AwaitingHead &&
           downstream_->is_multiplexed();
  }
  // An HTTP/1 client towards HTTP/2: the tunnel is a stream, and begins with a 2xx.
  bool is_awaiting_tunnel() const {
    return wants_upgrade_ && uses_http2_ && !is_tunnel_ &&
           response_state_ == ResponseState::AwaitingHead && !downstream_->is_multiplexed();
  }
  const config::ProxyConfig& config() const { return context_->config(); }

  // ---- exchange.cc
  bool choose_destination();
  void apply_route(const RouteAnswer& answer);
  void remove_replaced_fields(http1::RequestHead& head, bool is_host_rewritten, bool is_id_kept);
  void attempt();
  bool has_connection_room();

  // ---- exchange_request.cc
  void build_request(http1::RequestHead& head);
  void attempt_http1();
  void pass_body(BodyParts& body, std::string_view trailer_section);
  bool forward_parts(const iovec* parts, std::size_t count);
  void write_upstream();
  void after_request_sent();
  bool is_request_sent() const;
  std::chrono::milliseconds response_timeout() const;

  // ---- exchange_response.cc
  void on_upstream_connected() override;
  void on_upstream_connect_failed(int error) override;
  void on_upstream_ready() override;
  void read_upstream();
  void on_response_bytes(std::string_view bytes);
  bool begin_response(http1::ResponseHead& head, const http1::Framing& framing);
  void forward_informational(http1::ResponseHead& head);
  void switch_protocols(http1::ResponseHead& head, std::string_view rest);
  void begin_tunnel(http1::ResponseHead& head, std::string_view rest);
  void forward_body(std::string_view bytes);
  void on_upstream_end(int error, bool is_truncated);
  void response_done(bool is_upstream_clean);

  // ---- exchange_http2.cc
  void attempt_http2();
  void build_http2_request(http1::RequestHead& head);
  void send_http2_body(BodyParts& body, std::string_view trailer_section);
  void on_http2_room() override;
  void on_http2_head(Http2HeadReader& reader, bool is_end) override;
  void on_http2_data(std::string_view data) override;
  void on_http2_end(std::string_view trailer_section) override;
  void on_http2_failed(const Http2Failure& failure) override;
  bool can_take_http2() const override;
  void http2_done();
  void begin_upgraded(http1::ResponseHead& head, bool is_end);

  // ---- exchange_rules.cc
  bool consult_rules(http1::RequestHead& head);
  void remove_ruled_fields(http1::RequestHead& head) const;
  void begin_holding();
  void hold_body(BodyParts& body, std::string_view trailer_section);
  void decide();
  void let_pass();
  bool follow(const RuleStep& step, const http1::RequestHead& head);
  bool ask_check(const config::ExternalCheck& check, const http1::RequestHead& head);
  void on_verdict(const Verdict& verdict) override;
  void deny_as_checked(const Verdict& verdict);
  void deny(int status, std::string_view details, std::string_view reason);

  // ---- exchange_failure.cc
  bool retry_if_safe();
  bool retry_connect(int error, const std::string& tls_failure);
  void fail_upstream(int status, Flag flag, std::string_view details, std::string reason);
  void reply_locally(int status, Flag flag, std::string_view details, std::string_view reason);
  void truncate_response(Flag flag, std::string_view details);
  void release_upstream(bool is_reusable);
  bool on_request_write_failed();

  Worker& worker_;
  Downstream* downstream_ = nullptr;
  DownstreamContext* context_ = nullptr;
  std::uint64_t id_ = 0;

  // ---- The request, as received.
  std::string method_;
  std::string path_;
  std::string authority_;
  std::string request_id_;
  bool is_http10_ = false;
  bool is_head_ = false;
  bool is_grpc_ = false;
  bool takes_trailers_ = false;
  bool is_idempotent_ = false;
  bool wants_upgrade_ = false;
  bool is_request_complete_ = false;  // its last byte has come
  http1::Framing request_framing_;
  BodyPosition body_position_;

  std::unique_ptr<Inspection> inspection_;  // where rules are configured

  // ---- What goes upstream: head and early body, kept for a retry; then the body as it streams.
  std::string request_;
  std::size_t request_sent_ = 0;
  ByteQueue upstream_out_;
  Http2Request http2_request_;
  bool uses_http2_ = false;
  bool is_dispatched_ = false;
  bool is_tunnel_ = false;     // after a switch of protocols, bytes both ways
  bool is_replayable_ = true;  // nothing but `request_` and `upstream_out_` was sent

  // ---- The attempt under way.
  std::shared_ptr<Cluster> cluster_;    // shared: the route table may change meanwhile
  std::shared_ptr<Endpoint> endpoint_;  // shared: see EndpointTable
  std::unique_ptr<UpstreamConnection> upstream_;
  Http2UpstreamStream* http2_stream_ = nullptr;  // of the endpoint's connection
  unsigned attempts_ = 0;
  unsigned attempts_max_ = 2;
  bool is_route_refused_ = false;
  bool is_fresh_connection_needed_ = false;
  bool is_stale_retried_ = false;
  bool is_request_abandoned_ = false;  // the upstream takes no more of it
  bool was_connection_reused_ = false;
  std::size_t bytes_written_upstream_ = 0;  // in this attempt

  // ---- The response.
  ResponseState response_state_ = ResponseState::AwaitingHead;
  std::string response_held_;  // a head that came in parts
  http1::ParseProgress response_progress_;
  http1::Framing response_framing_;
  std::uint64_t response_remaining_ = 0;
  http1::ChunkedDecoder response_chunks_;
  bool is_upstream_reusable_ = false;
  std::string_view upstream_version_ = "1.1";  // static text

  // ---- For the log.
  RouteStats* stats_ = nullptr;
  int status_ = 0;
  Flag flag_ = Flag::None;
  std::string_view details_;  // static text
  std::uint64_t bytes_received_ = 0;
  std::uint64_t bytes_sent_ = 0;
  std::int64_t started_ns_ = 0;
  std::int64_t upstream_started_ns_ = 0;  // 0: never sent
  std::int64_t upstream_ended_ns_ = 0;
};

// The end of a chunked body with the trailers that may travel. False when they are malformed.
bool append_last_chunk(std::string_view trailer_section, std::string& out);

}  // namespace pillion::proxy
