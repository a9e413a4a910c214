#include "adapters/logs/encode/record_filter.h"

#include <algorithm>
#include <utility>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/encode/record_values.h"

namespace pillion::logs {
namespace {

// How many different records are remembered at most; then the oldest half is forgotten.
constexpr std::size_t kSeenMax = 10'000;

// FNV-1a, finished so that its upper bits are well mixed.
std::uint64_t hash_of(std::string_view text, std::uint64_t hash = 0xcbf29ce484222325u) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash ^= hash >> 32;
  return hash * 0x9e3779b97f4a7c15u;
}

}  // namespace

int severity_number(std::string_view level) {
  constexpr std::pair<std::string_view, int> kLevels[] = {
      {"trace", 1},  {"debug", 5},  {"info", 9},      {"notice", 10}, {"warn", 13},
      {"error", 17}, {"alert", 19}, {"critical", 18}, {"fatal", 21}};
  for (const auto& [name, number] : kLevels) {
    if (name == level) return number;
  }
  return 0;
}

RecordFilter::RecordFilter(RecordFilterOptions options)
    : options_(std::move(options)),
      severity_min_(severity_number(options_.min_level)),
      has_matched_(options_.match.size()),
      tokens_(options_.rate_limit) {}

bool RecordFilter::passes(std::string_view record, std::int64_t now) {
  // The action line of a bulk request may stand before.
  const std::size_t newline = record.find('\n');
  if (newline + 1 < record.size()) record.remove_prefix(newline + 1);
  if (!is_wanted(record)) return false;
  if (options_.sample < 1 || options_.deduplicate.count() > 0) {
    std::uint64_t identity = 0;  // of everything but the time
    RecordFields fields(record);
    for (RecordField field; fields.next(field);) {
      if (field.key == "@timestamp" || field.key == "event.created") continue;
      identity = hash_of(field.value, hash_of(field.key, identity));
    }
    if (options_.deduplicate.count() > 0 && !is_new(identity, now)) return false;
    // Records that differ in nothing but the time are kept or left out one by one.
    const double place = static_cast<double>(hash_of(record) >> 11) / 9007199254740992.0;  // 2^53
    if (place >= options_.sample) return false;
  }
  return options_.rate_limit == 0 || has_token(now);
}

bool RecordFilter::is_wanted(std::string_view object) {
  if (severity_min_ == 0 && options_.match.empty() && options_.exclude.empty()) return true;
  std::fill(has_matched_.begin(), has_matched_.end(), false);
  RecordFields fields(object);
  for (RecordField field; fields.next(field);) {
    const bool is_string = field.value.size() >= 2 && field.value.front() == '"';
    if (severity_min_ > 0 && field.key == "log.level" && is_string) {
      const int severity = severity_number(field.value.substr(1, field.value.size() - 2));
      if (severity > 0 && severity < severity_min_) return false;
    }
    const std::string key(field.key);
    const auto wanted = options_.match.find(key);
    const auto unwanted = options_.exclude.find(key);
    if (wanted == options_.match.end() && unwanted == options_.exclude.end()) continue;
    const std::string text = is_string ? unescaped(field.value) : std::string(field.value);
    if (unwanted != options_.exclude.end() &&
        unwanted->second->match(text) == RegexFormat::Match::Yes) {
      return false;
    }
    if (wanted == options_.match.end()) continue;
    if (wanted->second->match(text) != RegexFormat::Match::Yes) return false;
    has_matched_[static_cast<std::size_t>(std::distance(options_.match.begin(), wanted))] = true;
  }
  return std::all_of(has_matched_.begin(), has_matched_.end(), [](bool has) { return has; });
}

bool RecordFilter::is_new(std::uint64_t identity, std::int64_t now) {
  const auto [entry, is_inserted] = seen_.try_emplace(identity, now);
  if (!is_inserted) {
    if (now - entry->second < options_.deduplicate.count()) return false;
    entry->second = now;
    return true;
  }
  if (seen_.size() > kSeenMax) {
    std::vector<std::int64_t> times;
    for (const auto& [key, time] : seen_) times.push_back(time);
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    std::erase_if(seen_, [&](const auto& one) { return one.second <= *middle; });
  }
  return true;
}

bool RecordFilter::has_token(std::int64_t now) {
  const double rate = options_.rate_limit;
  if (filled_at_ != 0 && now > filled_at_) {
    tokens_ = std::min(rate, tokens_ + static_cast<double>(now - filled_at_) * 1e-9 * rate);
  }
  filled_at_ = std::max(filled_at_, now);
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

}  // namespace pillion::logs
