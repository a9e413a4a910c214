// What `[fields]` says of single fields: rename, drop, keep, redact, convert, hash; applied in this
// order to the fields of a record right after it is written, and only when there is a rule. Only
// `redact` looks into nested objects.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/labels.h"
#include "adapters/logs/encode/state.h"
#include "adapters/logs/encode/text_redaction.h"

namespace pillion::logs {

enum class Conversion : std::uint8_t { None, Integer, Float, Boolean, String };

struct FieldRulesOptions {
  std::map<std::string, std::string> rename;  // all at once: a name is renamed no second time
  std::vector<std::string> drop;              // these three by the names after `rename`
  std::vector<std::string> keep;              // empty = all
  std::vector<std::string> redact;
  std::shared_ptr<TextRedaction> text_redaction = nullptr;  // null: texts are not looked into
  std::map<std::string, Conversion> convert = {};
  std::vector<std::string> hash = {};
  std::string hash_key = {};   // with one, HMAC in place of the bare hash
  bool has_trace_ids = false;  // the values of `traceparent` as trace.id and span.id
  bool has_labels = false;     // extracted fields under `labels`, see labels.h
  OwnNames own_names = {};     // of has_labels

  bool is_empty() const {
    return rename.empty() && drop.empty() && keep.empty() && redact.empty() && !text_redaction &&
           convert.empty() && hash.empty() && !has_trace_ids && !has_labels;
  }
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
    bool is_hashed = false;
    Conversion conversion = Conversion::None;
    std::uint64_t last_record = 0;  // that has had this field
  };

  Rule& rule_named(const std::string& name);
  Rule* find(std::string_view key);
  bool always_stays(std::string_view key, const EncodeState& state) const;
  bool is_written(std::string_view name) const;
  void put_name(std::string_view name);
  void put_value(const Rule* rule, std::string_view name, std::string_view value);
  void put_redacted(std::string_view value, std::string& path);
  bool is_nested_done(const std::string& path, std::string_view value);
  void put_moved();
  bool put_trace_ids(std::string_view value);
  void put_text(std::string_view json_string);
  bool is_redacted(std::string_view key, const std::string& path) const;

  std::map<std::string, Rule, std::less<>> rules_;  // by the name before renaming
  bool keeps_some_ = false;
  bool renames_ = false;
  bool redacts_ = false;
  bool has_trace_ids_ = false;
  bool has_labels_ = false;
  OwnNames own_names_;
  // Of values within objects, by their paths: dropped, or moved to the top under another name.
  std::set<std::string, std::less<>> dropped_paths_;
  std::map<std::string, std::string, std::less<>> moved_paths_;
  std::vector<std::pair<std::string, std::string>> moved_;  // of this record: name and value
  std::vector<std::string> redacted_;  // names and dotted paths, escaped as in JSON
  std::shared_ptr<TextRedaction> text_redaction_;
  std::string hash_key_;
  std::string scratch_;
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
