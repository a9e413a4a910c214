// Records to a syslog receiver: RFC 5424 over TCP with octet counting (RFC 6587 §3.4.1), over TLS
// (RFC 5425), or a datagram each (RFC 5426).
//
// Syslog has no acknowledgement. Over TCP a batch counts as delivered when the peer's kernel has
// acknowledged its last byte; after a broken connection the whole batch is sent again. What the
// peer's kernel had and the peer did not read is lost. Over UDP anything may be lost.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "adapters/logs/output/output.h"
#include "adapters/logs/output/syslog_line.h"
#include "runtime/loop.h"

namespace pillion::logs {

struct SyslogOptions {
  std::string host;
  std::uint16_t port = 514;
  bool is_udp = false;
  bool has_tls = false;
  std::string ca_file;  // of TLS; empty = the system's
  std::string certificate_file;
  std::string key_file;
  bool is_peer_verified = true;
  SyslogLineOptions line;
  std::chrono::milliseconds timeout{10'000};  // to connect; without progress while sending
  std::chrono::milliseconds backoff_base{1'000};
  std::chrono::milliseconds backoff_max{60'000};
};

class SyslogOutput final : public Output {
 public:
  SyslogOutput(Loop& loop, SyslogOptions options, OnDone on_done);
  ~SyslogOutput() override;

  std::string name() const override;
  void deliver(Batch& batch) override;
  std::size_t batch_bytes() const override { return 256u << 10; }
  std::size_t in_flight_bytes_max() const override { return 2u << 20; }
  void hurry() override;
  std::string trouble() const override { return trouble_; }

 private:
  class Connection;
  void send_next();
  void on_sent(const Result<void>& result);

  Loop& loop_;
  SyslogOptions options_;
  OnDone on_done_;
  std::shared_ptr<Connection> connection_;  // shared with work on the pool, which may end after us
  std::shared_ptr<bool> is_alive_;          // told to that work
  std::deque<Batch*> queue_;
  bool is_sending_ = false;
  bool is_hurried_ = false;
  unsigned attempt_ = 0;  // failures in a row
  Timer backoff_;
  std::string trouble_;
};

}  // namespace pillion::logs
