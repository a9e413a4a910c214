// DNS messages: what is accepted, what is refused, and that nothing breaks the parser.
#include "proxy/dns/message.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

using namespace pillion::proxy::dns;
using namespace std::string_literals;

namespace {

const std::string kHead = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"s;
const std::string kQuestion = "\x03Www\x04test\x00\x00\x01\x00\x01"s;
const std::string kQuery = kHead + kQuestion;

std::string answer_of(std::uint8_t rcode, std::uint8_t answers, std::uint8_t authority,
                      const std::string& records) {
  std::string out = kQuery;
  out[2] = '\x81';
  out[3] = static_cast<char>(0x80 | rcode);
  out[7] = static_cast<char>(answers);
  out[9] = static_cast<char>(authority);
  return out + records;
}

std::string address_record(std::uint8_t ttl) {
  return "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00"s + static_cast<char>(ttl) +
         "\x00\x04\xc0\x00\x02\x07"s;
}

std::string soa_record(std::uint8_t ttl, std::uint8_t minimum) {
  return "\xc0\x0c\x00\x06\x00\x01\x00\x00\x00"s + static_cast<char>(ttl) + "\x00\x16\x00\x00"s +
         std::string(16, '\0') + "\x00\x00\x00"s + static_cast<char>(minimum);
}

}  // namespace

TEST_CASE("a query is read, with its name in lower case") {
  const ParsedQuery parsed = parse_query(kQuery);
  REQUIRE(parsed.kind == QueryKind::Good);
  CHECK(parsed.query.name == "www.test");
  CHECK(parsed.query.type == kTypeA);
  CHECK(parsed.query.question_end == kQuery.size());
  CHECK(parsed.query.udp_bytes == 512);
}

TEST_CASE("EDNS tells the size that the client takes, and keeps cookies out of the cache") {
  std::string with_edns = kQuery + "\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00"s;
  with_edns[11] = 1;
  const ParsedQuery parsed = parse_query(with_edns);
  REQUIRE(parsed.kind == QueryKind::Good);
  CHECK(parsed.query.udp_bytes == 4096);
  CHECK(parsed.query.cache_key != parse_query(kQuery).query.cache_key);
  std::string with_cookie = kQuery + "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x02xy"s;
  with_cookie[11] = 1;
  CHECK(parse_query(with_cookie).query.cache_key.empty());
}

TEST_CASE("what is no query is dropped, and malformed queries are told so") {
  CHECK(parse_query("short").kind == QueryKind::Drop);
  CHECK(parse_query(answer_of(0, 0, 0, "")).kind == QueryKind::Drop);
  CHECK(parse_query(kQuery.substr(0, kQuery.size() - 1)).rcode == Rcode::FormatError);
  std::string two_questions = kQuery;
  two_questions[5] = 2;
  CHECK(parse_query(two_questions).rcode == Rcode::FormatError);
  CHECK(parse_query(kHead + "\xc0\x0c\x00\x01\x00\x01"s).rcode == Rcode::FormatError);
  std::string missing_record = kQuery;
  missing_record[11] = 1;
  CHECK(parse_query(missing_record).rcode == Rcode::FormatError);
  std::string status = kQuery;
  status[2] = '\x11';
  CHECK(parse_query(status).rcode == Rcode::NotImplemented);
  CHECK(parse_query(kHead + "\x04test\x00\x00\xfc\x00\x01"s).rcode == Rcode::Refused);
  std::string too_long = kHead;
  for (int i = 0; i < 5; ++i) too_long += '\x3f' + std::string(63, 'a');
  CHECK(parse_query(too_long + "\x00\x00\x01\x00\x01"s).rcode == Rcode::FormatError);
}

TEST_CASE("answers made here are answers to the query") {
  const Query query = parse_query(kQuery).query;
  const std::string address = make_address_answer(kQuery, query, 0xf0f00001u, 5);
  CHECK(is_answer_to(address, query, 0x1234));
  CHECK(address.substr(address.size() - 4) == "\xf0\xf0\x00\x01"s);
  CHECK(lifetime_of(address) == 5);
  const std::string error = make_error(kQuery, query, Rcode::ServerFailure);
  CHECK(is_answer_to(error, query, 0x1234));
  CHECK(rcode_of(error) == Rcode::ServerFailure);
  CHECK(make_error(kHead, {}, Rcode::FormatError).size() == kHeaderBytes);
  CHECK(is_truncated(make_truncated(address, query)));
}

TEST_CASE("an answer to something else is not taken") {
  const Query query = parse_query(kQuery).query;
  const std::string good = answer_of(0, 1, 0, address_record(60));
  CHECK(is_answer_to(good, query, 0x1234));
  CHECK_FALSE(is_answer_to(good, query, 0x1235));
  CHECK_FALSE(is_answer_to(kQuery, query, 0x1234));
  CHECK_FALSE(is_answer_to(good.substr(0, good.size() - 1), query, 0x1234));
  std::string other_name = good;
  other_name[13] = 'v';
  CHECK_FALSE(is_answer_to(other_name, query, 0x1234));
}

TEST_CASE("the lifetime is the least of the records, by the SOA for what is not there") {
  CHECK(lifetime_of(answer_of(0, 2, 0, address_record(60) + address_record(30))) == 30);
  CHECK(lifetime_of(answer_of(3, 0, 1, soa_record(60, 20))) == 20);
  CHECK(lifetime_of(answer_of(0, 0, 1, soa_record(10, 20))) == 10);
  CHECK_FALSE(lifetime_of(answer_of(3, 0, 0, "")));
  // An alias to a name without such an address: "no data", so the SOA's last number counts.
  const std::string alias = "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c"s;
  CHECK(lifetime_of(answer_of(0, 1, 1, alias + soa_record(60, 20))) == 20);
  CHECK_FALSE(lifetime_of(answer_of(0, 1, 0, alias)));
  CHECK(lifetime_of(answer_of(0, 2, 0, alias + address_record(30))) == 30);
  CHECK_FALSE(lifetime_of(answer_of(2, 0, 0, "")));
  CHECK_FALSE(lifetime_of(answer_of(0, 1, 0, address_record(0))));
}

TEST_CASE("random and damaged bytes never break the parser") {
  std::mt19937 random(20240115);
  const std::string good = answer_of(0, 1, 1, address_record(60) + soa_record(60, 20));
  for (int round = 0; round < 200'000; ++round) {
    std::string bytes = round % 2 == 0 ? good : kQuery;
    if (round % 5 == 0) bytes.assign(random() % 80, '\0');
    const std::size_t damages = bytes.empty() ? 0 : 1 + random() % 8;
    for (std::size_t i = 0; i < damages; ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    bytes.resize(bytes.size() - random() % (bytes.size() / 4 + 1));
    const ParsedQuery parsed = parse_query(bytes);
    if (parsed.kind != QueryKind::Drop) {
      const std::string error = make_error(bytes, parsed.query, parsed.rcode);
      REQUIRE(error.size() >= kHeaderBytes);
      REQUIRE(error.size() <= bytes.size() + 11);
    }
    const std::size_t before = bytes.size();
    if (is_answer_to(bytes, parse_query(kQuery).query, 0x1234)) lifetime_of(bytes);
    lifetime_of(bytes);
    age(bytes, 7);
    REQUIRE(bytes.size() == before);
  }
}
