#include "runtime/http1/head_parser.h"

#include <algorithm>
#include <cstring>

namespace pillion::http1 {
namespace {

constexpr std::size_t kMethodBytesMax = 32;
constexpr std::size_t kOffsetMax = 65535;

enum class Kind { Request, Response, Trailer };

ParseResult failed(int status, std::string_view reason) {
  ParseResult result;
  result.status = ParseStatus::Failed;
  result.error = {status, reason};
  return result;
}

// Whether the bytes from `from` on can complete a head: an empty line ends there. A bare LF counts,
// because the parser must get to see (and refuse) it.
bool has_empty_line(std::string_view bytes, std::size_t from) {
  std::size_t position = from >= 2 ? from - 2 : 0;
  while (position < bytes.size()) {
    const void* found = std::memchr(bytes.data() + position, '\n', bytes.size() - position);
    if (found == nullptr) return false;
    position = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data()) + 1;
    if (position < bytes.size() && bytes[position] == '\n') return true;
    if (position + 1 < bytes.size() && bytes[position] == '\r' && bytes[position + 1] == '\n') {
      return true;
    }
  }
  return false;
}

// The parse of one head. Every step returns true to go on; false means that `result` says why not
// (by default: more bytes are needed).
class HeadParse {
 public:
  HeadParse(std::string_view bytes, const Limits& limits, Kind kind)
      : limits_(limits),
        kind_(kind),
        begin_(bytes.data()),
        cursor_(bytes.data()),
        end_(bytes.data() + std::min(bytes.size(), std::min(limits.head_bytes_max, kOffsetMax))),
        is_at_limit_(bytes.size() >= std::min(limits.head_bytes_max, kOffsetMax)) {}

  bool skip_leading_empty_line();
  bool request_line(RequestHead& head);
  bool status_line(ResponseHead& head);
  bool field_lines(Fields& fields);
  bool check_host(RequestHead& head);

  ParseResult result;

 private:
  bool refuse(std::string_view reason, int status = 400) {
    result = failed(kind_ == Kind::Response ? 502 : status, reason);
    return false;
  }
  bool need_more() {
    if (!is_at_limit_) return false;
    if (kind_ == Kind::Request && is_in_start_line_) return refuse("request line is too long", 414);
    return refuse("header section is too large", 431);
  }
  bool end_of_line();
  bool field_line(Fields& fields);
  bool refuse_byte(char c, std::string_view otherwise);
  bool method(RequestHead& head);
  bool target(RequestHead& head);
  bool classify_target(RequestHead& head);
  bool absolute_target(RequestHead& head);
  bool version(Version& version);
  std::uint16_t offset(const char* position) const {
    return static_cast<std::uint16_t>(position - begin_);
  }

