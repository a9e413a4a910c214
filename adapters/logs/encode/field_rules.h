// What `[fields]` says of single fields: rename, drop, keep, redact; applied in this order to the
// top-level fields of a record right after it is written, and only when there is a rule.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/state.h"

namespace pillion::logs {

struct FieldRulesOptions {
  std::map<std::string, std::string> rename;  // all at once: a name is renamed no second time
  std::vector<std::string> drop;              // these three by the names after `rename`
  std::vector<std::string> keep;              // empty = all
  std::vector<std::string> redact;
};

class FieldRules {
 public:
  // `state` says which names are ours: `keep` leaves them, what surrounds a record gives way to a
  // line's own field of the same name.
  explicit FieldRules(const FieldRulesOptions& options);

  // `record` is a JSON object with its final newline, as an Encoder writes it, behind the action
  // line of a bulk request or not. The view lives until
  // the next call. A repeated key (password_2 behind password) is treated as its first.
  std::string_view apply(std::string_view record, const EncodeState& state);

 private:
  struct Rule {
    std::string name;  // after renaming, escaped as in JSON
    bool is_renamed = false;
    bool is_dropped = false;
    bool is_kept = false;
    bool is_redacted = false;
    std::uint64_t last_record = 0;  // that has had this field
  };

  Rule& rule_named(const std::string& name);
  Rule* find(std::string_view key);
  bool always_stays(std::string_view key, const EncodeState& state) const;
  bool is_written(std::string_view name) const;
  void put_name(std::string_view name);

  std::map<std::string, Rule, std::less<>> rules_;  // by the name before renaming
  bool keeps_some_ = false;
  bool renames_ = false;
  std::uint64_t record_count_ = 0;
  std::string out_;
  // Names written in this record, as places in out_; only when something is renamed.
  struct Span {
    std::size_t begin;
    std::size_t length;
  };
  std::vector<Span> written_;
};

}  // namespace pillion::logs
