// DNS messages (RFC 1035 §4, EDNS: RFC 6891) as far as a forwarder must understand them: one
// question, the lifetimes of records, and answers made here. Every input may be hostile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pillion::proxy::dns {

enum class Rcode : std::uint8_t {
  NoError = 0,
  FormatError = 1,
  ServerFailure = 2,
  NameError = 3,
  NotImplemented = 4,
  Refused = 5
};

inline constexpr std::uint16_t kTypeA = 1;
inline constexpr std::size_t kHeaderBytes = 12;
inline constexpr std::size_t kPlainUdpBytes = 512;  // without EDNS

struct Query {
  std::string name;  // lower case, "www.example.com"; "" is the root
  std::uint16_t type = 0;
  std::uint16_t record_class = 0;
  std::size_t question_end = 0;            // offset of what follows the question
  std::size_t udp_bytes = kPlainUdpBytes;  // the largest answer that the client takes by UDP
  bool has_edns = false;
  std::string cache_key;  // empty: the answer is for this client alone
};

enum class QueryKind : std::uint8_t {
  Good,
  Bad,   // answer with `rcode`
  Drop,  // not a query at all: an answer could go on for ever between two servers
};

struct ParsedQuery {
  QueryKind kind = QueryKind::Drop;
  Rcode rcode = Rcode::NoError;
  Query query;
};

ParsedQuery parse_query(std::string_view packet);

// An answer without records; the question is repeated when `query` has one.
std::string make_error(std::string_view packet, const Query& query, Rcode rcode);
// One address, or none of that type ("no data") when `v4` (host order) is empty.
std::string make_address_answer(std::string_view packet, const Query& query,
                                std::optional<std::uint32_t> v4, std::uint32_t ttl_seconds);

// `answer` with the TC bit and without records: the client asks again by TCP.
std::string make_truncated(std::string_view answer, const Query& query);

// Whether `answer` is whole and answers this query under that id.
bool is_answer_to(std::string_view answer, const Query& query, std::uint16_t id);
bool is_truncated(std::string_view message);
Rcode rcode_of(std::string_view message);
std::uint16_t id_of(std::string_view message);
void set_id(std::string& message, std::uint16_t id);

// Seconds that a whole answer may be kept: the least of its records, for "no such name" and "no
// data" by the SOA record (RFC 2308 §5). Empty: not at all.
std::optional<std::uint32_t> lifetime_of(std::string_view answer);
// Takes the seconds that it was kept from every record.
void age(std::string& answer, std::uint32_t seconds);

}  // namespace pillion::proxy::dns
