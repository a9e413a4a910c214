#include "adapters/metrics/statsd/statsd_store.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "adapters/metrics/model/name_glob.h"
#include "adapters/metrics/statsd/quantile_sketch.h"
#include "runtime/take_line.h"

namespace pillion::metrics {
namespace {

using config::ObservationForm;
using config::StatsdType;

// Different spellings of one series (tags in another order) that are remembered beside it.
constexpr std::size_t kSpellingsPerSeries = 4;
constexpr std::size_t kSpellingsSpare = 1024;
constexpr std::size_t kProblemLineShown = 120;

// A sample's name as it came, with what else tells series apart.
struct SpellingView {
  std::string_view name;
  std::string_view tags;
  StatsdType type;
};
struct Spelling {
  std::string text;  // name and tags
  std::size_t name_size;
  StatsdType type;
  SpellingView view() const {
    const std::string_view all = text;
    return {all.substr(0, name_size), all.substr(name_size), type};
  }
};
SpellingView view_of(const SpellingView& spelling) { return spelling; }
SpellingView view_of(const Spelling& spelling) { return spelling.view(); }

struct SpellingHash {
  using is_transparent = void;
  template<class T>
  std::size_t operator()(const T& spelling) const {
    const SpellingView view = view_of(spelling);
    return absl::HashOf(view.name, view.tags, static_cast<int>(view.type));
  }
};
struct SpellingEqual {
  using is_transparent = void;
  template<class A, class B>
  bool operator()(const A& a, const B& b) const {
    const SpellingView x = view_of(a);
    const SpellingView y = view_of(b);
    return x.type == y.type && x.name == y.name && x.tags == y.tags;
  }
};

std::uint64_t weight_of(double rate) {
  return rate >= 1 ? 1 : static_cast<std::uint64_t>(std::llround(std::min(1 / rate, 1e9)));
}

bool is_observation(StatsdType type) {
  return type == StatsdType::Timer || type == StatsdType::Histogram ||
         type == StatsdType::Distribution;
}

Kind kind_of(StatsdType type, ObservationForm form) {
  if (type == StatsdType::Counter) return Kind::Counter;
  if (!is_observation(type)) return Kind::Gauge;
  return form == ObservationForm::Histogram ? Kind::Histogram : Kind::Summary;
}

struct FamilyFacts {
  Kind kind = Kind::Unknown;
  std::string help;
  std::string unit;
  std::size_t series = 0;
};

// The mapping that a name falls under, or none.
struct Mapped {
  const config::StatsdMapping* rule = nullptr;
  std::vector<std::string_view> captures;
};

Mapped find_mapping(const config::StatsdInput& config, std::string_view name, StatsdType type) {
  Mapped mapped;
  for (const auto& rule : config.mappings) {
    if (rule.type && *rule.type != type) continue;
    if (!matches_glob(rule.match, name, mapped.captures)) continue;
    mapped.rule = &rule;
    return mapped;
  }
  mapped.captures.clear();
  return mapped;
}

}  // namespace

struct StatsdStore::Slot {
  StatsdType type = StatsdType::Counter;
  std::string family;
  FamilyFacts* facts = nullptr;
  Labels labels;
  double value = 0;  // sum of observations
  std::uint64_t count = 0;
  std::vector<double> bounds;          // of a histogram; quantiles of a summary
  std::vector<std::uint64_t> buckets;  // not cumulative; one more than bounds
  std::unique_ptr<QuantileSketch> sketch;
  std::unique_ptr<absl::flat_hash_set<std::uint64_t>> set;
  std::optional<std::size_t> set_before;  // size in the last full window
  std::int64_t set_window = 0;
  std::int64_t seen_ms = 0;
  std::int64_t ttl_ms = 0;
  std::int64_t created_ms = 0;
};

struct StatsdStore::Tables {
  // A null slot is a name that is dropped.
  absl::flat_hash_map<Spelling, Slot*, SpellingHash, SpellingEqual> spellings;
  absl::flat_hash_map<std::string, std::unique_ptr<Slot>> slots;  // by family and labels
  std::map<std::string, FamilyFacts> families;                    // by name
};

StatsdStore::StatsdStore(config::StatsdInput config, Naming naming, SeriesBudget& budget)
    : config_(std::move(config)),
      naming_(std::move(naming)),
      budget_(budget),
      tables_(std::make_unique<Tables>()) {}

StatsdStore::~StatsdStore() { budget_.give_back(tables_->slots.size()); }

std::size_t StatsdStore::series() const { return tables_->slots.size(); }

void StatsdStore::take(std::string_view datagram, const Time& time) {
  while (!datagram.empty()) {
    const std::string_view line = pillion::take_line(datagram);
    if (!line.empty()) take_line(line, time);
  }
}

void StatsdStore::take_line(std::string_view line, const Time& time) {
  StatsdLine samples(line);
  StatsdSample sample;
  while (samples.next(sample)) {
    Slot* const slot = find_or_make(sample, time);
    if (slot == nullptr) continue;
    ++counts_.samples;
    apply(*slot, sample, time);
  }
  if (samples.problem() != StatsdProblem::None) note_problem(samples.problem(), line);
}

void StatsdStore::note_problem(StatsdProblem problem, std::string_view line) {
  ++counts_.problems[static_cast<std::size_t>(problem)];
  if (problem == StatsdProblem::Unsupported) return;
  last_problem_ = "cannot read \"" + clean_text(line.substr(0, kProblemLineShown)) +
                  "\": " + std::string(name_of(problem));
}

StatsdStore::Slot* StatsdStore::find_or_make(const StatsdSample& sample, const Time& time) {
  const SpellingView view{sample.name, sample.tags, sample.type};
  auto& spellings = tables_->spellings;
  if (const auto known = spellings.find(view); known != spellings.end()) {
    if (known->second == nullptr) ++counts_.dropped;
    return known->second;
  }
  const std::uint64_t dropped = counts_.dropped;
  Slot* const slot = make(sample, time);
  const bool is_dropped = counts_.dropped != dropped;
  if (slot == nullptr && !is_dropped) return nullptr;  // refused: there may be room later
  if (spellings.size() > kSpellingsPerSeries * budget_.max() + kSpellingsSpare) spellings.clear();
  Spelling spelling{std::string(sample.name), sample.name.size(), sample.type};
  spelling.text += sample.tags;
  spellings.emplace(std::move(spelling), slot);
  return slot;
}

StatsdStore::Slot* StatsdStore::make(const StatsdSample& sample, const Time& time) {
  StatsdTags tags;
  std::string buffer;
  const std::string_view plain = split_name(sample, tags, buffer);
  const Mapped mapped = find_mapping(config_, plain, sample.type);
  if (mapped.rule ? mapped.rule->is_dropped : config_.drops_unmapped) {
    ++counts_.dropped;
    return nullptr;
  }
  const config::StatsdMapping none;
  const config::StatsdMapping& rule = mapped.rule ? *mapped.rule : none;
  const ObservationForm form = rule.observations.value_or(config_.observations);
  const bool is_named = rule.name.has_value();
  std::string name = is_named ? expand_captures(*rule.name, mapped.captures) : std::string(plain);
  for (const auto& [key, value] : rule.labels) {
    std::erase_if(tags, [&](const auto& tag) { return label_name(tag.first) == key; });
    tags.emplace_back(key, expand_captures(value, mapped.captures));
  }
  // Names and labels as they will be shown.
  Families one;
  const bool is_seconds = sample.type == StatsdType::Timer && !is_named;
  one.family(name, kind_of(sample.type, form), rule.help.value_or(""), is_seconds ? "seconds" : "");
  one.find(name)->series.push_back({std::move(tags), 0, nullptr, 0});
  Refused refused;
  one = finish(std::move(one), naming_, 1, refused);
  Family& family = one.all().front();
  Series& series = family.series.front();
  const auto known = tables_->families.find(family.name);
  if (known != tables_->families.end() && known->second.kind != family.kind) {
    ++counts_.conflicts;
    last_problem_ = family.name + " is a " + std::string(name_of(known->second.kind)) +
                    " already, not a " + std::string(name_of(family.kind));
    return nullptr;
  }
  const std::string key = family.name + '\xff' + series_key(series.labels);
  if (const auto there = tables_->slots.find(key); there != tables_->slots.end()) {
    return there->second.get();
  }
  if (!budget_.take()) {
    ++counts_.refused;
    last_problem_ = "there is no room for " + family.name;
    return nullptr;
  }
  auto slot = std::make_unique<Slot>();
  slot->type = sample.type;
  slot->family = family.name;
  slot->facts = &tables_->families[family.name];
  *slot->facts = {family.kind, family.help, family.unit, slot->facts->series + 1};
  slot->labels = std::move(series.labels);
  slot->created_ms = time.wall_ms;
  slot->seen_ms = time.now_ms;
  slot->ttl_ms = rule.ttl.value_or(config_.ttl).count();
  if (family.kind == Kind::Histogram) {
    slot->bounds = rule.buckets.empty() ? config_.buckets : rule.buckets;
    slot->buckets.resize(slot->bounds.size() + 1);
  } else if (family.kind == Kind::Summary) {
    slot->bounds = rule.quantiles.empty() ? config_.quantiles : rule.quantiles;
    slot->sketch = std::make_unique<QuantileSketch>();
  }
  return tables_->slots.emplace(key, std::move(slot)).first->second.get();
}

void StatsdStore::apply(Slot& slot, const StatsdSample& sample, const Time& time) {
  slot.seen_ms = time.now_ms;
  switch (sample.type) {
    case StatsdType::Counter: slot.value += sample.value / sample.rate; return;
    case StatsdType::Gauge:
      slot.value = sample.is_delta ? slot.value + sample.value : sample.value;
      return;
    case StatsdType::Set: add_to_set(slot, sample.text, time); return;
    default: break;
  }
  // Prometheus' base unit is the second; statsd's timers are in milliseconds.
  const double value = sample.type == StatsdType::Timer ? sample.value / 1000 : sample.value;
  const std::uint64_t weight = weight_of(sample.rate);
  slot.value += value * static_cast<double>(weight);
  slot.count += weight;
  if (slot.sketch) {
    slot.sketch->add(value, weight, time.now_ms, config_.window.count());
    return;
  }
  const auto bound = std::lower_bound(slot.bounds.begin(), slot.bounds.end(), value);
  slot.buckets[static_cast<std::size_t>(bound - slot.bounds.begin())] += weight;
}

void StatsdStore::add_to_set(Slot& slot, std::string_view value, const Time& time) {
  const std::int64_t window = time.now_ms / config_.window.count();
  if (!slot.set) {
    slot.set = std::make_unique<absl::flat_hash_set<std::uint64_t>>();
    slot.set_window = window;
  }
  if (slot.set_window != window) {
    slot.set_before = window == slot.set_window + 1 ? slot.set->size() : 0;
    slot.set_window = window;
    set_values_ -= slot.set->size();
    slot.set->clear();
  }
  if (set_values_ >= kSetValuesMax) {
    ++counts_.set_values_refused;
    return;
  }
  if (slot.set->insert(absl::HashOf(value)).second) ++set_values_;
}

void StatsdStore::expire(const Time& time) {
  const auto is_idle = [&](const Slot& slot) {
    return slot.ttl_ms > 0 && time.now_ms - slot.seen_ms > slot.ttl_ms;
  };
  const bool has_idle = std::any_of(tables_->slots.begin(), tables_->slots.end(),
                                    [&](const auto& entry) { return is_idle(*entry.second); });
  if (!has_idle) return;
  absl::erase_if(tables_->spellings,
                 [&](const auto& entry) { return entry.second && is_idle(*entry.second); });
  const auto gone = absl::erase_if(tables_->slots, [&](const auto& entry) {
    const Slot& slot = *entry.second;
    if (!is_idle(slot)) return false;
    if (slot.set) set_values_ -= slot.set->size();
    if (--slot.facts->series == 0) tables_->families.erase(slot.family);
    return true;
  });
  budget_.give_back(gone);
  counts_.expired += gone;
}

std::shared_ptr<const Families> StatsdStore::snapshot(const Time& time) {
  std::vector<Slot*> slots;
  slots.reserve(tables_->slots.size());
  for (const auto& [key, slot] : tables_->slots) slots.push_back(slot.get());
  std::sort(slots.begin(), slots.end(), [](const Slot* a, const Slot* b) {
    return a->family != b->family ? a->family < b->family : a->labels < b->labels;
  });
  auto families = std::make_shared<Families>();
  for (Slot* const slot : slots) {
    Series series{slot->labels, slot->value, nullptr, slot->created_ms};
    if (is_observation(slot->type)) {
      auto made = std::make_unique<Distribution>();
      made->bounds = slot->bounds;
      made->sum = slot->value;
      made->count = static_cast<double>(slot->count);
      if (slot->sketch) {
        made->values = slot->sketch->quantiles(slot->bounds, time.now_ms, config_.window.count());
      } else {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < slot->bounds.size(); ++i) {
          sum += slot->buckets[i];
          made->values.push_back(static_cast<double>(sum));
        }
      }
      series.distribution = std::move(made);
    } else if (slot->set) {
      const std::int64_t window = time.now_ms / config_.window.count();
      const bool is_before = window == slot->set_window + 1;
      const std::size_t size = is_before ? slot->set->size()
                               : window != slot->set_window
                                   ? 0
                                   : slot->set_before.value_or(slot->set->size());
      series.value = static_cast<double>(size);
    }
    families->family(slot->family, slot->facts->kind, slot->facts->help, slot->facts->unit)
        .series.push_back(std::move(series));
  }
  return families;
}

}  // namespace pillion::metrics
