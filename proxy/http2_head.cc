#include "proxy/http2_head.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "runtime/http1/syntax.h"

namespace pillion::proxy {
namespace {

// Offsets of a model are 16 bits wide; a start line and a Host fit beside.
constexpr std::size_t kBuiltBytesMax = 16 * 1024;

bool is_value(std::string_view value) {
  return http1::find_value_end(value.data(), value.data() + value.size()) ==
         value.data() + value.size();
}

char* put(char* to, std::string_view text) {
  if (!text.empty()) std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

bool is_target(std::string_view target) {
  return std::all_of(target.begin(), target.end(), http1::is_target_character);
}

}  // namespace

// ---- Reading ------------------------------------------------------------------------------------

void Http2HeadReader::clear() {
  method_.clear();
  path_.clear();
  authority_.clear();
  status_.clear();
  protocol_.clear();
  cookies_.clear();
  fields_.clear();
  places_.clear();
  bytes_ = count_ = 0;
  is_too_large_ = is_bad_ = is_rare_ = false;
}

bool Http2HeadReader::add_pseudo(std::string_view name, std::string_view value) {
  if (name == ":method") {
    method_.assign(value);
  } else if (name == ":path") {
    path_.assign(value);
  } else if (name == ":authority") {
    authority_.assign(value);
  } else if (name == ":status") {
    status_.assign(value);
  } else if (name == ":protocol") {
    protocol_.assign(value);
  }
  return true;
}

bool Http2HeadReader::add(std::string_view name, std::string_view value, std::size_t bytes_max,
                          std::size_t fields_max) {
  bytes_ += name.size() + value.size() + 4;
  if (bytes_ > bytes_max || ++count_ > fields_max) is_too_large_ = true;
  if (is_too_large_) return false;
  if (!name.empty() && name.front() == ':') return add_pseudo(name, value);
  if (!http1::is_token(name) || !is_value(value)) {
    is_bad_ = true;
    return true;
  }
  if (name == "sec-websocket-key" && !protocol_.empty()) return true;  // HTTP/1's alone
  if (name == "cookie") {
    if (!cookies_.empty()) cookies_.append("; ");
    cookies_.append(value);
    return true;
  }
  // :authority is what counts; a Host that says something else must not travel beside it.
  if (name == "host" && !authority_.empty()) {
    is_bad_ |= value != authority_;
    return true;
  }
  add_field(name, value);
  return true;
}

void Http2HeadReader::add_field(std::string_view name, std::string_view value) {
  http1::Field place;
  place.name_begin = static_cast<std::uint16_t>(fields_.size());
  place.name_size = static_cast<std::uint16_t>(name.size());
  place.value_begin = static_cast<std::uint16_t>(fields_.size() + name.size() + 2);
  place.value_size = static_cast<std::uint16_t>(value.size());
  place.is_canonical = true;
  place.id = http1::classify_field(name);
  places_.push_back(place);
  char* line = fields_.extend(name.size() + value.size() + 4);
  put(put(put(put(line, name), ": "), value), "\r\n");
  const bool is_padded = http1::trim_whitespace(value).size() != value.size();
  is_rare_ |= is_padded || fields_.size() > kBuiltBytesMax;
}

// The fields behind what text_ holds already.
bool Http2HeadReader::build_fields(http1::Fields& fields) {
  const std::size_t begin = text_.size();
  if (begin > kBuiltBytesMax || !cookies_.empty()) return false;
  text_.append(fields_.view()).append("\r\n", 2);
  fields.rebase(text_.data());
  for (http1::Field place : places_) {
    place.name_begin = static_cast<std::uint16_t>(place.name_begin + begin);
    place.value_begin = static_cast<std::uint16_t>(place.value_begin + begin);
    if (!fields.add(place)) return false;
  }
  return true;
}

bool Http2HeadReader::build_request(http1::RequestHead& head) {
  constexpr std::size_t kMethodBytesMax = 32;
  if (is_bad_ || is_rare_ || method_.size() > kMethodBytesMax || !http1::is_token(method_) ||
      is_connect() || path_.empty() || path_.front() != '/' || !is_target(path_) ||
      !http1::is_valid_authority(authority_)) {
    return false;
  }
  text_.assign(method_).append(1, ' ').append(path_).append(" HTTP/1.1\r\n");
  http1::Field host;
  host.name_begin = static_cast<std::uint16_t>(text_.size());
  host.name_size = 4;
  host.value_begin = static_cast<std::uint16_t>(text_.size() + 6);
  host.value_size = static_cast<std::uint16_t>(authority_.size());
  host.id = http1::FieldId::Host;
  host.is_canonical = true;
  text_.append("host: ").append(authority_).append("\r\n", 2);
  head.fields.clear(text_.data());
  head.fields.add(host);
  if (!build_fields(head.fields)) return false;
  const std::string_view text = text_;
  head.version = http1::Version::Http11;
  head.form = http1::TargetForm::Origin;
  head.method = text.substr(0, method_.size());
  head.target = head.path = text.substr(method_.size() + 1, path_.size());
  head.authority = text.substr(host.value_begin, host.value_size);
  return head.fields.count(http1::FieldId::Host) == 1;
}

bool Http2HeadReader::build_response(http1::ResponseHead& head) {
  if (is_bad_ || is_rare_ || status_.size() != 3 || status_.front() == '0' ||
      !std::all_of(status_.begin(), status_.end(), http1::is_digit)) {
    return false;
  }
  text_.clear();
  head.fields.clear(text_.data());
  if (!build_fields(head.fields)) return false;
  head.version = http1::Version::Http11;
  head.status = 0;
  for (const char digit : status_) head.status = head.status * 10 + (digit - '0');
  head.reason = {};
  return true;
}

std::string_view Http2HeadReader::finish_request(std::string_view websocket_key) {
  text_.clear();
  const bool is_websocket = is_connect() && protocol_ == "websocket";
  const bool is_tunnel = is_connect() && !is_websocket;
  const std::string& target = is_tunnel ? authority_ : path_;
  if (is_bad_ || !http1::is_token(method_) || target.empty() || !is_target(target)) return {};
  if (!is_tunnel && target.front() != '/' && target != "*") return {};
  if (!is_value(authority_)) return {};
  text_.append(is_websocket ? "GET" : method_)
      .append(1, ' ')
      .append(target)
      .append(" HTTP/1.1\r\n");
  if (!authority_.empty()) text_.append("host: ").append(authority_).append("\r\n");
  text_.append(fields_.view());
  if (!cookies_.empty()) text_.append("cookie: ").append(cookies_).append("\r\n");
  if (is_websocket) {
    text_.append("upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: ")
        .append(websocket_key)
        .append("\r\n");
  }
  text_.append("\r\n");
  return text_;
}

std::string_view Http2HeadReader::finish_response() {
  text_.clear();
  if (is_bad_ || status_.size() != 3) return {};
  text_.append("HTTP/1.1 ").append(status_).append(" \r\n").append(fields_.view());
  if (!cookies_.empty()) text_.append("cookie: ").append(cookies_).append("\r\n");
  text_.append("\r\n");
  return text_;
}

std::string_view Http2HeadReader::finish_trailers() {
  text_.clear();
  if (is_bad_ || is_too_large_ || fields_.is_empty()) return {};
  text_.append(fields_.view()).append("\r\n");
  return text_;
}

// ---- Writing ------------------------------------------------------------------------------------

void Http2Fields::add(std::string_view name, std::string_view value) {
  const std::size_t begin = bytes_.size();
  add_lower(name, value);
  http1::fold_case(bytes_.data() + begin, name.size());
}

void Http2Fields::add_lower(std::string_view name, std::string_view value) {
  Span span;
  span.name = static_cast<std::uint32_t>(bytes_.size());
  span.name_size = static_cast<std::uint32_t>(name.size());
  span.value_size = static_cast<std::uint32_t>(value.size());
  if (!name.empty()) put(put(bytes_.extend(name.size() + value.size()), name), value);
  spans_.push_back(span);
}

void Http2Fields::add_number(std::string_view name, std::uint64_t value) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  add_lower(name, {digits, static_cast<std::size_t>(end - digits)});
}

void Http2Fields::add_all(const http1::Fields& fields, bool keeps_host) {
  for (const http1::Field& field : fields.all()) {
    if (field.is_removed || (field.id == http1::FieldId::Host && !keeps_host)) continue;
    add(fields.name(field), fields.value(field));
  }
}

// ---- gRPC ---------------------------------------------------------------------------------------

int grpc_status_of(int http_status) {
  switch (http_status) {
    case 400: return 13;  // INTERNAL
    case 401: return 16;  // UNAUTHENTICATED
    case 403: return 7;   // PERMISSION_DENIED
    case 404: return 12;  // UNIMPLEMENTED
    case 413:
    case 431: return 8;  // RESOURCE_EXHAUSTED
    case 429:
    case 502:
    case 503:
    case 504: return 14;  // UNAVAILABLE
    default: return 2;    // UNKNOWN
  }
}

std::string grpc_message_of(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

}  // namespace pillion::proxy
