// Quantiles of a stream with a relative error of 1 %, over a sliding window: counts in buckets
// whose bounds grow by a constant factor (Masson, Rim, Lee: "DDSketch", VLDB 2019). At most
// kBucketsMax buckets per part of the window; smaller values share the lowest then.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pillion::metrics {

class QuantileSketch {
 public:
  static constexpr std::size_t kBucketsMax = 2048;
  static constexpr std::size_t kParts = 4;  // of the window; the oldest is forgotten as a whole

  // `now` and `window` in milliseconds; `now` never goes back.
  void add(double value, std::uint64_t weight, std::int64_t now, std::int64_t window);
  // NaN for each when the window is empty.
  std::vector<double> quantiles(const std::vector<double>& wanted, std::int64_t now,
                                std::int64_t window);

 private:
  // Counts by index, from `first` on.
  struct Buckets {
    std::int32_t first = 0;
    std::vector<std::uint32_t> counts;
    void add(std::int32_t index, std::uint32_t weight);
  };
  struct Part {
    Buckets positive;
    Buckets negative;  // of the values' sizes
    std::uint64_t zeros = 0;
    void clear();
  };
  void turn(std::int64_t now, std::int64_t window);

  std::array<Part, kParts> parts_;
  std::int64_t turned_ = 0;  // number of the part that is written
};

}  // namespace pillion::metrics
