// Counts what a peer can do cheaply and we pay for, and says when it is enough. nghttp2 1.52 bounds
// resets by the peer, CONTINUATION, acknowledgements and SETTINGS entries itself; the rest of the
// known attacks on HTTP/2 is here. Pure: time is an argument.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace pillion::proxy {

// `burst` at once, `per_second` in the long run.
class TokenBucket {
 public:
  TokenBucket(double burst, double per_second)
      : tokens_(burst), burst_(burst), per_second_(per_second) {}
  bool take(std::int64_t now_ms);

 private:
  double tokens_;
  double burst_;
  double per_second_;
  std::int64_t last_ms_ = 0;
};

class Http2Guard {
 public:
  // A HEADERS frame of the client. False on a stream below the highest that it never opened.
  bool on_headers_id(std::int32_t id);

  // Each returns false when the limit is passed; reason() then tells which.
  bool on_reset_sent(std::int64_t now_ms);     // MadeYouReset, CVE-2025-8671
  bool on_control_frame(std::int64_t now_ms);  // PING, SETTINGS
  bool on_data_frame(std::size_t payload, bool is_end);
  bool on_empty_headers();  // HEADERS without a field
  bool on_priority();
  bool on_window_update();
  bool on_bytes(std::size_t bytes);  // of any kind, received

  void on_stream() { ++streams_; }
  void on_payload(std::size_t bytes) { payload_ += bytes; }
  void on_data_sent() { ++data_sent_; }
  std::string_view reason() const { return reason_; }

 private:
  struct SkippedIds {
    std::int32_t first = 0, last = 0;
  };

  bool refuse(std::string_view reason);

  std::int32_t highest_id_ = -1;
  std::vector<SkippedIds> skipped_;  // the latest; clients of good will skip none
  TokenBucket resets_{200, 20};
  TokenBucket controls_{1000, 100};
  std::uint64_t streams_ = 0;
  std::uint64_t empty_in_a_row_ = 0;
  std::uint64_t priorities_ = 0;
  std::uint64_t window_updates_ = 0;
  std::uint64_t data_sent_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t payload_ = 0;
  std::string_view reason_;
};

}  // namespace pillion::proxy
