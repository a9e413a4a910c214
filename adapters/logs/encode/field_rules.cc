#include "adapters/logs/encode/field_rules.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <charconv>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/encode/record_values.h"
#include "runtime/json_text.h"
#include "runtime/text_codes.h"

namespace pillion::logs {
namespace {

constexpr std::string_view kRedacted = "\"[REDACTED]\"";

std::string escaped(std::string_view text) {
  std::string quoted;
  append_json_string(quoted, text);
  return quoted.substr(1, quoted.size() - 2);
}

// The ASCII characters of a key that were written as \uXXXX or with a backslash they do not need,
// as themselves: "pass\u0077ord" is the field "password".
std::string normal_key(std::string_view key) {
  std::string plain;
  for (std::size_t i = 0; i < key.size(); ++i) {
    if (key[i] != '\\' || i + 1 == key.size()) {
      plain += key[i];
      continue;
    }
    const char kind = key[++i];
    int code = -1;
    if (kind == 'u' && i + 4 < key.size()) {
      code = 0;
      for (std::size_t k = 1; k <= 4; ++k) code = code * 16 + std::max(hex_value(key[i + k]), 0);
    } else if (kind == '/') {
      code = '/';
    }
    if (code >= 0x20 && code < 0x7f && code != '"' && code != '\\') {
      plain += static_cast<char>(code);
      if (kind == 'u') i += 4;
    } else {
      plain += '\\';
      plain += kind;
    }
  }
  return plain;
}

// "password" of "password_2"; empty when the key has no such end.
std::string_view without_number(std::string_view key) {
  const std::size_t underscore = key.rfind('_');
  if (underscore == std::string_view::npos || underscore + 1 == key.size()) return {};
  const std::string_view number = key.substr(underscore + 1);
  const bool is_number = number.find_first_not_of("0123456789") == std::string_view::npos;
  return is_number && number.front() != '0' && number != "1" ? key.substr(0, underscore)
                                                             : std::string_view();
}

bool is_one_of(std::string_view key, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), key) != names.end();
}

// True for a field that no line has, with the value that surrounds every record.
bool is_of_envelope(const RecordField& field, const EncodeState& state) {
  const char* const begin = field.key.data() - 1;
  const std::string_view text(
      begin, static_cast<std::size_t>(field.value.data() + field.value.size() - begin));
  const auto& entries = state.envelope.entries;
  return std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
    return std::string_view(entry.rendered).substr(0, entry.rendered.size() - 1) == text;
  });
}

bool is_string(std::string_view value) { return value.size() >= 2 && value.front() == '"'; }

// The text of a value: of a string what it says, else its JSON.
std::string text_of(std::string_view value) {
  return is_string(value) ? unescaped(value) : std::string(value);
}

// 128 bits of SHA-256, in hexadecimal: enough to tell values apart.
std::string hash_of(const std::string& text, const std::string& key) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (key.empty()) {
    EVP_Digest(text.data(), text.size(), digest, &length, EVP_sha256(), nullptr);
  } else {
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &length);
  }
  std::string hex;
  for (unsigned i = 0; i < 16 && i < length; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 15];
  }
  return hex;
}

template<class Number>
bool reads_as(const std::string& text, Number& number) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

// JSON text of `value` as another type; empty when it does not read as one.
std::string converted(std::string_view value, Conversion conversion) {
  const std::string text = text_of(value);
  std::string out;
  switch (conversion) {
    case Conversion::None: break;
    case Conversion::Integer: {
      std::int64_t number = 0;
      if (reads_as(text, number)) out = std::to_string(number);
      break;
    }
    case Conversion::Float: {
      double number = 0;
      const bool is_number = reads_as(text, number) && number - number == 0;  // neither inf nor nan
      char rendered[32];
      if (is_number) {
        out.assign(rendered, std::to_chars(rendered, rendered + sizeof rendered, number).ptr);
      }
      break;
    }
    case Conversion::Boolean:
      if (is_one_of(text, {"true", "TRUE", "True", "yes", "on", "1"})) out = "true";
      if (is_one_of(text, {"false", "FALSE", "False", "no", "off", "0"})) out = "false";
      break;
    case Conversion::String: append_json_string(out, text); break;
  }
  return out;
}

}  // namespace

