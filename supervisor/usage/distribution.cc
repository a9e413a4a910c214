#include "supervisor/usage/distribution.h"

#include <algorithm>
#include <cmath>

namespace pillion::supervisor::usage {
namespace {

constexpr double kGrowth = 1.1;
constexpr int kZeroBucket = -1;  // values below 1
constexpr int kBucketMax = 435;  // holds kValueMax

int bucket_of(double value) {
  if (!(value >= 1)) return kZeroBucket;
  return static_cast<int>(std::log(std::min(value, Distribution::kValueMax)) / std::log(kGrowth));
}

double value_of(int bucket) { return bucket == kZeroBucket ? 0 : std::pow(kGrowth, bucket + 0.5); }

}  // namespace

void Distribution::add(double value) {
  if (count_ >= kSamplesMax) {
    count_ = 0;
    for (auto& [bucket, count] : buckets_) count_ += count /= 2;
    std::erase_if(buckets_, [](const auto& each) { return each.second == 0; });
  }
  ++buckets_[bucket_of(value)];
  ++count_;
  if (value > max_) max_ = std::min(value, kValueMax);
}

double Distribution::quantile(double q) const {
  const double rank = q * static_cast<double>(count_);
  std::uint64_t seen = 0;
  for (const auto& [bucket, count] : buckets_) {
    seen += count;
    if (static_cast<double>(seen) >= rank && seen > 0) return std::min(value_of(bucket), max_);
  }
  return 0;
}

Distribution Distribution::from(std::map<int, std::uint64_t> buckets, double max) {
  Distribution distribution;
  std::erase_if(buckets, [](const auto& each) {
    return each.first < kZeroBucket || each.first > kBucketMax || each.second == 0 ||
           each.second > kSamplesMax;
  });
  for (const auto& [bucket, count] : buckets) distribution.count_ += count;
  distribution.buckets_ = std::move(buckets);
  distribution.max_ = std::isfinite(max) ? std::clamp(max, 0.0, kValueMax) : 0;
  return distribution;
}

}  // namespace pillion::supervisor::usage
