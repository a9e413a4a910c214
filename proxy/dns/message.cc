#include "proxy/dns/message.h"

#include <algorithm>
#include <functional>

namespace pillion::proxy::dns {
namespace {

constexpr std::uint16_t kTypeSoa = 6;
constexpr std::uint16_t kTypeOpt = 41;
constexpr std::uint16_t kTypeIxfr = 251;
constexpr std::uint16_t kTypeAxfr = 252;
constexpr std::uint16_t kTypeAny = 255;
constexpr std::uint16_t kClassInternet = 1;
constexpr std::uint16_t kEdnsUdpBytes = 1232;  // fits any path unfragmented (DNS flag day 2020)
constexpr std::size_t kNameBytesMax = 255;
constexpr std::uint32_t kLifetimeMax = 86'400;
constexpr std::uint32_t kNegativeLifetimeMax = 900;

// Of the header's second and third byte.
constexpr std::uint8_t kResponse = 0x80;
constexpr std::uint8_t kOpcode = 0x78;
constexpr std::uint8_t kTruncated = 0x02;
constexpr std::uint8_t kRecursionDesired = 0x01;
constexpr std::uint8_t kRecursionAvailable = 0x80;
constexpr std::uint8_t kAuthenticData = 0x20;
constexpr std::uint8_t kCheckingDisabled = 0x10;

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

std::uint16_t u16_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}

std::uint32_t u32_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint32_t>(u16_at(bytes, at)) << 16 | u16_at(bytes, at + 2);
}

void put_u16(std::string& out, unsigned value) {
  out += static_cast<char>(value >> 8 & 0xff);
  out += static_cast<char>(value & 0xff);
}

void put_u32(std::string& out, std::uint32_t value) {
  put_u16(out, value >> 16);
  put_u16(out, value & 0xffff);
}

void set_u16(std::string& out, std::size_t at, unsigned value) {
  out[at] = static_cast<char>(value >> 8 & 0xff);
  out[at + 1] = static_cast<char>(value & 0xff);
}

// Where a name ends, not following pointers; npos when it does not end in the message.
std::size_t end_of_name(std::string_view bytes, std::size_t at) {
  const std::size_t begin = at;
  while (at < bytes.size() && at - begin <= kNameBytesMax) {
    const std::uint8_t length = byte_at(bytes, at);
    if (length == 0) return at + 1;
    if ((length & 0xc0) == 0xc0) return at + 2 <= bytes.size() ? at + 2 : std::string_view::npos;
    if ((length & 0xc0) != 0) return std::string_view::npos;
    at += 1u + length;
  }
  return std::string_view::npos;
}

// The question after the header, without pointers. False when it is malformed.
bool read_question(std::string_view bytes, Query& query) {
  std::size_t at = kHeaderBytes;
  while (true) {
    if (at >= bytes.size()) return false;
    const std::uint8_t length = byte_at(bytes, at++);
    if (length == 0) break;
    if (length > 63 || at + length > bytes.size()) return false;
    if (!query.name.empty()) query.name += '.';
    for (std::size_t i = 0; i < length; ++i) {
      const char c = bytes[at + i];
      query.name += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    }
    at += length;
    if (at - kHeaderBytes >= kNameBytesMax) return false;
  }
  if (at + 4 > bytes.size()) return false;
  query.type = u16_at(bytes, at);
  query.record_class = u16_at(bytes, at + 2);
  query.question_end = at + 4;
  return true;
}

struct Record {
  std::uint16_t type = 0;
  std::uint16_t record_class = 0;
  std::size_t ttl_at = 0;
  std::size_t data_at = 0;
  std::size_t data_bytes = 0;
};

