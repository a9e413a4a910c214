#include "adapters/metrics/statsd/quantile_sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace pillion::metrics {
namespace {

constexpr double kError = 0.01;
const double kGamma = (1 + kError) / (1 - kError);
const double kLogGamma = std::log(kGamma);
constexpr double kZero = 1e-12;

std::int32_t index_of(double size) {
  return static_cast<std::int32_t>(std::ceil(std::log(size) / kLogGamma));
}

// The value that is within the error of everything in the bucket.
double value_of(std::int32_t index) { return 2 * std::pow(kGamma, index) / (kGamma + 1); }

}  // namespace

void QuantileSketch::Buckets::add(std::int32_t index, std::uint32_t weight) {
  if (counts.empty()) first = index;
  if (index < first) {
    const auto missing = static_cast<std::size_t>(first - index);
    const std::size_t room = kBucketsMax - std::min(counts.size(), kBucketsMax);
    const std::size_t grown = std::min(missing, room);
    counts.insert(counts.begin(), grown, 0);
    first -= static_cast<std::int32_t>(grown);
    index = std::max(index, first);
  }
  auto at = static_cast<std::size_t>(index - first);
  if (at >= kBucketsMax) {  // the lowest ones become one
    const std::size_t surplus = at + 1 - kBucketsMax;
    std::uint32_t sum = 0;
    const std::size_t merged = std::min(surplus + 1, counts.size());
    for (std::size_t i = 0; i < merged; ++i) sum += counts[i];
    counts.erase(counts.begin(),
                 counts.begin() + static_cast<std::ptrdiff_t>(std::min(surplus, counts.size())));
    if (counts.empty()) counts.push_back(0);
    counts.front() = sum;
    first += static_cast<std::int32_t>(surplus);
    at = kBucketsMax - 1;
  }
  if (at >= counts.size()) counts.resize(at + 1);
  counts[at] += weight;
}

void QuantileSketch::Part::clear() {
  positive.counts.clear();
  negative.counts.clear();
  zeros = 0;
}

void QuantileSketch::turn(std::int64_t now, std::int64_t window) {
  const std::int64_t length = std::max<std::int64_t>(window / static_cast<std::int64_t>(kParts), 1);
  const std::int64_t wanted = now / length;
  if (wanted - turned_ >= static_cast<std::int64_t>(kParts)) {
    for (Part& part : parts_) part.clear();
  } else {
    for (std::int64_t part = turned_ + 1; part <= wanted; ++part) {
      parts_[static_cast<std::size_t>(part) % kParts].clear();
    }
  }
  turned_ = std::max(turned_, wanted);
}

void QuantileSketch::add(double value, std::uint64_t weight, std::int64_t now,
                         std::int64_t window) {
  turn(now, window);
  Part& part = parts_[static_cast<std::size_t>(turned_) % kParts];
  const auto count = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(weight, std::numeric_limits<std::uint32_t>::max()));
  if (std::abs(value) < kZero) {
    part.zeros += count;
  } else if (value > 0) {
    part.positive.add(index_of(value), count);
  } else {
    part.negative.add(index_of(-value), count);
  }
}

std::vector<double> QuantileSketch::quantiles(const std::vector<double>& wanted, std::int64_t now,
                                              std::int64_t window) {
  turn(now, window);
  std::map<double, std::uint64_t> counts;  // by value
  std::uint64_t total = 0;
  const auto gather = [&](const Buckets& buckets, double sign) {
    for (std::size_t i = 0; i < buckets.counts.size(); ++i) {
      if (buckets.counts[i] == 0) continue;
      counts[sign * value_of(buckets.first + static_cast<std::int32_t>(i))] += buckets.counts[i];
      total += buckets.counts[i];
    }
  };
  for (const Part& part : parts_) {
    gather(part.positive, 1);
    gather(part.negative, -1);
    if (part.zeros > 0) counts[0] += part.zeros;
    total += part.zeros;
  }
  std::vector<double> found(wanted.size(), std::numeric_limits<double>::quiet_NaN());
  if (total == 0) return found;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double rank = wanted[i] * static_cast<double>(total - 1);
    std::uint64_t passed = 0;
    for (const auto& [value, count] : counts) {
      passed += count;
      found[i] = value;
      if (static_cast<double>(passed) > rank) break;
    }
  }
  return found;
}

}  // namespace pillion::metrics
