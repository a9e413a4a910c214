// One line of statsd (https://github.com/statsd/statsd/blob/master/docs/metric_types.md) with what
// DogStatsD adds (https://docs.datadoghq.com/developers/dogstatsd/datagram_shell): sample rate,
// tags, several values, a container id and a timestamp. Allocates nothing.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/metrics.h"

namespace pillion::metrics {

struct StatsdSample {
  std::string_view name;  // as it came: tags of the styles that put them there included
  std::string_view tags;  // behind `|#`
  std::string_view text;  // the value as it came
  config::StatsdType type = config::StatsdType::Counter;
  double value = 0;       // of all types but sets
  double rate = 1;        // 0 < rate <= 1
  bool is_delta = false;  // a gauge with a sign
};

enum class StatsdProblem {
  None,
  Malformed,   // no value, an unknown field
  BadNumber,   // no number, or none that the type may have
  BadType,     // a type that we do not know
  BadRate,     // outside (0, 1]
  TooLong,     // name and tags
  Unsupported  // an event or a service check of DogStatsD
};
constexpr std::size_t kStatsdProblems = 7;
std::string_view name_of(StatsdProblem problem);

constexpr std::size_t kStatsdNameBytesMax = 4096;  // tags included

// Reads lines one after the other. A line may hold several samples.
class StatsdLine {
 public:
  explicit StatsdLine(std::string_view line) : rest_(line) {}

  // False at the end, or with problem() set: the rest of the line is not read then.
  bool next(StatsdSample& sample);
  StatsdProblem problem() const { return problem_; }

 private:
  bool fail(StatsdProblem problem);
  bool begin();
  bool read_group();
  bool read_fields(std::string_view fields);
  bool take_value(StatsdSample& sample);

  std::string_view rest_;    // unread
  std::string_view values_;  // of this group, unread: "1:2:3"
  StatsdSample group_;       // what all values of the group share
  StatsdProblem problem_ = StatsdProblem::None;
  bool has_begun_ = false;
};

using StatsdTags = std::vector<std::pair<std::string, std::string>>;

// The name without tags, and the tags of whatever style: DogStatsD's `|#a:b`, InfluxDB's
// `name,a=b`, Librato's `name#a=b`, Graphite's `name;a=b`, SignalFX's `na[a=b]me`. A tag without a
// value has the value "true".
std::string_view split_name(const StatsdSample& sample, StatsdTags& tags, std::string& buffer);

}  // namespace pillion::metrics
