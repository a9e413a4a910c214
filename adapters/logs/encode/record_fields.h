// Walks the top-level fields of one JSON record that an Encoder has written. Not a JSON parser: it
// trusts the text to be an object without white space between tokens.
#pragma once

#include <cstring>
#include <string_view>

namespace pillion::logs {

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
    const char* const key_end = string_end(p_);
    field.key = {p_ + 1, static_cast<std::size_t>(key_end - p_ - 2)};
    const char* const value = key_end + 1;  // behind the colon
    const char* const value_end = find_value_end(value);
    field.value = {value, static_cast<std::size_t>(value_end - value)};
    p_ = value_end + 1;  // behind the comma or the closing brace
    return true;
  }

 private:
  // Behind the closing quote of the string whose opening one is at `p`.
  const char* string_end(const char* p) const {
    ++p;
    while (p < end_) {
      const void* const found = std::memchr(p, '"', static_cast<std::size_t>(end_ - p));
      if (found == nullptr) return end_;
      const char* const quote = static_cast<const char*>(found);
      const char* first = quote;
      while (first > p && first[-1] == '\\') --first;
      p = quote + 1;
      if ((quote - first) % 2 == 0) return p;
    }
    return end_;
  }

  const char* find_value_end(const char* p) const {
    if (p < end_ && *p == '"') return string_end(p);
    int depth = 0;
    while (p < end_) {
      if (*p == '"') {
        p = string_end(p);
        continue;
      }
      if (depth == 0 && (*p == ',' || *p == '}')) return p;
      if (*p == '{' || *p == '[') ++depth;
      if ((*p == '}' || *p == ']') && --depth == 0) return p + 1;
      ++p;
    }
    return end_;
  }

  const char* p_;
  const char* end_;
};

}  // namespace pillion::logs