// Every record behind the question. False when the message ends before its last record does.
bool for_each_record(std::string_view bytes, std::size_t at,
                     const std::function<void(const Record&)>& visit) {
  const unsigned count = 0u + u16_at(bytes, 6) + u16_at(bytes, 8) +
                         u16_at(bytes, 10);  // answer, authority, additional
  for (unsigned i = 0; i < count; ++i) {
    at = end_of_name(bytes, at);
    if (at == std::string_view::npos || at + 10 > bytes.size()) return false;
    Record record{u16_at(bytes, at), u16_at(bytes, at + 2), at + 4, at + 10, u16_at(bytes, at + 8)};
    at = record.data_at + record.data_bytes;
    if (at > bytes.size()) return false;
    visit(record);
  }
  return true;
}

std::string key_of(std::string_view packet, const Query& query, bool wants_dnssec) {
  std::string key = query.name;
  key += '\0';
  put_u16(key, query.type);
  put_u16(key, query.record_class);
  key += static_cast<char>(byte_at(packet, 2) & kRecursionDesired);
  key += static_cast<char>(byte_at(packet, 3) & (kAuthenticData | kCheckingDisabled));
  key += query.has_edns ? (wants_dnssec ? 'D' : 'E') : '-';
  return key;
}

// Header and question of an answer to `packet`.
std::string begin_answer(std::string_view packet, const Query& query, Rcode rcode) {
  const std::size_t end = query.question_end;
  std::string out(packet.substr(0, std::max(end, kHeaderBytes)));
  const std::uint8_t kept = byte_at(packet, 2) & (kOpcode | kRecursionDesired);
  out[2] = static_cast<char>(kResponse | kept);
  out[3] = static_cast<char>(kRecursionAvailable | static_cast<std::uint8_t>(rcode));
  set_u16(out, 4, end > 0 ? 1 : 0);
  for (const std::size_t at : {6, 8, 10}) set_u16(out, at, 0);
  return out;
}

void finish_answer(std::string& out, const Query& query) {
  if (!query.has_edns) return;
  set_u16(out, 10, 1);
  out += '\0';
  put_u16(out, kTypeOpt);
  put_u16(out, kEdnsUdpBytes);
  put_u32(out, 0);
  put_u16(out, 0);
}

// Whether there is what was asked for; an alias that leads to nothing is "no data" (RFC 2308 §2.2).
bool has_answer(std::string_view answer, const Query& query) {
  bool has = false;
  unsigned index = 0;
  const unsigned count = u16_at(answer, 6);
  for_each_record(answer, query.question_end, [&](const Record& record) {
    has |= index++ < count && (record.type == query.type || query.type == kTypeAny);
  });
  return has;
}

}  // namespace

ParsedQuery parse_query(std::string_view packet) {
  ParsedQuery parsed;
  if (packet.size() < kHeaderBytes || (byte_at(packet, 2) & kResponse) != 0) return parsed;
  Query& query = parsed.query;
  parsed.kind = QueryKind::Bad;
  if ((byte_at(packet, 2) & kOpcode) != 0) {
    parsed.rcode = Rcode::NotImplemented;
    return parsed;
  }
  parsed.rcode = Rcode::FormatError;
  if (u16_at(packet, 4) != 1 || !read_question(packet, query)) {
    query = {};
    return parsed;
  }
  bool is_private = false, wants_dnssec = false;
  const bool is_whole = for_each_record(packet, query.question_end, [&](const Record& record) {
    if (record.type != kTypeOpt) return;
    query.has_edns = true;
    query.udp_bytes = std::max<std::size_t>(kPlainUdpBytes, record.record_class);
    is_private |= record.data_bytes > 0;  // cookies, client subnets
    wants_dnssec |= (byte_at(packet, record.ttl_at + 2) & 0x80) != 0;
  });
  if (!is_whole) return parsed;
  if (query.type == kTypeIxfr || query.type == kTypeAxfr) {
    parsed.rcode = Rcode::Refused;
    return parsed;
  }
  if (!is_private) query.cache_key = key_of(packet, query, wants_dnssec);
  parsed.kind = QueryKind::Good;
  parsed.rcode = Rcode::NoError;
  return parsed;
}

