#include "adapters/logs/encode/record_values.h"

#include <algorithm>
#include <chrono>

#include "runtime/text_codes.h"

namespace pillion::logs {
namespace {

// The code unit of "\\uXXXX" whose digits start at `at`.
std::uint32_t code_unit(std::string_view text, std::size_t at) {
  std::uint32_t code = 0;
  for (std::size_t i = at; i < at + 4 && i < text.size(); ++i) {
    code = code << 4 | static_cast<std::uint32_t>(std::max(hex_value(text[i]), 0));
  }
  return code;
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&](std::uint32_t value) { out += static_cast<char>(value); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xc0 | code >> 6);
    byte(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    byte(0xe0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3f));
    byte(0x80 | (code & 0x3f));
  } else {
    byte(0xf0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3f));
    byte(0x80 | (code >> 6 & 0x3f));
    byte(0x80 | (code & 0x3f));
  }
}

char of_escape(char c) {
  switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'b': return '\b';
    case 'f': return '\f';
    default: return c;
  }
}

}  // namespace

std::int64_t unix_nanoseconds(std::string_view text) {
  if (text.size() < 22 || text.front() != '"' || text[text.size() - 2] != 'Z') return 0;
  const auto number = [&](std::size_t at, std::size_t length) {
    int value = 0;
    for (std::size_t i = at; i < at + length; ++i) value = value * 10 + (text[i] - '0');
    return value;
  };
  using namespace std::chrono;
  const year_month_day date{year(number(1, 4)), month(static_cast<unsigned>(number(6, 2))),
                            day(static_cast<unsigned>(number(9, 2)))};
  const auto whole = sys_days(date).time_since_epoch() + hours(number(12, 2)) +
                     minutes(number(15, 2)) + seconds(number(18, 2));
  std::int64_t fraction = 0;
  std::int64_t unit = 100'000'000;
  for (std::size_t i = 21; i + 2 < text.size(); ++i, unit /= 10) fraction += (text[i] - '0') * unit;
  return duration_cast<nanoseconds>(whole).count() + fraction;
}

std::string unescaped(std::string_view json_string) {
  const std::string_view text = json_string.substr(1, json_string.size() - 2);
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    if (text[++i] != 'u') {
      out += of_escape(text[i]);
      continue;
    }
    std::uint32_t code = code_unit(text, i + 1);
    i += 4;
    const bool is_high = code >= 0xd800 && code < 0xdc00;
    if (is_high && i + 6 < text.size() && text[i + 1] == '\\' && text[i + 2] == 'u') {
      const std::uint32_t low = code_unit(text, i + 3);
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i += 6;
      }
    }
    append_utf8(out, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
  }
  return out;
}

}  // namespace pillion::logs
