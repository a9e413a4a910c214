// Which records an output wants: by level and by what fields say; a sample of them; so many a
// second; none twice in a while. Records that are filtered out count as neither read nor dropped.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapters/logs/encode/regex_format.h"

namespace pillion::logs {

struct RecordFilterOptions {
  std::string min_level =
      {};  // as records spell levels; empty = any. A record without level passes.
  // All of `match` must match the field of that name, none of `exclude` may.
  std::map<std::string, std::shared_ptr<RegexFormat>> match = {};
  std::map<std::string, std::shared_ptr<RegexFormat>> exclude = {};
  double sample = 1;             // share of records, chosen by what they say
  std::uint32_t rate_limit = 0;  // records a second, with as many at once; 0 = no limit
  // The same again within this time is left out, whatever its time; zero = never.
  std::chrono::nanoseconds deduplicate{0};

  bool is_empty() const {
    return min_level.empty() && match.empty() && exclude.empty() && sample >= 1 &&
           rate_limit == 0 && deduplicate.count() == 0;
  }
};

class RecordFilter {
 public:
  explicit RecordFilter(RecordFilterOptions options);

  // `record` as an Encoder writes it; `now` is when it was read, in nanoseconds since 1970.
  bool passes(std::string_view record, std::int64_t now);

 private:
  bool is_wanted(std::string_view object);
  bool is_new(std::uint64_t identity, std::int64_t now);
  bool has_token(std::int64_t now);

  RecordFilterOptions options_;
  int severity_min_ = 0;
  std::vector<bool> has_matched_;  // per entry of options_.match, of the record at hand
  std::unordered_map<std::uint64_t, std::int64_t> seen_;  // identity to when it was let through
  double tokens_;
  std::int64_t filled_at_ = 0;
};

// 1 to 24 as in OpenTelemetry's table, 0 for an unknown level (without quotes).
int severity_number(std::string_view level);

}  // namespace pillion::logs
