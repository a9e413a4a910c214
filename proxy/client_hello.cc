#include "proxy/client_hello.h"

#include <algorithm>
#include <optional>

namespace pillion::proxy {
namespace {

using Status = ClientHello::Status;

constexpr std::uint8_t kHandshake = 22;   // RFC 8446 §5.1
constexpr std::uint8_t kHello = 1;        // §4
constexpr std::uint16_t kServerName = 0;  // RFC 6066 §3
constexpr std::uint16_t kAlpn = 16;       // RFC 7301 §3.1
constexpr std::uint8_t kHostName = 0;     // RFC 6066 §3
constexpr std::size_t kRecordHead = 5;
constexpr std::size_t kRecordMax = 16384;
constexpr std::size_t kHelloMax = 16 * 1024;
constexpr std::size_t kRecordsMax = 64;
constexpr std::size_t kNameMax = 255;

// Takes numbers and length-prefixed pieces off the front; once something is missing, everything is.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::size_t number(std::size_t size) {
    std::size_t value = 0;
    for (const char c : take(size)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  std::string_view take(std::size_t size) {
    if (size > rest_.size()) {
      is_broken_ = true;
      rest_ = {};
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  std::string_view vector(std::size_t length_size) { return take(number(length_size)); }
  bool is_broken() const { return is_broken_; }
  bool is_empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool is_broken_ = false;
};

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

// RFC 6066 §3: one name of each type; only host names exist.
bool read_server_name(std::string_view content, std::string& name) {
  Reader list(content);
  Reader names(list.vector(2));
  if (list.is_broken() || !list.is_empty() || names.is_empty()) return false;
  const std::size_t type = names.number(1);
  const std::string_view host = names.vector(2);
  if (names.is_broken() || !names.is_empty() || type != kHostName) return false;
  name.assign(host);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  if (name.ends_with('.')) name.pop_back();
  return !name.empty() && name.size() <= kNameMax && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), is_name_character);
}

bool read_alpn(std::string_view content, std::vector<std::string>& protocols) {
  Reader list(content);
  Reader names(list.vector(2));
  if (list.is_broken() || !list.is_empty() || names.is_empty()) return false;
  while (!names.is_empty()) {
    const std::string_view name = names.vector(1);
    if (names.is_broken() || name.empty()) return false;
    protocols.emplace_back(name);
  }
  return true;
}

// RFC 8446 §4.1.2, from legacy_version on; the same in TLS 1.0 to 1.2.
Status read_hello(std::string_view body, ClientHello& hello) {
  Reader reader(body);
  if (reader.number(2) < 0x0300) return Status::Malformed;
  reader.take(32);
  if (reader.vector(1).size() > 32) return Status::Malformed;  // session id
  const std::string_view ciphers = reader.vector(2);
  const std::string_view compression = reader.vector(1);
  if (reader.is_broken() || ciphers.empty() || compression.empty()) return Status::Malformed;
  if (reader.is_empty()) return Status::Complete;  // no extensions
  Reader extensions(reader.vector(2));
  if (reader.is_broken() || !reader.is_empty()) return Status::Malformed;
  bool has_name = false;
  bool has_alpn = false;
  while (!extensions.is_empty()) {
    const std::size_t type = extensions.number(2);
    const std::string_view content = extensions.vector(2);
    if (extensions.is_broken()) return Status::Malformed;
    if (type == kServerName) {
      if (has_name || !read_server_name(content, hello.server_name)) return Status::Malformed;
      has_name = true;
    } else if (type == kAlpn) {
      if (has_alpn || !read_alpn(content, hello.alpn)) return Status::Malformed;
      has_alpn = true;
    }
  }
  return Status::Complete;
}

// The handshake message at the front of the records of `bytes`, without its head.
Status gather(std::string_view bytes, std::string& message) {
  std::optional<std::size_t> size;
  for (std::size_t records = 0; records < kRecordsMax; ++records) {
    if (!bytes.empty() && static_cast<std::uint8_t>(bytes[0]) != kHandshake) {
      return records == 0 ? Status::NotTls : Status::Malformed;
    }
    if (bytes.size() > 1 && bytes[1] != 3) return records == 0 ? Status::NotTls : Status::Malformed;
    if (bytes.size() < kRecordHead) return Status::Incomplete;
    Reader head(bytes.substr(3, 2));
    const std::size_t length = head.number(2);
    if (length == 0 || length > kRecordMax) return Status::Malformed;
    const std::string_view content = bytes.substr(kRecordHead, length);
    message.append(content);
    if (!size && message.size() >= 4) {
      Reader front(message);
      if (front.number(1) != kHello) return Status::Malformed;
      size = 4 + front.number(3);
      if (*size > kHelloMax) return Status::TooLarge;
    }
    if (size && message.size() >= *size) {
      message.resize(*size);
      message.erase(0, 4);
      return Status::Complete;
    }
    if (content.size() < length) return Status::Incomplete;
    bytes.remove_prefix(kRecordHead + length);
  }
  return Status::TooLarge;
}

}  // namespace

ClientHello parse_client_hello(std::string_view bytes) {
  ClientHello hello;
  std::string message;
  hello.status = gather(bytes, message);
  if (hello.status == Status::Complete) hello.status = read_hello(message, hello);
  if (hello.status != Status::Complete) {
    hello.server_name.clear();
    hello.alpn.clear();
  }
  return hello;
}

std::string_view fatal_alert(std::uint8_t description) {
  using namespace std::string_view_literals;
  return description == kAlertUnrecognizedName ? "\x15\x03\x03\x00\x02\x02\x70"sv
                                               : "\x15\x03\x03\x00\x02\x02\x32"sv;
}

}  // namespace pillion::proxy
