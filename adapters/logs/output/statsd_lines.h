// Statsd lines out of records: which records count, by how much, under which tags. Tags are written
// as DogStatsD does.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/regex_format.h"
#include "config/logs.h"
#include "runtime/result.h"

namespace pillion::logs {

class StatsdLines {
 public:
  // An error names the expression that is wrong.
  static Result<StatsdLines> compile(const std::vector<config::LogMetric>& metrics);

  // Appends a line for every metric that the record counts for.
  void append(std::string_view record, std::string& out);

 private:
  struct Rule {
    config::LogMetric metric;
    std::map<std::string, std::shared_ptr<RegexFormat>, std::less<>> match;
  };
  std::vector<Rule> rules_;
};

}  // namespace pillion::logs
