#include "adapters/logs/issued_redaction.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/encode/record_values.h"
#include "runtime/fd.h"
#include "runtime/json_text.h"

namespace pillion::logs {
namespace {

constexpr std::string_view kReplacement = "[REDACTED]";
constexpr std::size_t kFileBytesMax = 8u << 20;

// The finished files of a directory; `path` itself when it is none.
std::vector<std::string> files_of(const std::string& path) {
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) return {path};
  std::vector<std::string> files;
  while (const dirent* entry = ::readdir(directory)) {
    // Named as children are; with a dot, it is being written.
    if (std::strchr(entry->d_name, '.') == nullptr) files.push_back(path + "/" + entry->d_name);
  }
  ::closedir(directory);
  return files;
}

bool has_backslash(std::string_view text) {
  return std::memchr(text.data(), '\\', text.size()) != nullptr;
}

// Behind the action line of a bulk request.
std::size_t object_begin(std::string_view record) {
  const std::size_t newline = record.find('\n');
  return newline + 1 < record.size() ? newline + 1 : 0;
}

}  // namespace

Result<void> IssuedRedaction::refresh() {
  Result<void> result;
  for (const std::string& path : paths_) {
    for (const std::string& file : files_of(path)) {
      if (auto refreshed = refresh_file(file); !refreshed) result = std::move(refreshed);
    }
  }
  return result;
}

Result<void> IssuedRedaction::refresh_file(const std::string& path) {
  const auto facts = facts_of(path);
  if (!facts) {
    if (facts.error().errno_value() == ENOENT) return {};
    return fail(facts.error());
  }
  auto source = std::find_if(sources_.begin(), sources_.end(),
                             [&](const Source& known) { return known.path == path; });
  const bool is_known = source != sources_.end();
  if (is_known && source->facts.is_same_file(*facts) && source->facts.size == facts->size &&
      source->facts.modified_ns == facts->modified_ns) {
    return {};
  }
  const auto text = read_file(path, kFileBytesMax);
  if (!text) return fail(text.error());
  const auto file = parse_fingerprints(*text);
  if (!file) return fail(file.error().wrap(path));
  if (!is_known) source = sources_.insert(sources_.end(), Source{path, {}, {}});
  source->facts = *facts;
  source->search = FingerprintSearch(*file);
  return {};
}

bool IssuedRedaction::is_in(std::string_view text) const {
  return std::any_of(sources_.begin(), sources_.end(),
                     [&](const Source& source) { return source.search.find(text).length > 0; });
}

bool IssuedRedaction::redact(std::string& text) const {
  bool has_found = false;
  for (const Source& source : sources_) {
    for (std::size_t at = 0;;) {
      const auto found = source.search.find(text, at);
      if (found.length == 0) break;
      text.replace(found.begin, found.length, kReplacement);
      at = found.begin + kReplacement.size();
      has_found = true;
    }
  }
  return has_found;
}

// Whether a record needs a closer look: the value stands in it, or may behind escapes.
bool IssuedRedaction::has_secret(std::string_view record, std::string& scratch) const {
  if (is_in(record)) return true;
  const char* p = record.data();
  const char* const end = p + record.size();
  if (!has_backslash(record)) return false;
  while (const void* const quote = std::memchr(p, '"', static_cast<std::size_t>(end - p))) {
    const char* const begin = static_cast<const char*>(quote);
    p = json_string_end(begin, end);
    const std::string_view string(begin, static_cast<std::size_t>(p - begin));
    if (!has_backslash(string)) continue;
    scratch = unescaped(string);
    if (is_in(scratch)) return true;
  }
  return false;
}

// A JSON string, with its quotes.
void IssuedRedaction::put_token(std::string_view string, std::string& out) {
  scratch_ = unescaped(string);
  if (redact(scratch_)) {
    append_json_string(out, scratch_);
  } else {
    out += string;
  }
}

void IssuedRedaction::put_value(std::string_view value, std::string& out) {
  const char kind = value.empty() ? '\0' : value.front();
  if (kind == '"') return put_token(value, out);
  if (kind == '{') {
    out += '{';
    RecordFields members(value);
    for (RecordField member; members.next(member);) {
      put_token({member.key.data() - 1, member.key.size() + 2}, out);
      out += ':';
      put_value(member.value, out);
      out += ',';
    }
    if (out.back() == ',') out.pop_back();
    out += '}';
  } else if (kind == '[') {
    out += '[';
    RecordElements elements(value);
    for (std::string_view element; elements.next(element);) {
      put_value(element, out);
      out += ',';
    }
    if (out.back() == ',') out.pop_back();
    out += ']';
  } else if (is_in(value)) {
    out += "\"" + std::string(kReplacement) + "\"";  // a number
  } else {
    out += value;
  }
}

std::size_t IssuedRedaction::apply(RecordBuffer& records) {
  const bool has_any = std::any_of(sources_.begin(), sources_.end(),
                                   [](const Source& source) { return !source.search.is_empty(); });
  if (!has_any) return 0;
  std::size_t first = 0;
  const std::size_t count = records.record_count();
  while (first < count && !has_secret(records.record(first), scratch_)) ++first;
  if (first == count) return 0;
  std::size_t changed = 0;
  RecordBuffer clean;
  for (std::size_t i = 0; i < count; ++i) {
    std::string_view record = records.record(i);
    if (i >= first && has_secret(record, scratch_)) {
      const std::size_t begin = object_begin(record);
      out_.assign(record, 0, begin);
      put_value(record.substr(begin), out_);
      out_ += '\n';
      record = out_;
      ++changed;
    }
    char* const place = clean.reserve(record.size());
    record.copy(place, record.size());
    clean.end_record(place + record.size());
  }
  records = std::move(clean);
  return changed;
}

}  // namespace pillion::logs
