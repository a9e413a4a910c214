// The parsed model of an HTTP/1 message head: start line and fields as offsets into the bytes it
// was parsed from, in their order and letter case. Nothing is copied and nothing allocated: a head
// is valid as long as those bytes are, and `rebase` follows them when they move.
//
// One head object is meant to be reused for many messages (it is about 1 KiB; a worker has one).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/http1/syntax.h"

namespace pillion::http1 {

enum class Version : std::uint8_t { Http10, Http11 };

// Where a head stops being accepted: 431 (414 while still in the request line).
struct Limits {
  std::size_t head_bytes_max = 60 * 1024;  // never above 65535: offsets are 16 bits wide
  std::size_t fields_max = 100;            // never above kFieldsMax
};
inline constexpr std::size_t kFieldsMax = 100;

// The fields that decisions are made on; found once, while parsing.
enum class FieldId : std::uint8_t {
  Other,
  Host,
  Connection,
  ContentLength,
  TransferEncoding,
  Te,
  Trailer,
  Upgrade,
  KeepAlive,
  ProxyConnection,
  Expect,
  Via,
  RequestId,  // X-Request-ID
  Authorization,
  Forwarded,  // Forwarded, X-Forwarded-*, X-Real-IP
  Trace,      // traceparent, tracestate, baggage
  Date,
  Server,
  ContentType,
  UserAgent,
};

FieldId classify_field(std::string_view name);

struct Field {
  std::uint16_t name_begin = 0;
  std::uint16_t name_size = 0;
  std::uint16_t value_begin = 0;
  std::uint16_t value_size = 0;
  FieldId id = FieldId::Other;
  bool is_canonical = false;  // "Name: value CRLF" exactly, so the line may be copied as it is
  bool is_removed = false;    // not forwarded; see hop_by_hop.h
};

// The fields of a head or of a trailer section.
class Fields {
 public:
  std::span<const Field> all() const { return {fields_.data(), count_}; }
  std::span<Field> all() { return {fields_.data(), count_}; }
  std::string_view name(const Field& field) const {
    return {base_ + field.name_begin, field.name_size};
  }
  std::string_view value(const Field& field) const {
    return {base_ + field.value_begin, field.value_size};
  }

  bool has(FieldId id) const { return (present_ & bit(id)) != 0; }
  std::size_t count(FieldId id) const;
  // The first value; empty when there is none (ask has() to tell it from an empty value).
  std::string_view find(FieldId id) const;
  // By name, for what has no id; `lower` in lower case. nullptr when absent.
  const Field* find(std::string_view lower) const;

  // Whether a list-valued field holds `lower` as an element (Connection: close), case folded.
  bool has_list_element(FieldId id, std::string_view lower) const;

  const char* base() const { return base_; }
  void rebase(const char* base) { base_ = base; }
  void clear(const char* base) {
    base_ = base;
    count_ = 0;
    present_ = 0;
  }
  // False when the table is full.
  bool add(const Field& field) {
    if (count_ == kFieldsMax) return false;
    present_ |= bit(field.id);
    fields_[count_++] = field;
    return true;
  }

 private:
  static std::uint32_t bit(FieldId id) { return 1u << static_cast<unsigned>(id); }

  const char* base_ = nullptr;
  std::size_t count_ = 0;
  std::uint32_t present_ = 0;
  std::array<Field, kFieldsMax> fields_;
};

// RFC 9112 §3.2.
enum class TargetForm : std::uint8_t { Origin, Absolute, Authority, Asterisk };

struct RequestHead {
  Fields fields;
  Version version = Version::Http11;
  TargetForm form = TargetForm::Origin;
  std::string_view method;  // a token, case kept
  std::string_view target;  // as sent
  std::string_view
      authority;          // of the target when it is absolute, else of Host; may be empty in 1.0
  std::string_view path;  // path and query to send on: always starts with '/', or is "*"

  void rebase(const char* base);
  bool is_head() const { return method == "HEAD"; }
  bool is_connect() const { return method == "CONNECT"; }
};

struct ResponseHead {
  Fields fields;
  Version version = Version::Http11;
  int status = 0;           // 100…999
  std::string_view reason;  // may be empty

  void rebase(const char* base);
  bool is_informational() const { return status < 200; }
};

// Whether the sender of this head lets the connection persist after the message (RFC 9112 §9.3).
bool wants_keep_alive(const Fields& fields, Version version);

}  // namespace pillion::http1
