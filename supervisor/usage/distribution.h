// How often a quantity had which size: counts in buckets that grow by a tenth, so that a month of
// samples takes a few hundred bytes and a quantile is off by at most 5 %. What is old weighs less:
// at kSamplesMax samples all counts are halved.
#pragma once

#include <cstdint>
#include <map>

namespace pillion::supervisor::usage {

class Distribution {
 public:
  // A week of one sample every ten seconds.
  static constexpr std::uint64_t kSamplesMax = 60'480;
  // Values beyond count as this one.
  static constexpr double kValueMax = 1e18;

  void add(double value);
  // The value that a share `q` (0–1) of the samples does not exceed; 0 without samples.
  double quantile(double q) const;
  double max() const { return max_; }  // ever
  std::uint64_t count() const { return count_; }

  // For keeping: bucket number → count.
  const std::map<int, std::uint64_t>& buckets() const { return buckets_; }
  static Distribution from(std::map<int, std::uint64_t> buckets, double max);

  bool operator==(const Distribution&) const = default;

 private:
  std::map<int, std::uint64_t> buckets_;
  std::uint64_t count_ = 0;
  double max_ = 0;
};

}  // namespace pillion::supervisor::usage
