// One question to an external check: a POST to an upstream, and its whole answer. Uses the
// upstream's pool of HTTP/1 connections; tries once more when a pooled one turns out to be dead.
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

class ExternalCall final : public Deadline, private UpstreamUser {
 public:
  // `request` is all that is sent, head and body.
  ExternalCall(Worker& worker, std::shared_ptr<Cluster> cluster, std::string request,
               VerdictUser& user);
  ~ExternalCall() override;  // gives it up

  void begin(std::chrono::milliseconds timeout);
  void on_deadline(Milliseconds now) override;

 private:
  void attempt();
  void on_upstream_connected() override;
  void on_upstream_connect_failed(int error) override;
  void on_upstream_ready() override;
  void write();
  void read();
  bool take(std::string_view bytes);  // false once the answer is complete or the call failed
  bool take_body(std::string_view bytes);
  bool retry();
  void finish(bool is_reusable);
  void fail_call(std::string reason);
  void release(bool is_reusable);
  // Tells the user with nothing of ours on the stack behind it.
  void tell(const Verdict& verdict);

  Worker& worker_;
  std::shared_ptr<Cluster> cluster_;  // shared: the route table may change meanwhile
  std::shared_ptr<Endpoint> endpoint_;
  std::unique_ptr<UpstreamConnection> upstream_;
  VerdictUser& user_;
  std::string request_;
  std::size_t sent_ = 0;
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
  bool is_failed_ = false;
};

}  // namespace pillion::proxy