std::string make_error(std::string_view packet, const Query& query, Rcode rcode) {
  std::string out = begin_answer(packet, query, rcode);
  finish_answer(out, query);
  return out;
}

std::string make_address_answer(std::string_view packet, const Query& query,
                                std::optional<std::uint32_t> v4, std::uint32_t ttl_seconds) {
  std::string out = begin_answer(packet, query, Rcode::NoError);
  if (v4) {
    set_u16(out, 6, 1);
    put_u16(out, 0xc000u | kHeaderBytes);  // the question's name
    put_u16(out, kTypeA);
    put_u16(out, kClassInternet);
    put_u32(out, ttl_seconds);
    put_u16(out, 4);
    put_u32(out, *v4);
  }
  finish_answer(out, query);
  return out;
}

std::string make_truncated(std::string_view answer, const Query& query) {
  std::string out(answer.substr(0, query.question_end));
  out[2] = static_cast<char>(byte_at(answer, 2) | kTruncated);
  for (const std::size_t at : {6, 8, 10}) set_u16(out, at, 0);
  finish_answer(out, query);
  return out;
}

bool is_answer_to(std::string_view answer, const Query& query, std::uint16_t id) {
  if (answer.size() < kHeaderBytes || (byte_at(answer, 2) & kResponse) == 0) return false;
  if (id_of(answer) != id || u16_at(answer, 4) != 1) return false;
  Query asked;
  if (!read_question(answer, asked)) return false;
  if (asked.name != query.name || asked.question_end != query.question_end ||
      asked.type != query.type || asked.record_class != query.record_class) {
    return false;
  }
  // What is cut off is asked for again; how it was cut does not matter.
  return is_truncated(answer) || for_each_record(answer, asked.question_end, [](const Record&) {});
}

bool is_truncated(std::string_view message) { return (byte_at(message, 2) & kTruncated) != 0; }

Rcode rcode_of(std::string_view message) { return static_cast<Rcode>(byte_at(message, 3) & 0x0f); }

std::uint16_t id_of(std::string_view message) { return u16_at(message, 0); }
void set_id(std::string& message, std::uint16_t id) { set_u16(message, 0, id); }

std::optional<std::uint32_t> lifetime_of(std::string_view answer) {
  Query query;
  if (answer.size() < kHeaderBytes || is_truncated(answer) || !read_question(answer, query)) {
    return std::nullopt;
  }
  const Rcode rcode = rcode_of(answer);
  if (rcode != Rcode::NoError && rcode != Rcode::NameError) return std::nullopt;
  const bool is_negative = rcode == Rcode::NameError || !has_answer(answer, query);
  std::uint32_t least = is_negative ? kNegativeLifetimeMax : kLifetimeMax;
  bool has_soa = false;
  const bool is_whole = for_each_record(answer, query.question_end, [&](const Record& record) {
    if (record.type == kTypeOpt) return;
    std::uint32_t ttl = u32_at(answer, record.ttl_at);
    if (ttl > INT32_MAX) ttl = 0;  // RFC 2181 §8
    least = std::min(least, ttl);
    if (record.type != kTypeSoa || record.data_bytes < 20) return;
    has_soa = true;
    if (!is_negative) return;
    least = std::min(least, u32_at(answer, record.data_at + record.data_bytes - 4));
  });
  if (!is_whole || least == 0 || (is_negative && !has_soa)) return std::nullopt;
  return least;
}

void age(std::string& answer, std::uint32_t seconds) {
  Query query;
  if (answer.size() < kHeaderBytes || !read_question(answer, query)) return;
  for_each_record(answer, query.question_end, [&](const Record& record) {
    if (record.type == kTypeOpt) return;
    const std::uint32_t ttl = u32_at(answer, record.ttl_at);
    const std::uint32_t left = ttl > seconds ? ttl - seconds : 0;
    set_u16(answer, record.ttl_at, left >> 16);
    set_u16(answer, record.ttl_at + 2, left & 0xffff);
  });
}

}  // namespace pillion::proxy::dns
