// One question to an external check: a POST to an upstream, and its whole answer. Uses the
// upstream's pool of HTTP/1 connections, or a stream of its HTTP/2 connections; tries once more
// when a connection that was there already turns out to be dead.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "config/proxy.h"
#include "proxy/cluster.h"
#include "proxy/timer_wheel.h"
#include "proxy/upstream_connection.h"
#include "runtime/http1/chunked.h"
#include "runtime/http1/framing.h"
#include "runtime/http1/head_parser.h"

namespace pillion::proxy {

class Worker;

// What came of it. `head` views the call's memory.
struct Verdict {
  bool is_answered = false;
  std::string failure;  // for people, when it is not
  const http1::ResponseHead* head = nullptr;
  std::string_view body;  // at most 64 KiB
};

class VerdictUser {
 public:
  // Once, never from inside begin(). The call may be destroyed by it.
  virtual void on_verdict(const Verdict& verdict) = 0;

 protected:
  ~VerdictUser() = default;
};

struct Question {
  Http2Request http2;  // its fields, towards an upstream that speaks HTTP/2; its body is not used
  std::string bytes;   // HTTP/1: head and body; HTTP/2: the body
};

class ExternalCall final : public Deadline, private UpstreamUser, private Http2Requester {
 public:
  ExternalCall(Worker& worker, std::shared_ptr<Cluster> cluster, Question question,
               VerdictUser& user);
  ~ExternalCall() override;  // gives it up

  void begin(std::chrono::milliseconds timeout);
  void on_deadline(Milliseconds now) override;

 private:
  void attempt();
  void attempt_http1();
  void attempt_http2();
  void on_upstream_connected() override;
  void on_upstream_connect_failed(int error) override;
  void on_upstream_ready() override;
  void on_http2_room() override { send_body(); }
  void on_http2_head(Http2HeadReader& reader, bool is_end) override;
  void on_http2_data(std::string_view data) override;
  void on_http2_end(std::string_view trailer_section) override;
  void on_http2_failed(const Http2Failure& failure) override;
  bool can_take_http2() const override { return true; }
  void send_body();
  void write();
  void read();
  bool take(std::string_view bytes);  // false once the answer is complete or the call failed
  bool take_body(std::string_view bytes);
  bool retry();
  void ask_again();
  void finish(bool is_reusable);
  void fail_call(std::string reason);
  void release(bool is_reusable);
  // Tells the user with nothing of ours on the stack behind it.
  void tell(const Verdict& verdict);

  Worker& worker_;
  std::shared_ptr<Cluster> cluster_;  // shared: the route table may change meanwhile
  std::shared_ptr<Endpoint> endpoint_;
  std::unique_ptr<UpstreamConnection> upstream_;  // HTTP/1
  Http2UpstreamStream* stream_ = nullptr;         // HTTP/2; null before and after
  VerdictUser& user_;
  Question question_;
  std::size_t sent_ = 0;  // of question_.bytes
  std::string answer_head_;
  http1::ParseProgress progress_;
  http1::ResponseHead head_;
  http1::Framing framing_;
  http1::ChunkedDecoder chunks_;
  std::uint64_t remaining_ = 0;
  std::string body_;
  std::string failure_;
  bool has_head_ = false;
  bool is_told_ = false;
  bool is_last_attempt_ = false;
  bool was_stream_reused_ = false;
  bool is_failed_ = false;
};

}  // namespace pillion::proxy
