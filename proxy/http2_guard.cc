#include "proxy/http2_guard.h"

#include <algorithm>

namespace pillion::proxy {
namespace {

// The figures are Envoy's and nginx's, lowered where a sidecar never needs as much.
constexpr std::uint64_t kEmptyInARowMax = 10;
constexpr std::uint64_t kPrioritiesPerStream = 100;
constexpr std::uint64_t kWindowUpdatesFree = 5;
constexpr std::uint64_t kWindowUpdatesPerData = 10;
constexpr std::uint64_t kOverheadBytesFree = 1u << 20;
constexpr std::size_t kSkippedRangesMax = 32;

}  // namespace

bool TokenBucket::take(std::int64_t now_ms) {
  if (last_ms_ != 0) {
    const double added = static_cast<double>(now_ms - last_ms_) * per_second_ / 1000.0;
    tokens_ = std::min(burst_, tokens_ + std::max(added, 0.0));
  }
  last_ms_ = now_ms;
  if (tokens_ < 1.0) return false;
  tokens_ -= 1.0;
  return true;
}

bool Http2Guard::refuse(std::string_view reason) {
  reason_ = reason;
  return false;
}

bool Http2Guard::on_headers_id(std::int32_t id) {
  if (id <= highest_id_) {
    return std::none_of(skipped_.begin(), skipped_.end(), [id](const SkippedIds& range) {
      return range.first <= id && id <= range.last;
    });
  }
  if (id > highest_id_ + 2) {
    if (skipped_.size() == kSkippedRangesMax) skipped_.erase(skipped_.begin());
    skipped_.push_back({highest_id_ + 2, id - 2});
  }
  highest_id_ = id;
  return true;
}

bool Http2Guard::on_reset_sent(std::int64_t now_ms) {
  return resets_.take(now_ms) || refuse("too many streams had to be reset");
}

bool Http2Guard::on_control_frame(std::int64_t now_ms) {
  return controls_.take(now_ms) || refuse("too many PING and SETTINGS frames");
}

bool Http2Guard::on_data_frame(std::size_t payload, bool is_end) {
  payload_ += payload;
  empty_in_a_row_ = payload > 0 || is_end ? 0 : empty_in_a_row_ + 1;
  return empty_in_a_row_ <= kEmptyInARowMax || refuse("too many empty DATA frames");
}

bool Http2Guard::on_empty_headers() {
  return ++empty_in_a_row_ <= kEmptyInARowMax || refuse("too many empty HEADERS frames");
}

bool Http2Guard::on_priority() {
  return ++priorities_ <= kPrioritiesPerStream * (1 + streams_) ||
         refuse("too many PRIORITY frames");
}

bool Http2Guard::on_window_update() {
  const std::uint64_t allowed =
      kWindowUpdatesFree + 2 * (streams_ + kWindowUpdatesPerData * data_sent_);
  return ++window_updates_ <= allowed || refuse("too many WINDOW_UPDATE frames");
}

bool Http2Guard::on_bytes(std::size_t bytes) {
  received_ += bytes;
  return received_ / 8 <= payload_ + kOverheadBytesFree || refuse("too many bytes without content");
}

}  // namespace pillion::proxy
