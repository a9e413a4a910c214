// Walks the top-level fields of one JSON record that an Encoder has written. Not a JSON parser: it
// trusts the text to be an object without white space between tokens.
#pragma once

#include <cstring>
#include <string_view>

namespace pillion::logs {

// Behind the closing quote of the string whose opening one is at `p`.
inline const char* json_string_end(const char* p, const char* end) {
  ++p;
  while (p < end) {
    const void* const found = std::memchr(p, '"', static_cast<std::size_t>(end - p));
    if (found == nullptr) return end;
    const char* const quote = static_cast<const char*>(found);
    const char* first = quote;
    while (first > p && first[-1] == '\\') --first;
    p = quote + 1;
    if ((quote - first) % 2 == 0) return p;
  }
  return end;
}

// Behind the value at `p`, which a comma or a closing bracket follows.
inline const char* json_value_end(const char* p, const char* end) {
  if (p < end && *p == '"') return json_string_end(p, end);
  int depth = 0;
  while (p < end) {
    if (*p == '"') {
      p = json_string_end(p, end);
      continue;
    }
    if (depth == 0 && (*p == ',' || *p == '}' || *p == ']')) return p;
    if (*p == '{' || *p == '[') ++depth;
    if ((*p == '}' || *p == ']') && --depth == 0) return p + 1;
    ++p;
  }
  return end;
}

struct RecordField {
  std::string_view key;    // as written, without its quotes, escapes left as they are
  std::string_view value;  // JSON text
};

class RecordFields {
 public:
  // `object` from its opening brace on; what follows the closing one is not read.
  explicit RecordFields(std::string_view object)
      : p_(object.data() + 1), end_(object.data() + object.size()) {}

  // False when there is none left.
  bool next(RecordField& field) {
    if (p_ >= end_ || *p_ != '"') return false;
    const char* const key_end = json_string_end(p_, end_);
    field.key = {p_ + 1, static_cast<std::size_t>(key_end - p_ - 2)};
    const char* const value = key_end + 1;  // behind the colon
    const char* const value_end = json_value_end(value, end_);
    field.value = {value, static_cast<std::size_t>(value_end - value)};
    p_ = value_end + 1;  // behind the comma or the closing brace
    return true;
  }

 private:
  const char* p_;
  const char* end_;
};

// The elements of an array in a record.
class RecordElements {
 public:
  explicit RecordElements(std::string_view array)
      : p_(array.data() + 1), end_(array.data() + array.size()) {}

  bool next(std::string_view& value) {
    if (p_ >= end_ || *p_ == ']') return false;
    const char* const value_end = json_value_end(p_, end_);
    value = {p_, static_cast<std::size_t>(value_end - p_)};
    p_ = value_end + 1;  // behind the comma or the closing bracket
    return true;
  }

 private:
  const char* p_;
  const char* end_;
};

}  // namespace pillion::logs
