// DNS messages of clients and servers: never a crash, and what is made of a query is a whole answer
// to it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "proxy/dns/cache.h"
#include "proxy/dns/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pillion::proxy::dns;
  const std::string packet(reinterpret_cast<const char*>(data), size);
  const ParsedQuery parsed = parse_query(packet);
  if (parsed.kind == QueryKind::Bad)
    static_cast<void>(make_error(packet, parsed.query, parsed.rcode));
  if (parsed.kind == QueryKind::Good) {
    const std::string answer = make_address_answer(packet, parsed.query, 0xf0f00001u, 5);
    if (!is_answer_to(answer, parsed.query, id_of(packet))) std::abort();
    if (!is_truncated(make_truncated(answer, parsed.query))) std::abort();
  }
  // As an answer, to the question that it repeats.
  std::string answer = packet;
  Cache cache;
  cache.put("key", answer, 0);
  static_cast<void>(cache.find("key", 7));
  age(answer, 7);
  if (answer.size() != packet.size()) std::abort();
  if (size < kHeaderBytes) return 0;
  std::string as_query = packet;
  as_query[2] = static_cast<char>(as_query[2] & 0x01);
  const ParsedQuery question = parse_query(as_query);
  if (question.kind == QueryKind::Good && is_answer_to(packet, question.query, id_of(packet))) {
    static_cast<void>(make_truncated(packet, question.query));
    static_cast<void>(lifetime_of(packet));
  }
  return 0;
}
