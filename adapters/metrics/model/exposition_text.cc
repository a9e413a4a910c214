#include "adapters/metrics/model/exposition_text.h"

#include <algorithm>

#include "adapters/metrics/model/number_text.h"

namespace pillion::metrics {
namespace {

constexpr std::size_t kConflictsShown = 20;

void append_escaped(std::string& out, std::string_view text, bool has_quotes) {
  for (const char c : text) {
    if (c == '\\' || (c == '"' && has_quotes)) out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

// The names of the samples that a family writes, in one format or the other.
std::vector<std::string> sample_names(const Family& family) {
  switch (family.kind) {
    case Kind::Histogram:
      return {family.name, family.name + "_bucket", family.name + "_sum", family.name + "_count"};
    case Kind::Summary: return {family.name, family.name + "_sum", family.name + "_count"};
    default: return {family.name};
  }
}

class Writer {
 public:
  Writer(std::string& out, TextFormat format, bool has_created)
      : out_(out), is_open_(format == TextFormat::OpenMetrics), has_created_(has_created) {}

  // `is_base_taken`: another family has a counter's name without "_total".
  void write(const Merge::Merged& merged, bool is_base_taken) {
    const Family& head = *merged.head;
    begin(head, is_base_taken);
    for (const Merge::Part& part : merged.parts) {
      for (const Series& series : part.family->series) {
        if (!part.skipped.contains(&series)) write_series(head, series);
      }
    }
  }

 private:
  void begin(const Family& head, bool is_base_taken) {
    std::string_view kind = name_of(head.kind);
    std::string_view name = head.name;
    if (!is_open_ && head.kind == Kind::Unknown) kind = "untyped";
    if (is_open_ && head.kind == Kind::Counter) {
      if (name.ends_with("_total") && !is_base_taken) {
        name.remove_suffix(6);
      } else {
        kind = "unknown";
      }
    }
    can_have_created_ = kind == "counter" || kind == "histogram" || kind == "summary";
    base_ = name;
    if (!head.help.empty()) {
      out_ += "# HELP ";
      out_ += name;
      out_ += ' ';
      append_escaped(out_, head.help, is_open_);
      out_ += '\n';
    }
    out_ += "# TYPE ";
    out_ += name;
    out_ += ' ';
    out_ += kind;
    out_ += '\n';
    if (is_open_ && !head.unit.empty() && name.ends_with("_" + head.unit)) {
      out_ += "# UNIT ";
      out_ += name;
      out_ += ' ';
      out_ += head.unit;
      out_ += '\n';
    }
  }

  void write_series(const Family& head, const Series& series) {
    labels_.clear();
    for (const auto& [name, value] : series.labels) {
      if (!labels_.empty()) labels_ += ',';
      labels_ += name;
      labels_ += "=\"";
      append_escaped(labels_, value, true);
      labels_ += '"';
    }
    if (series.distribution) {
      write_distribution(head, *series.distribution);
    } else {
      sample(head.name, "", "", series.value);
    }
    if (is_open_ && has_created_ && can_have_created_ && series.created_ms > 0) {
      sample(base_, "_created", "", static_cast<double>(series.created_ms) / 1000);
    }
  }

  void write_distribution(const Family& head, const Distribution& distribution) {
    const bool is_histogram = head.kind == Kind::Histogram;
    for (std::size_t i = 0; i < distribution.bounds.size(); ++i) {
      const std::string bound = canonical_number(distribution.bounds[i]);
      const std::string label = (is_histogram ? "le=\"" : "quantile=\"") + bound + "\"";
      sample(head.name, is_histogram ? "_bucket" : "", label, distribution.values[i]);
    }
    if (is_histogram) sample(head.name, "_bucket", "le=\"+Inf\"", distribution.count);
    sample(head.name, "_sum", "", distribution.sum);
    sample(head.name, "_count", "", distribution.count);
  }

  void sample(std::string_view name, std::string_view suffix, std::string_view label,
              double value) {
    out_ += name;
    out_ += suffix;
    if (!labels_.empty() || !label.empty()) {
      out_ += '{';
      out_ += labels_;
      if (!labels_.empty() && !label.empty()) out_ += ',';
      out_ += label;
      out_ += '}';
    }
    out_ += ' ';
    append_number(out_, value);
    out_ += '\n';
  }

  std::string& out_;
  const bool is_open_;
  const bool has_created_;
  bool can_have_created_ = false;
  std::string base_;
  std::string labels_;
};

// "q" of one media range; 1 when it is not given.
double quality_of(std::string_view range) {
  const auto at = range.find("q=");
  if (at == std::string_view::npos) return 1;
  std::string_view text = range.substr(at + 2);
  text = text.substr(0, text.find_first_of("; ,"));
  return parse_number(text).value_or(0);
}

}  // namespace

TextFormat choose_format(std::string_view accept) {
  double open = 0;
  double plain = 0;
  while (!accept.empty()) {
    const auto end = std::min(accept.find(','), accept.size());
    const std::string_view range = accept.substr(0, end);
    accept.remove_prefix(std::min(end + 1, accept.size()));
    const bool has_version = range.find("version=") != std::string_view::npos;
    const bool is_first = !has_version || range.find("version=1.0.0") != std::string_view::npos;
    if (range.find("application/openmetrics-text") != std::string_view::npos) {
      if (is_first) open = std::max(open, quality_of(range));
    } else if (range.find("text/plain") != std::string_view::npos) {
      plain = std::max(plain, quality_of(range));
    }
  }
  return open > 0 && open >= plain ? TextFormat::OpenMetrics : TextFormat::Prometheus;
}

std::string_view content_type(TextFormat format) {
  return format == TextFormat::OpenMetrics
             ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
             : "text/plain; version=0.0.4; charset=utf-8";
}

void Merge::add(std::string_view source, std::shared_ptr<const Families> families) {
  if (!families) return;
  held_.push_back(families);
  for (const Family& family : families->all()) add_family(source, family);
}

void Merge::add_family(std::string_view source, const Family& family) {
  const auto known = index_.find(family.name);
  if (known == index_.end()) {
    for (const std::string& name : sample_names(family)) {
      const auto taken = samples_.find(name);
      if (taken == samples_.end()) continue;
      const Merged& other = families_[taken->second];
      leave_out(source, family,
                "has a sample " + name + " as " + other.head->name + " of " + other.source);
      return;
    }
    for (std::string& name : sample_names(family)) {
      samples_.emplace(std::move(name), families_.size());
    }
    index_.emplace(family.name, families_.size());
    families_.push_back({&family, std::string(source), {{&family, {}}}});
    return;
  }
  Merged& merged = families_[known->second];
  if (merged.head->kind != family.kind) {
    leave_out(source, family,
              "is a " + std::string(name_of(family.kind)) + " here, a " +
                  std::string(name_of(merged.head->kind)) + " in " + merged.source);
    return;
  }
  std::unordered_set<std::string> there;
  for (const Part& part : merged.parts) {
    for (const Series& series : part.family->series) there.insert(series_key(series.labels));
  }
  Part part{&family, {}};
  for (const Series& series : family.series) {
    if (there.contains(series_key(series.labels))) part.skipped.insert(&series);
  }
  left_out_ += part.skipped.size();
  if (!part.skipped.empty() && conflicts_.size() < kConflictsShown) {
    conflicts_.push_back(std::string(source) + ": " + family.name + " comes from " + merged.source +
                         ", too, with the same labels");
  }
  merged.parts.push_back(std::move(part));
}

void Merge::leave_out(std::string_view source, const Family& family, const std::string& why) {
  left_out_ += family.series.size();
  if (conflicts_.size() == kConflictsShown) return;
  conflicts_.push_back(std::string(source) + ": " + family.name + " " + why);
}

std::string Merge::render(TextFormat format, bool has_created) const {
  std::string out;
  Writer writer(out, format, has_created);
  for (const Merged& merged : families_) {
    std::string base = merged.head->name;
    if (base.ends_with("_total")) base.resize(base.size() - 6);
    writer.write(merged, base != merged.head->name && samples_.contains(base));
  }
  if (format == TextFormat::OpenMetrics) out += "# EOF\n";
  return out;
}

}  // namespace pillion::metrics
