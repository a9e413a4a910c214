#include "runtime/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime/result.h"

namespace pillion {
namespace {

bool is_metric_name(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
  };
  if (name.empty() || !is_letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

std::string_view type_name(MetricType type) {
  switch (type) {
    case MetricType::Counter: return "counter";
    case MetricType::Gauge: return "gauge";
    case MetricType::Histogram: break;
  }
  return "histogram";
}

std::string format_value(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

void append_escaped(std::string& out, std::string_view text, bool escapes_quotes) {
  for (const char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && escapes_quotes)
      out += "\\\"";
    else
      out += c;
  }
}

template<class Metric, class... Args>
Metric& find_or_add(std::vector<std::pair<Labels, std::unique_ptr<Metric>>>& metrics,
                    const Labels& labels, const Args&... args) {
  for (auto& [existing, metric] : metrics) {
    if (existing == labels) return *metric;
  }
  return *metrics.emplace_back(labels, std::make_unique<Metric>(args...)).second;
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)),
      counts_(std::make_unique<std::atomic<std::uint64_t>[]>(bounds_.size() + 1)) {
  PILLION_ASSERT(std::is_sorted(bounds_.begin(), bounds_.end()));
}

void Histogram::observe(double value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::uint64_t Histogram::bucket_count(std::size_t index) const {
  return counts_[index].load(std::memory_order_relaxed);
}

std::vector<double> latency_bounds_seconds() {
  return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
}

void MetricsWriter::begin_family(std::string_view name, MetricType type, std::string_view help) {
  PILLION_ASSERT(is_metric_name(name));
  family_ = name;
  out_ += fmt::format("# HELP {} ", name);
  append_escaped(out_, help, false);
  out_ += fmt::format("\n# TYPE {} {}\n", name, type_name(type));
}

void MetricsWriter::write_sample(std::string_view suffix, const Labels& labels,
                                 std::string_view value) {
  out_ += family_;
  out_ += suffix;
  char separator = '{';
  for (const auto& [name, text] : labels) {
    out_ += separator;
    out_ += name;
    out_ += "=\"";
    append_escaped(out_, text, true);
    out_ += '"';
    separator = ',';
  }
  if (!labels.empty()) out_ += '}';
  out_ += ' ';
  out_ += value;
  out_ += '\n';
}

void MetricsWriter::sample(const Labels& labels, double value) {
  write_sample("", labels, format_value(value));
}
void MetricsWriter::sample(const Labels& labels, std::uint64_t value) {
  write_sample("", labels, std::to_string(value));
}

void MetricsWriter::histogram(const Labels& labels, const std::vector<double>& bounds,
                              const std::vector<std::uint64_t>& counts, double sum) {
  PILLION_ASSERT(counts.size() == bounds.size() + 1);
  Labels with_bound = labels;
  with_bound.emplace_back("le", "");
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    cumulative += counts[i];
    with_bound.back().second = i < bounds.size() ? format_value(bounds[i]) : "+Inf";
    write_sample("_bucket", with_bound, std::to_string(cumulative));
  }
  write_sample("_sum", labels, format_value(sum));
  write_sample("_count", labels, std::to_string(cumulative));
}

Registry::Family& Registry::family(const std::string& name, const std::string& help,
                                   MetricType type) {
  PILLION_ASSERT(is_metric_name(name));
  const auto [entry, is_new] = families_.try_emplace(name, Family{type, help, {}, {}, {}});
  PILLION_ASSERT(is_new || entry->second.type == type);
  return entry->second;
}

Counter& Registry::counter(const std::string& name, const std::string& help, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  return find_or_add(family(name, help, MetricType::Counter).counters, labels);
}
Gauge& Registry::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  return find_or_add(family(name, help, MetricType::Gauge).gauges, labels);
}
Histogram& Registry::histogram(const std::string& name, const std::string& help,
                               const std::vector<double>& bounds, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  return find_or_add(family(name, help, MetricType::Histogram).histograms, labels, bounds);
}

void Registry::add_collector(std::function<void(MetricsWriter&)> collect) {
  const std::lock_guard lock(mutex_);
  collectors_.push_back(std::move(collect));
}

std::string Registry::render() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  MetricsWriter writer(out);
  for (const auto& [name, family] : families_) {
    writer.begin_family(name, family.type, family.help);
    for (const auto& [labels, counter] : family.counters) writer.sample(labels, counter->value());
    for (const auto& [labels, gauge] : family.gauges) writer.sample(labels, gauge->value());
    for (const auto& [labels, histogram] : family.histograms) {
      std::vector<std::uint64_t> counts;
      for (std::size_t i = 0; i <= histogram->bounds().size(); ++i) {
        counts.push_back(histogram->bucket_count(i));
      }
      writer.histogram(labels, histogram->bounds(), counts, histogram->sum());
    }
  }
  for (const auto& collect : collectors_) collect(writer);
  return out;
}

}  // namespace pillion
