#include "adapters/metrics/model/family.h"

#include <algorithm>
#include <unordered_set>

#include "runtime/exposition.h"

namespace pillion::metrics {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

std::string legal_name(std::string_view text, bool has_colons) {
  std::string name;
  name.reserve(text.size() + 1);
  if (!text.empty() && is_digit(text.front())) name = '_';
  bool is_replaced = false;
  for (const char c : text) {
    if (is_letter(c) || is_digit(c) || (c == ':' && has_colons)) {
      name += c;
      is_replaced = false;
    } else if (!is_replaced) {
      name += '_';
      is_replaced = true;
    }
  }
  return name.empty() ? "_" : name;
}

void merge_labels(Labels& labels, const Labels& ours) {
  for (auto& [name, value] : labels) {
    name = label_name(name);
    if (!is_utf8_text(value)) value = clean_text(value);
    while (std::any_of(ours.begin(), ours.end(),
                       [&](const auto& label) { return label.first == name; })) {
      name = "exported_" + name;
    }
  }
  labels.insert(labels.end(), ours.begin(), ours.end());
  // Empty labels are no labels in Prometheus' data model.
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  std::stable_sort(labels.begin(), labels.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  labels.erase(std::unique(labels.begin(), labels.end(),
                           [](const auto& a, const auto& b) { return a.first == b.first; }),
               labels.end());
}

std::string finished_name(const Family& family, const Naming& naming) {
  std::string name = metric_name(naming.prefix + family.name);
  const bool is_counter = family.kind == Kind::Counter;
  const bool had_total = is_counter && name.ends_with("_total");
  if (had_total) name.resize(name.size() - 6);
  if (!family.unit.empty() && !name.ends_with("_" + family.unit)) name += "_" + family.unit;
  const bool has_total = is_counter && !(naming.keeps_counters && !had_total);
  return has_total ? name + "_total" : name;
}

void remember(Refused& refused, std::string example) {
  if (refused.example.empty()) refused.example = std::move(example);
}

}  // namespace

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::Gauge: return "gauge";
    case Kind::Counter: return "counter";
    case Kind::Histogram: return "histogram";
    case Kind::Summary: return "summary";
    case Kind::Unknown: break;
  }
  return "unknown";
}

Family& Families::family(std::string_view name, Kind kind, std::string_view help,
                         std::string_view unit) {
  const auto found = index_.find(name);
  if (found != index_.end()) return families_[found->second];
  index_.emplace(std::string(name), families_.size());
  families_.push_back({std::string(name), kind, std::string(help), std::string(unit), {}});
  return families_.back();
}

void Families::add(std::string_view name, Kind kind, double value, Labels labels,
                   std::string_view help) {
  Series series;
  series.labels = std::move(labels);
  series.value = value;
  family(name, kind, help).series.push_back(std::move(series));
}

Family* Families::find(std::string_view name) {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &families_[found->second];
}

std::size_t Families::series_count() const {
  std::size_t count = 0;
  for (const Family& each : families_) count += each.series.size();
  return count;
}

Families finish(Families families, const Naming& naming, std::size_t series_max, Refused& refused) {
  Families out;
  std::map<std::string, std::unordered_set<std::string>, std::less<>> seen;
  std::size_t count = 0;
  for (Family& family : families.all()) {
    std::string unit = family.unit.empty() ? "" : metric_name(family.unit);
    family.unit = unit;
    const std::string name = finished_name(family, naming);
    const std::string& help = family.help.empty() ? naming.help : family.help;
    Family& target = out.family(name, family.kind, clean_text(help), unit);
    if (target.kind != family.kind) {
      refused.conflicts += family.series.size();
      remember(refused, name + " is a " + std::string(name_of(target.kind)) + " and a " +
                            std::string(name_of(family.kind)));
      continue;
    }
    auto& keys = seen[name];
    for (Series& series : family.series) {
      if (count == series_max) {
        ++refused.over_limit;
        remember(refused, "there is no room for " + name);
        continue;
      }
      merge_labels(series.labels, naming.labels);
      if (!keys.insert(series_key(series.labels)).second) {
        ++refused.duplicates;
        remember(refused, name + " comes twice with the same labels");
        continue;
      }
      target.series.push_back(std::move(series));
      ++count;
    }
  }
  std::erase_if(out.all(), [](const Family& family) { return family.series.empty(); });
  return out;
}

std::string series_key(const Labels& labels) {
  std::string key;
  for (const auto& [name, value] : labels) {
    key += name;
    key += '\xff';
    key += value;
    key += '\xff';
  }
  return key;
}

std::string metric_name(std::string_view text) { return legal_name(text, true); }

std::string label_name(std::string_view text) {
  std::string name = legal_name(text, false);
  while (name.starts_with("__")) name.erase(0, 1);
  return name;
}

std::string clean_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t length = 1;
    while (length < 4 && length < text.size() &&
           (static_cast<unsigned char>(text[length]) & 0xc0u) == 0x80u) {
      ++length;
    }
    const bool is_good = is_utf8_text(text.substr(0, length));
    out += is_good ? text.substr(0, length) : "\xef\xbf\xbd";
    text.remove_prefix(is_good ? length : 1);
  }
  return out;
}

std::string snake_case(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_upper(c)) {
      const bool is_after_small = i > 0 && !is_upper(text[i - 1]) && text[i - 1] != '_';
      const bool is_before_small = i > 0 && is_upper(text[i - 1]) && i + 1 < text.size() &&
                                   text[i + 1] >= 'a' && text[i + 1] <= 'z';
      if ((is_after_small || is_before_small) && !out.empty() && out.back() != '_') out += '_';
      out += static_cast<char>(c - 'A' + 'a');
    } else {
      out += is_letter(c) || is_digit(c) ? c : '_';
    }
  }
  return out;
}

}  // namespace pillion::metrics