FieldRules::FieldRules(const FieldRulesOptions& options)
    : keeps_some_(!options.keep.empty()),
      renames_(!options.rename.empty()),
      redacts_(!options.redact.empty()),
      has_trace_ids_(options.has_trace_ids),
      has_labels_(options.has_labels),
      own_names_(options.own_names),
      text_redaction_(options.text_redaction),
      hash_key_(options.hash_key) {
  const auto is_path = [](const std::string& name) { return name.find('.') != std::string::npos; };
  for (const auto& name : options.redact) redacted_.push_back(escaped(name));
  for (const auto& name : options.drop) {
    if (is_path(name)) dropped_paths_.insert(escaped(name));
  }
  for (const auto& [from, to] : options.rename) {
    if (is_path(from)) moved_paths_[escaped(from)] = escaped(to);
  }
  for (const auto& name : options.hash) rule_named(escaped(name)).is_hashed = true;
  for (const auto& [name, kind] : options.convert) rule_named(escaped(name)).conversion = kind;
  for (const auto& name : options.drop) rule_named(escaped(name)).is_dropped = true;
  for (const auto& name : options.keep) rule_named(escaped(name)).is_kept = true;
  for (const auto& name : options.redact) rule_named(escaped(name)).is_redacted = true;
  const auto by_new_name = rules_;
  for (const auto& [from, to] : options.rename) {
    const auto found = by_new_name.find(escaped(to));
    Rule& rule = rule_named(escaped(from));
    rule = found == by_new_name.end() ? Rule() : found->second;
    rule.name = escaped(to);
    rule.is_renamed = true;
  }
}

FieldRules::Rule& FieldRules::rule_named(const std::string& name) {
  Rule& rule = rules_[name];
  if (rule.name.empty()) rule.name = name;
  return rule;
}

FieldRules::Rule* FieldRules::find(std::string_view key) {
  auto found = rules_.find(key);
  if (found == rules_.end() && key.find('\\') != std::string_view::npos) {
    found = rules_.find(normal_key(key));
  }
  if (found == rules_.end()) {
    const std::string_view base = without_number(key);
    if (base.empty()) return nullptr;
    found = rules_.find(base);
    if (found == rules_.end() || found->second.last_record != record_count_) return nullptr;
  }
  found->second.last_record = record_count_;
  return &found->second;
}

bool FieldRules::always_stays(std::string_view key, const EncodeState& state) const {
  if (is_one_of(key, {"@timestamp", "log.level", "message", "log.flags", "log.offset",
                      "event.created", "event.original"})) {
    return true;
  }
  if (state.has_cri && is_one_of(key, {"stream", "pillion.generation"})) return true;
  if (state.scratch.failure != nullptr && is_one_of(key, {"tags", "error.message"})) return true;
  const auto& entries = state.envelope.entries;
  return std::any_of(entries.begin(), entries.end(),
                     [&](const auto& entry) { return entry.key == key; });
}

bool FieldRules::is_written(std::string_view name) const {
  return std::any_of(written_.begin(), written_.end(), [&](const Span& span) {
    return std::string_view(out_).substr(span.begin, span.length) == name;
  });
}

// `"name":`, with _2, _3… when a field of this record has the name already.
void FieldRules::put_name(std::string_view name) {
  out_ += '"';
  const std::size_t begin = out_.size();
  if (renames_ && is_written(name)) {
    std::string own;
    std::uint64_t suffix = 2;
    do {
      own = std::string(name) + "_" + std::to_string(suffix++);
    } while (is_written(own));
    out_ += own;
  } else {
    out_ += name;
  }
  if (renames_) written_.push_back({begin, out_.size() - begin});
  out_ += "\":";
}

bool FieldRules::is_redacted(std::string_view key, const std::string& path) const {
  return std::any_of(redacted_.begin(), redacted_.end(),
                     [&](const std::string& name) { return name == key || name == path; });
}

void FieldRules::put_text(std::string_view json_string) {
  const bool has_found = text_redaction_ && text_redaction_->apply(json_string, scratch_);
  out_ += has_found ? std::string_view(scratch_) : json_string;
}

