// The access log: one line per exchange, and per TCP connection. A worker formats into a buffer of
// its own; a thread of the log writes to the file, so that a slow disk never blocks a request. What
// does not fit is dropped and counted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "config/proxy.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::proxy {

// The facts of one line; every view must live until the call that formats it returns.
struct AccessRecord {
  std::int64_t wall_ns = 0;  // when the exchange began
  std::string_view direction;
  std::string_view method;  // empty for a TCP connection
  std::string_view path;
  std::string_view authority;
  int status = 0;  // 0: nothing was answered
  std::string_view protocol;
  std::uint64_t bytes_received = 0;  // body bytes from downstream
  std::uint64_t bytes_sent = 0;      // body bytes to downstream
  std::int64_t duration_ns = 0;
  std::int64_t upstream_ns = 0;  // from the request's first byte upstream to the response's last
  std::string_view upstream;     // the configured upstream's name
  std::string_view upstream_address;
  std::string_view downstream_address;
  std::string_view request_id;
  std::string_view details;      // response_code_details
  std::string_view flags;        // UF, UC, UT, UO, NR, DC …; empty when all is well
  std::string_view tls_version;  // of the client's side; empty for plain text
  std::string_view peer_uri;     // the client's verified SPIFFE id
  unsigned attempts = 0;
  bool is_connection_reused = false;
};

// Formats lines; keeps the text of the current second.
class AccessFormatter {
 public:
  explicit AccessFormatter(config::AccessLogFormat format) : format_(format) {}
  void append(std::string& out, const AccessRecord& record);

 private:
  std::string_view second_of(std::int64_t wall_ns);
  std::string_view write_json(char* out, const AccessRecord& record);
  std::string_view write_text(char* out, const AccessRecord& record);

  config::AccessLogFormat format_;
  std::int64_t second_ = -1;
  char second_text_[20];  // "2024-01-15T14:32:01"
};

class AccessLog {
 public:
  // Opens the file and starts the writing thread.
  static Result<std::unique_ptr<AccessLog>> create(const config::AccessLog& config);
  ~AccessLog();  // writes what is left

  // Takes the bytes of a worker's buffer; gives back an empty one with capacity. Any thread.
  void submit(std::string& lines);
  std::uint64_t lines_dropped() const { return dropped_.load(std::memory_order_relaxed); }
  std::size_t buffer_bytes_max() const { return buffer_bytes_max_; }

 private:
  AccessLog(Fd file, std::size_t buffer_bytes_max);
  void run();

  Fd file_;
  const std::size_t buffer_bytes_max_;
  std::atomic<std::uint64_t> dropped_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::string> full_;
  std::vector<std::string> empty_;
  std::size_t queued_bytes_ = 0;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace pillion::proxy
