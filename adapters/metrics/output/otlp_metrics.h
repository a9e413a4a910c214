// Metrics as an OTLP ExportMetricsServiceRequest
// (https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/metrics/v1/metrics.proto),
// in protobuf or JSON. Counters and histograms are cumulative.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "adapters/metrics/model/exposition_text.h"

namespace pillion::metrics {

// Since when each cumulative series counts: since we saw it first, or since the last push before it
// went back (its source began anew).
class StartTimes {
 public:
  // Nanoseconds since the epoch. `value` is what the series has counted to, `created_ms` when it
  // began, if that is known.
  std::uint64_t start_of(const std::string& family, const Series& series, double value,
                         std::uint64_t now);
  // Forgets series that were not asked for since the last call.
  void sweep();

 private:
  struct Seen {
    std::uint64_t start = 0;
    std::uint64_t last = 0;
    double value = 0;
    bool is_used = false;
  };
  std::unordered_map<std::string, Seen> series_;
};

struct OtlpRequest {
  std::string body;
  std::size_t points = 0;
};

// `resource` are its attributes; `now` in nanoseconds since the epoch.
OtlpRequest otlp_request(const Merge& merge, const std::map<std::string, std::string>& resource,
                         bool is_protobuf, StartTimes& starts, std::uint64_t now);

}  // namespace pillion::metrics
