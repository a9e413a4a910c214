#include "adapters/metrics/formats/exposition_parser.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "adapters/metrics/model/name_glob.h"
#include "adapters/metrics/model/number_text.h"

namespace pillion::metrics {
namespace {

constexpr std::size_t kShown = 60;

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == ':';
}

void skip_blanks(std::string_view& text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
}

std::string_view take_word(std::string_view& text) {
  skip_blanks(text);
  const auto end = std::min(text.find_first_of(" \t"), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

std::string_view take_name(std::string_view& text) {
  std::size_t size = 0;
  while (size < text.size() && is_name_byte(text[size])) ++size;
  const std::string_view name = text.substr(0, size);
  text.remove_prefix(size);
  return name;
}

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
  bool has_kind = false;
  std::string help;
  std::string unit;
};

class Parser {
 public:
  explicit Parser(const config::PrometheusInput& config) : config_(config) {}

  Result<Families> parse(std::string_view text) {
    for (std::size_t number = 1; !text.empty(); ++number) {
      const auto end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      skip_blanks(line);
      if (line.empty()) continue;
      if (line.front() == '#') {
        describe(line.substr(1));
      } else if (const auto problem = read_sample(line)) {
        return fail(fmt::format("line {}: {}", number, *problem));
      }
    }
    settle();
    return std::move(families_);
  }

 private:
  void describe(std::string_view line) {
    const std::string_view word = take_word(line);
    if (word != "HELP" && word != "TYPE" && word != "UNIT") return;
    skip_blanks(line);
    Description& description = descriptions_[std::string(take_name(line))];
    skip_blanks(line);
    if (word == "HELP") {
      description.help = unescaped(line);
    } else if (word == "UNIT") {
      description.unit = std::string(take_word(line));
    } else {
      description.kind = kind_of(take_word(line));
      description.has_kind = true;
    }
  }

  std::optional<std::string> read_sample(std::string_view line) {
    const std::string_view name = take_name(line);
    if (name.empty()) {
      return fmt::format("\"{}\" does not begin with a name", line.substr(0, kShown));
    }
    Labels labels;
    skip_blanks(line);
    if (line.starts_with('{')) {
      line.remove_prefix(1);
      if (const auto problem = read_labels(line, labels))
        return fmt::format("{}: {}", name, *problem);
    }
    const std::string_view word = take_word(line);
    const auto value = parse_number(word);
    if (!value) return fmt::format("{}: \"{}\" is no number", name, word.substr(0, kShown));
    take(name, std::move(labels), *value);
    return std::nullopt;
  }

  std::optional<std::string> read_labels(std::string_view& line, Labels& labels) {
    for (;;) {
      skip_blanks(line);
      if (line.starts_with('}')) {
        line.remove_prefix(1);
        return std::nullopt;
      }
      const std::string_view name = take_name(line);
      skip_blanks(line);
      if (name.empty() || !line.starts_with('=')) return "a label has no name or value";
      line.remove_prefix(1);
      skip_blanks(line);
      if (!line.starts_with('"')) return fmt::format("the value of label {} is not quoted", name);
      std::size_t end = 1;
      while (end < line.size() && line[end] != '"') end += line[end] == '\\' ? 2 : 1;
      if (end >= line.size()) return fmt::format("the value of label {} does not end", name);
      labels.emplace_back(name, unescaped(line.substr(1, end - 1)));
      line.remove_prefix(end + 1);
      skip_blanks(line);
      if (line.starts_with(',')) {
        line.remove_prefix(1);
      } else if (!line.starts_with('}')) {
        return "the labels do not end";
      }
    }
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
  std::map<std::string, Description, std::less<>> descriptions_;
  std::map<std::string, std::size_t> parts_;  // series of a family by its name and labels
  Families families_;
};

}  // namespace

Result<Families> parse_exposition(std::string_view text, const config::PrometheusInput& config) {
  return Parser(config).parse(text);
}

}  // namespace pillion::metrics