  const Limits& limits_;
  const Kind kind_;
  const char* const begin_;
  const char* cursor_;
  const char* const end_;
  const bool is_at_limit_;
  bool is_in_start_line_ = true;
};

bool HeadParse::refuse_byte(char c, std::string_view otherwise) {
  if (c == '\r' && end_ - cursor_ >= 2 && cursor_[1] == '\n')
    return refuse("a line ends too early");
  if (c == '\r') return refuse("a carriage return stands without its line feed");
  if (c == '\n') return refuse("a line ends in a bare line feed");
  if (c == '\0') return refuse("the head holds a NUL byte");
  return refuse(otherwise);
}

// CRLF and nothing else.
bool HeadParse::end_of_line() {
  if (cursor_ == end_) return need_more();
  if (*cursor_ != '\r') return refuse_byte(*cursor_, "a control character stands in the head");
  if (cursor_ + 1 == end_) return need_more();
  if (cursor_[1] != '\n') return refuse("a carriage return stands without its line feed");
  cursor_ += 2;
  return true;
}

// RFC 9112 §2.2: one empty line before the request line is forgiven.
bool HeadParse::skip_leading_empty_line() {
  if (cursor_ == end_) return need_more();
  if (*cursor_ != '\r') return true;
  return end_of_line();
}

bool HeadParse::method(RequestHead& head) {
  const char* start = cursor_;
  while (cursor_ != end_ && is_token_character(*cursor_)) ++cursor_;
  const auto size = static_cast<std::size_t>(cursor_ - start);
  if (size > kMethodBytesMax) return refuse("the method is too long", 501);
  if (cursor_ == end_) return need_more();
  if (*cursor_ != ' ' || size == 0) return refuse_byte(*cursor_, "the method is malformed");
  head.method = {start, size};
  ++cursor_;
  return true;
}

bool HeadParse::target(RequestHead& head) {
  const char* start = cursor_;
  while (cursor_ != end_ && is_target_character(*cursor_)) ++cursor_;
  if (cursor_ == end_) return need_more();
  if (*cursor_ != ' ' || cursor_ == start) {
    return refuse_byte(*cursor_, "the request target is malformed");
  }
  head.target = {start, static_cast<std::size_t>(cursor_ - start)};
  ++cursor_;
  return true;
}

// HTTP/1.0 or HTTP/1.x, which is answered as 1.1 (RFC 9110 §2.5).
bool HeadParse::version(Version& version) {
  constexpr std::string_view kPrefix = "HTTP/";
  const auto left = static_cast<std::size_t>(end_ - cursor_);
  const std::size_t compared = std::min(left, kPrefix.size());
  if (std::string_view(cursor_, compared) != kPrefix.substr(0, compared)) {
    return refuse("the protocol version is malformed");
  }
  if (left < kPrefix.size() + 3) return need_more();
  const char* digits = cursor_ + kPrefix.size();
  if (!is_digit(digits[0]) || digits[1] != '.' || !is_digit(digits[2])) {
    return refuse("the protocol version is malformed");
  }
  if (digits[0] != '1') return refuse("the protocol version is not supported here", 505);
  version = digits[2] == '0' ? Version::Http10 : Version::Http11;
  cursor_ = digits + 3;
  return true;
}

bool HeadParse::absolute_target(RequestHead& head) {
  if (!starts_with_ignoring_case(head.target, "http://")) {
    if (starts_with_ignoring_case(head.target, "https://")) {
      return refuse("an https target came over a plaintext connection");
    }
    return refuse("the request target is malformed");
  }
  const std::string_view rest = head.target.substr(7);
  const std::size_t path = rest.find_first_of("/?");
  head.form = TargetForm::Absolute;
  head.authority = rest.substr(0, path);
  if (!is_valid_authority(head.authority)) return refuse("the target's host is malformed");
  if (path == std::string_view::npos) {
    head.path = head.method == "OPTIONS" ? "*" : "/";  // RFC 9112 §3.2.4
  } else if (rest[path] == '?') {
    // Valid, but nobody sends it, and who decides by a path may count on its slash.
    return refuse("the request target has a query but no path");
  } else {
    head.path = rest.substr(path);
  }
  return true;
}

bool HeadParse::classify_target(RequestHead& head) {
  head.authority = {};
  if (head.method == "CONNECT") {
    head.form = TargetForm::Authority;
    head.authority = head.target;
    head.path = head.target;
    if (!is_valid_authority(head.target) || !split_authority(head.target).port) {
      return refuse("CONNECT needs host:port as its target");
    }
    return true;
  }
  if (head.target.front() == '/') {
    head.form = TargetForm::Origin;
    head.path = head.target;
    return true;
  }
  if (head.target == "*") {
    if (head.method != "OPTIONS") return refuse("only OPTIONS may have * as its target");
    head.form = TargetForm::Asterisk;
    head.path = head.target;
    return true;
  }
  return absolute_target(head);
}

bool HeadParse::request_line(RequestHead& head) {
  if (!method(head) || !target(head) || !version(head.version)) return false;
  if (cursor_ != end_ && static_cast<unsigned char>(*cursor_) >= ' ') {
    return refuse("the protocol version is malformed");
  }
  if (!end_of_line()) return false;
  is_in_start_line_ = false;
  return classify_target(head);
}

bool HeadParse::status_line(ResponseHead& head) {
  if (!version(head.version)) return false;
  if (end_ - cursor_ < 5) {
    const bool has_line_end = std::find(cursor_, end_, '\n') != end_;
    return has_line_end ? refuse("the status line is malformed") : need_more();
  }
  if (cursor_[0] != ' ' || !is_digit(cursor_[1]) || !is_digit(cursor_[2]) ||
      !is_digit(cursor_[3])) {
    return refuse("the status line is malformed");
  }
  head.status = (cursor_[1] - '0') * 100 + (cursor_[2] - '0') * 10 + (cursor_[3] - '0');
  if (head.status < 100) return refuse("the status code is below 100");
  cursor_ += 4;
  head.reason = {};
  if (*cursor_ == ' ') {
    const char* start = ++cursor_;
    cursor_ = find_value_end(cursor_, end_);
    head.reason = {start, static_cast<std::size_t>(cursor_ - start)};
  } else if (*cursor_ != '\r') {
    return refuse_byte(*cursor_, "the status line is malformed");
  }
  is_in_start_line_ = false;
  return end_of_line();
}

bool HeadParse::field_line(Fields& fields) {
  Field field;
  const char* name = cursor_;
  while (cursor_ != end_ && is_token_character(*cursor_)) ++cursor_;
  if (cursor_ == end_) return need_more();
  if (*cursor_ != ':') {
    if (cursor_ == name && (*cursor_ == ' ' || *cursor_ == '\t')) {
      return refuse("a field line is folded or starts with whitespace");
    }
    if (*cursor_ == ' ' || *cursor_ == '\t') {
      return refuse("whitespace stands between a field name and its colon");
    }
    return refuse_byte(*cursor_, "a field name holds a character that is not allowed");
  }
  if (cursor_ == name) return refuse("a field name is empty");
  field.name_begin = offset(name);
  field.name_size = static_cast<std::uint16_t>(cursor_ - name);
  ++cursor_;
  const char* value = cursor_;
  cursor_ = find_value_end(cursor_, end_);
  const std::string_view raw(value, static_cast<std::size_t>(cursor_ - value));
  if (!end_of_line()) return false;
  const std::string_view trimmed = trim_whitespace(raw);
  field.value_begin = offset(trimmed.empty() ? value + raw.size() : trimmed.data());
  field.value_size = static_cast<std::uint16_t>(trimmed.size());
  field.is_canonical = raw.size() == trimmed.size() + 1 && raw.front() == ' ';
  field.id = classify_field({name, field.name_size});
  if (fields.all().size() >= limits_.fields_max || !fields.add(field)) {
    return refuse("the message has too many fields", 431);
  }
  return true;
}

bool HeadParse::field_lines(Fields& fields) {
  while (true) {
    if (cursor_ == end_) return need_more();
    if (*cursor_ == '\r') {
      if (!end_of_line()) return false;
      result.status = ParseStatus::Done;
      result.head_bytes = static_cast<std::size_t>(cursor_ - begin_);
      return true;
    }
    if (!field_line(fields)) return false;
  }
}

// RFC 9112 §3.2: exactly one valid Host in 1.1; the authority of an absolute target wins.
bool HeadParse::check_host(RequestHead& head) {
  const std::size_t hosts = head.fields.count(FieldId::Host);
  if (hosts > 1) return refuse("the request has more than one Host");
  if (hosts == 0) {
    return head.version == Version::Http10 || refuse("the request has no Host");
  }
  const std::string_view host = head.fields.find(FieldId::Host);
  if (!is_valid_authority(host)) return refuse("the Host is malformed");
  if (head.authority.empty()) head.authority = host;
  return true;
}

// Handles the cheap cases of a repeated call: nothing new that could complete the head.
bool is_worth_parsing(std::string_view bytes, ParseProgress& progress, const Limits& limits) {
  const std::size_t scanned = progress.bytes_scanned;
  progress.bytes_scanned = bytes.size();
  if (scanned == 0 || bytes.size() >= limits.head_bytes_max) return true;
  return has_empty_line(bytes, scanned);
}

}  // namespace

ParseResult parse_request(std::string_view bytes, ParseProgress& progress, const Limits& limits,
                          RequestHead& head) {
  if (!is_worth_parsing(bytes, progress, limits)) return {};
  head.fields.clear(bytes.data());
  HeadParse parse(bytes, limits, Kind::Request);
  if (parse.skip_leading_empty_line() && parse.request_line(head) &&
      parse.field_lines(head.fields)) {
    parse.check_host(head);
  }
  return parse.result;
}

ParseResult parse_response(std::string_view bytes, ParseProgress& progress, const Limits& limits,
                           ResponseHead& head) {
  if (!is_worth_parsing(bytes, progress, limits)) return {};
  head.fields.clear(bytes.data());
  HeadParse parse(bytes, limits, Kind::Response);
  if (parse.status_line(head)) parse.field_lines(head.fields);
  return parse.result;
}

ParseResult parse_field_section(std::string_view bytes, const Limits& limits, Fields& fields) {
  fields.clear(bytes.data());
  HeadParse parse(bytes, limits, Kind::Trailer);
  parse.field_lines(fields);
  return parse.result;
}

}  // namespace pillion::http1
