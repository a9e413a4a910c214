// Metrics in the form that all inputs are turned into and all outputs are made from: families of
// series, in the data model of OpenMetrics. A counter's family carries the name of its sample,
// `requests_total`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pillion::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

enum class Kind { Unknown, Gauge, Counter, Histogram, Summary };

// "gauge"; Unknown is "unknown".
std::string_view name_of(Kind kind);

// Of one histogram or summary.
struct Distribution {
  std::vector<double> bounds;  // upper bounds, rising and without +Inf; or quantiles
  std::vector<double> values;  // cumulative counts, one per bound; or the values at the quantiles
  double sum = 0;
  double count = 0;
};

struct Series {
  Labels labels;  // sorted by name once the family is finished
  double value = 0;
  std::unique_ptr<Distribution> distribution;  // of a histogram or summary
  std::int64_t created_ms = 0;                 // since the epoch; 0 = not known
};

struct Family {
  std::string name;
  Kind kind = Kind::Unknown;
  std::string help;
  std::string unit;
  std::vector<Series> series;
};

// What a parser fills: families by name, in the order in which they came.
class Families {
 public:
  // The family of that name; made with this description when there is none. The first description
  // stays.
  Family& family(std::string_view name, Kind kind, std::string_view help = {},
                 std::string_view unit = {});
  void add(std::string_view name, Kind kind, double value, Labels labels = {},
           std::string_view help = {});
  Family* find(std::string_view name);

  const std::vector<Family>& all() const { return families_; }
  std::vector<Family>& all() { return families_; }
  bool is_empty() const { return families_.empty(); }
  std::size_t series_count() const;

 private:
  std::vector<Family> families_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// What an input's configuration adds to the names that its source uses.
struct Naming {
  std::string prefix;
  Labels labels;  // of the input and of the whole adapter
  // Counters without `_total` stay as they are: the names are somebody's contract already.
  bool keeps_counters = false;
  std::string help;  // of families that come without one
};

// What was left out, with one example in words each; empty when nothing was.
struct Refused {
  std::size_t duplicates = 0;  // same name and labels twice
  std::size_t conflicts = 0;   // two kinds for one name
  std::size_t over_limit = 0;  // series beyond the limit
  std::string example;
  std::size_t total() const { return duplicates + conflicts + over_limit; }
};

// Makes names and labels legal, adds prefix and labels, gives counters `_total` and families their
// unit, sorts labels, leaves out duplicates and what is beyond `series_max`. A label of the source
// that is called like one of ours becomes exported_NAME, as in Prometheus.
Families finish(Families families, const Naming& naming, std::size_t series_max, Refused& refused);

// Labels as one text, for comparing.
std::string series_key(const Labels& labels);

// [a-zA-Z_:][a-zA-Z0-9_:]*: every other byte becomes `_`, runs of them one.
std::string metric_name(std::string_view text);
// [a-zA-Z_][a-zA-Z0-9_]*, not beginning with "__".
std::string label_name(std::string_view text);
// Well-formed UTF-8: other bytes become U+FFFD.
std::string clean_text(std::string_view text);
// "heapMemoryUsage" and "HeapMemoryUsage" become heap_memory_usage; "GCTime" gc_time.
std::string snake_case(std::string_view text);

}  // namespace pillion::metrics
