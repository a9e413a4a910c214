#include "adapters/metrics/formats/exposition_parser.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "adapters/metrics/model/name_glob.h"
#include "adapters/metrics/model/number_text.h"
#include "runtime/exposition_line.h"
#include "runtime/take_line.h"

namespace pillion::metrics {
namespace {

constexpr std::size_t kShown = 60;

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char next = text[++i];
    if (next == 'n') {
      out += '\n';
    } else if (next == '\\' || next == '"') {
      out += next;
    } else {
      out += '\\';
      out += next;
    }
  }
  return out;
}

Kind kind_of(std::string_view type) {
  if (type == "counter") return Kind::Counter;
  if (type == "gauge" || type == "info" || type == "stateset") return Kind::Gauge;
  if (type == "histogram") return Kind::Histogram;
  if (type == "summary") return Kind::Summary;
  return Kind::Unknown;
}

struct Description {
  Kind kind = Kind::Unknown;
  std::string help;
  std::string unit;
};

class Parser {
 public:
  explicit Parser(const config::PrometheusInput& config) : config_(config) {}

  Result<Families> parse(std::string_view text) {
    for (std::size_t number = 1; !text.empty(); ++number) {
      if (const auto problem = read_line(take_line(text))) {
        return fail(fmt::format("line {}: {}", number, *problem));
      }
    }
    settle();
    return std::move(families_);
  }

 private:
  using LineKind = ExpositionLine::Kind;

  std::optional<std::string> read_line(std::string_view text) {
    if (const auto problem = read_exposition_line(text, line_)) {
      if (!line_.name.empty()) return fmt::format("{}: {}", line_.name, *problem);
      return fmt::format("\"{}\" {}", text.substr(0, kShown), *problem);
    }
    if (line_.kind == LineKind::Sample) return read_sample();
    if (line_.kind != LineKind::Nothing) describe();
    return std::nullopt;
  }

  void describe() {
    Description& description = descriptions_[std::string(line_.name)];
    if (line_.kind == LineKind::Help) {
      description.help = unescaped(line_.text);
    } else if (line_.kind == LineKind::Unit) {
      description.unit = std::string(line_.text);
    } else {
      description.kind = kind_of(line_.text);
    }
  }

  std::optional<std::string> read_sample() {
    const auto value = parse_number(line_.value);
    if (!value) {
      return fmt::format("{}: \"{}\" is no number", line_.name, line_.value.substr(0, kShown));
    }
    Labels labels;
    for (const auto& label : line_.labels) labels.emplace_back(label.name, unescaped(label.value));
    take(line_.name, std::move(labels), *value);
    return std::nullopt;
  }

  const Description* find(std::string_view name) const {
    const auto found = descriptions_.find(name);
    return found == descriptions_.end() ? nullptr : &found->second;
  }

  bool is_wanted(std::string_view name) const {
    const auto fits = [&](const std::string& glob) { return matches_whole_glob(glob, name); };
    const bool is_kept =
        config_.keep.empty() || std::any_of(config_.keep.begin(), config_.keep.end(), fits);
    return is_kept && std::none_of(config_.drop.begin(), config_.drop.end(), fits);
  }

  void take(std::string_view name, Labels labels, double value) {
    for (const std::string_view suffix : {"_bucket", "_sum", "_count", "_created"}) {
      if (!name.ends_with(suffix)) continue;
      const std::string_view stem = name.substr(0, name.size() - suffix.size());
      const Description* const whole = find(stem);
      if (whole == nullptr || find(name) != nullptr) continue;
      if (whole->kind == Kind::Histogram || whole->kind == Kind::Summary) {
        if (is_wanted(stem)) take_part(stem, *whole, suffix, std::move(labels), value);
        return;
      }
      if (suffix == "_created" && whole->kind == Kind::Counter) return;
    }
    const Description* described = find(name);
    if (described != nullptr && described->kind == Kind::Summary) {
      if (is_wanted(name)) take_part(name, *described, "", std::move(labels), value);
      return;
    }
    if (described == nullptr && name.ends_with("_total")) {  // OpenMetrics
      const Description* const base = find(name.substr(0, name.size() - 6));
      if (base != nullptr && base->kind == Kind::Counter) described = base;
    }
    if (described == nullptr && name.ends_with("_info")) {
      const Description* const base = find(name.substr(0, name.size() - 5));
      if (base != nullptr && base->kind == Kind::Gauge) described = base;
    }
    if (!is_wanted(name)) return;
    const Description none;
    const Description& facts = described != nullptr ? *described : none;
    Family& family = families_.family(name, facts.kind, facts.help, facts.unit);
    family.series.push_back({std::move(labels), value, nullptr, 0});
  }

  // A piece of a histogram or summary.
  void take_part(std::string_view stem, const Description& facts, std::string_view suffix,
                 Labels labels, double value) {
    const std::string_view bound_name = facts.kind == Kind::Histogram ? "le" : "quantile";
    std::optional<double> bound;
    std::erase_if(labels, [&](const auto& label) {
      if (label.first != bound_name) return false;
      bound = parse_number(label.second);
      return true;
    });
    std::sort(labels.begin(), labels.end());
    Family& family = families_.family(stem, facts.kind, facts.help, facts.unit);
    const std::string key = std::string(stem) + '\xff' + series_key(labels);
    const auto [at, is_new] = parts_.try_emplace(key, family.series.size());
    if (is_new) {
      family.series.push_back({std::move(labels), 0, std::make_unique<Distribution>(), 0});
    }
    Series& series = family.series[at->second];
    Distribution& whole = *series.distribution;
    if (suffix == "_sum") {
      whole.sum = value;
    } else if (suffix == "_count") {
      whole.count = value;
    } else if (suffix == "_created") {
      series.created_ms = value > 0 && value < 9e15 ? static_cast<std::int64_t>(value * 1000) : 0;
    } else if (bound && *bound == std::numeric_limits<double>::infinity()) {
      whole.count = value;
    } else if (bound) {
      whole.bounds.push_back(*bound);
      whole.values.push_back(value);
    }
  }

  // Bounds rise, each once.
  void settle() {
    for (Family& family : families_.all()) {
      for (Series& series : family.series) {
        if (!series.distribution) continue;
        Distribution& whole = *series.distribution;
        std::map<double, double> sorted;
        for (std::size_t i = 0; i < whole.bounds.size(); ++i) {
          sorted.emplace(whole.bounds[i], whole.values[i]);
        }
        whole.bounds.clear();
        whole.values.clear();
        for (const auto& [bound, value] : sorted) {
          whole.bounds.push_back(bound);
          whole.values.push_back(value);
        }
      }
    }
  }

  const config::PrometheusInput& config_;
  ExpositionLine line_;
  std::map<std::string, Description, std::less<>> descriptions_;
  std::map<std::string, std::size_t> parts_;  // series of a family by its name and labels
  Families families_;
};

}  // namespace

Result<Families> parse_exposition(std::string_view text, const config::PrometheusInput& config) {
  return Parser(config).parse(text);
}

}  // namespace pillion::metrics
