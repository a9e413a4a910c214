// Families of several sources as one document for a scraper: Prometheus' text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/) or OpenMetrics 1.0.0
// (https://prometheus.io/docs/specs/om/open_metrics_spec/).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "adapters/metrics/model/family.h"

namespace pillion::metrics {

enum class TextFormat { Prometheus, OpenMetrics };

// By the Accept header: OpenMetrics when it is accepted at least as gladly as text/plain.
TextFormat choose_format(std::string_view accept);
std::string_view content_type(TextFormat format);

// Sources put together. Of two that contradict each other the earlier one wins; what is left out is
// counted and described.
class Merge {
 public:
  // `families` are finished; they live as long as this.
  void add(std::string_view source, std::shared_ptr<const Families> families);

  // A family, and those of other sources that are the same one.
  struct Part {
    const Family* family = nullptr;
    std::unordered_set<const Series*> skipped;  // there already
  };
  struct Merged {
    const Family* head = nullptr;
    std::string source;
    std::vector<Part> parts;
  };
  const std::vector<Merged>& families() const { return families_; }

  // "billing: orders_total is a gauge here, a counter in app", one per family.
  const std::vector<std::string>& conflicts() const { return conflicts_; }
  std::size_t series_left_out() const { return left_out_; }

  std::string render(TextFormat format, bool has_created) const;

 private:
  void add_family(std::string_view source, const Family& family);
  void leave_out(std::string_view source, const Family& family, const std::string& why);

  std::vector<std::shared_ptr<const Families>> held_;
  std::vector<Merged> families_;
  std::unordered_map<std::string, std::size_t> index_;    // by name
  std::unordered_map<std::string, std::size_t> samples_;  // every sample's name: whose it is
  std::vector<std::string> conflicts_;
  std::size_t left_out_ = 0;
};

}  // namespace pillion::metrics
