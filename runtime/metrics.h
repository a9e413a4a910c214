// Metrics in the Prometheus data model and text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
//
// A Registry owns families; the references it hands out live as long as it does. Values are relaxed
// atomics, so any thread may write while another renders. A hot path that keeps plain per-worker
// counters registers a collector instead and writes its samples when asked.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pillion {

// Label names and values in the order in which they are written.
using Labels = std::vector<std::pair<std::string, std::string>>;

enum class MetricType { Counter, Gauge, Histogram };

class Counter {
 public:
  void add(std::uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double value) { value_.fetch_add(value, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// Cumulative buckets with fixed upper bounds (`le`), plus sum and count.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);
  const std::vector<double>& bounds() const { return bounds_; }
  std::uint64_t bucket_count(std::size_t index) const;  // not cumulative; last is +Inf
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

// Bounds in seconds from 0.5 ms to 10 s, as Prometheus clients use for latencies.
std::vector<double> latency_bounds_seconds();

// Writes families and samples as text; every family is begun once, samples follow it.
class MetricsWriter {
 public:
  explicit MetricsWriter(std::string& out) : out_(out) {}
  void begin_family(std::string_view name, MetricType type, std::string_view help);
  void sample(const Labels& labels, double value);
  void sample(const Labels& labels, std::uint64_t value);
  // `counts` has one entry more than `bounds`, the last for +Inf; not cumulative.
  void histogram(const Labels& labels, const std::vector<double>& bounds,
                 const std::vector<std::uint64_t>& counts, double sum);

 private:
  void write_sample(std::string_view suffix, const Labels& labels, std::string_view value);

  std::string& out_;
  std::string family_;
};

class Registry {
 public:
  // Returns the same object for the same name and labels. Asserts when a name is used with two
  // types or is not [a-zA-Z_:][a-zA-Z0-9_:]*.
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& histogram(const std::string& name, const std::string& help,
                       const std::vector<double>& bounds, const Labels& labels = {});

  // Called at every render(), from the rendering thread.
  void add_collector(std::function<void(MetricsWriter&)> collect);

  std::string render() const;

 private:
  struct Family {
    MetricType type;
    std::string help;
    std::vector<std::pair<Labels, std::unique_ptr<Counter>>> counters;
    std::vector<std::pair<Labels, std::unique_ptr<Gauge>>> gauges;
    std::vector<std::pair<Labels, std::unique_ptr<Histogram>>> histograms;
  };
  Family& family(const std::string& name, const std::string& help, MetricType type);

  mutable std::mutex mutex_;
  std::map<std::string, Family> families_;
  std::vector<std::function<void(MetricsWriter&)>> collectors_;
};

}  // namespace pillion
