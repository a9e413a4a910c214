// Prometheus expositions of several sources merged into one: text format 0.0.4 in and out
// (https://prometheus.io/docs/instrumenting/exposition_formats/), with labels put before each
// sample's own. What a scraper would refuse is refused here, source by source, so that one broken
// source cannot spoil the answer of all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "runtime/metrics.h"
#include "runtime/result.h"

namespace pillion {

class MergedExposition {
 public:
  static constexpr std::size_t kSamplesMax = 50'000;  // of one source
  static constexpr std::size_t kLineBytesMax = 64 << 10;

  struct Added {
    std::size_t samples = 0;
    // Left out: of a type that another source contradicts, or there already with the same labels.
    std::size_t dropped = 0;
  };

  // Takes all samples of `text` or, on an error, none; the error names the line. A label of the
  // source that is called like one of `labels` becomes exported_NAME, as in Prometheus. OpenMetrics
  // counters and exemplars are understood as far as format 0.0.4 can say the same.
  Result<Added> add(std::string_view text, const Labels& labels);

  // Families in the order in which they came, each once.
  std::string render() const;

 private:
  struct Family {
    std::string name;
    std::string type;  // empty = untyped
    std::string help;  // as it came, escaped
    std::string samples;
  };
  class Source;

  Family& family(const std::string& name);

  std::vector<Family> families_;
  std::map<std::string, std::size_t, std::less<>> index_;  // by name
  std::unordered_set<std::string> series_;                 // name and labels of every sample
};

// Whether the bytes are well-formed UTF-8 (RFC 3629) without NUL.
bool is_utf8_text(std::string_view text);

}  // namespace pillion