// A value with what is redacted in it; `path` is that of the value, and the same afterwards.
void FieldRules::put_redacted(std::string_view value, std::string& path) {
  if (is_string(value)) {
    put_text(value);
    return;
  }
  const char kind = value.empty() ? '\0' : value.front();
  if (kind != '{' && kind != '[') {
    out_ += value;
    return;
  }
  out_ += kind;
  if (kind == '{') {
    RecordFields members(value);
    const std::size_t length = path.size();
    for (RecordField member; members.next(member);) {
      const std::string key = normal_key(member.key);
      path += '.';
      path += key;
      if (is_nested_done(path, member.value)) {
        path.resize(length);
        continue;
      }
      out_ += '"';
      out_ += member.key;
      out_ += "\":";
      if (is_redacted(key, path)) {
        out_ += kRedacted;
      } else {
        put_redacted(member.value, path);
      }
      out_ += ',';
      path.resize(length);
    }
  } else {
    RecordElements elements(value);
    for (std::string_view element; elements.next(element);) {
      put_redacted(element, path);
      out_ += ',';
    }
  }
  if (out_.back() == ',') out_.pop_back();
  out_ += kind == '{' ? '}' : ']';
}

// True when the value at `path` within an object is not written there.
bool FieldRules::is_nested_done(const std::string& path, std::string_view value) {
  if (dropped_paths_.contains(path)) return true;
  const auto found = moved_paths_.find(path);
  if (found == moved_paths_.end()) return false;
  moved_.emplace_back(found->second, value);
  return true;
}

// What was within objects and has a name of its own at the top now.
void FieldRules::put_moved() {
  for (std::size_t i = 0; i < moved_.size(); ++i) {  // may grow: objects within what was moved
    const auto [name, value] = moved_[i];
    put_name(name);
    const auto rule = rules_.find(name);
    put_value(rule == rules_.end() ? nullptr : &rule->second, name, value);
    out_ += ',';
  }
}

// Of W3C Trace Context §3.2: version, trace id, parent id and flags.
bool FieldRules::put_trace_ids(std::string_view value) {
  constexpr std::size_t kLength = 57;  // with its quotes
  const auto is_hex = [&](std::size_t begin, std::size_t length) {
    return value.substr(begin, length).find_first_not_of("0123456789abcdef") ==
           std::string_view::npos;
  };
  const bool is_valid = value.size() == kLength && value[3] == '-' && value[36] == '-' &&
                        value[53] == '-' && is_hex(4, 32) && is_hex(37, 16);
  if (!is_valid) return false;
  put_name("trace.id");
  out_ += "\"" + std::string(value.substr(4, 32)) + "\",";
  put_name("span.id");
  out_ += "\"" + std::string(value.substr(37, 16)) + "\",";
  return true;
}

void FieldRules::put_value(const Rule* rule, std::string_view name, std::string_view value) {
  if (rule != nullptr && rule->is_redacted) {
    out_ += kRedacted;
    return;
  }
  if (rule != nullptr && rule->conversion != Conversion::None) {
    const std::string other = converted(value, rule->conversion);
    if (!other.empty()) {
      out_ += other;
      return;
    }
  }
  if (rule != nullptr && rule->is_hashed) {
    out_ += '"' + hash_of(text_of(value), hash_key_) + '"';
    return;
  }
  const bool has_nested = !dropped_paths_.empty() || !moved_paths_.empty();
  if ((!redacts_ && !text_redaction_ && !has_nested) ||
      is_one_of(name, {"@timestamp", "log.level"})) {
    out_ += value;
    return;
  }
  std::string path(name);
  put_redacted(value, path);
}

std::string_view FieldRules::apply(std::string_view record, const EncodeState& state) {
  ++record_count_;
  written_.clear();
  moved_.clear();
  // The action line of a bulk request may stand before.
  const std::size_t newline = record.find('\n');
  const std::size_t begin = newline + 1 < record.size() ? newline + 1 : 0;
  out_.assign(record, 0, begin);
  out_ += '{';
  RecordFields fields(record.substr(begin));
  for (RecordField field; fields.next(field);) {
    const Rule* const rule = find(field.key);
    if (rule != nullptr && rule->is_dropped) continue;
    const bool is_renamed = rule != nullptr && rule->is_renamed;
    const std::string_view name = is_renamed ? std::string_view(rule->name) : field.key;
    const bool is_kept = !keeps_some_ || (rule != nullptr && rule->is_kept);
    if (!is_kept && !always_stays(field.key, state) && !always_stays(name, state)) continue;
    if (has_trace_ids_ && field.key == "traceparent" && put_trace_ids(field.value)) continue;
    if (renames_ && is_written(name) && is_of_envelope(field, state)) continue;  // the line wins
    put_name(name);
    put_value(rule, name, field.value);
    out_ += ',';
  }
  put_moved();
  if (out_.back() == ',') out_.pop_back();
  out_ += "}\n";
  if (has_labels_) out_ = with_labels(out_, own_names_);
  return out_;
}

}  // namespace pillion::logs
