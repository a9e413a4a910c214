// Heads of HTTP/2 as fields, for requests, responses and trailers: the text made of them is one
// head of HTTP/1 and nothing behind it, or refused; and the model that is made without the parser
// is the one that the parser makes. The first byte chooses; then name, value, name, value …, each
// ended by a byte 255.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/http2_head.h"
#include "runtime/http1/head_parser.h"
#include "runtime/result.h"

using namespace pillion;
using namespace pillion::proxy;

namespace {

std::string_view take(std::string_view& rest) {
  const std::string_view part = rest.substr(0, rest.find('\xff'));
  rest.remove_prefix(std::min(part.size() + 1, rest.size()));
  return part;
}

void assert_same(const http1::Fields& one, const http1::Fields& other) {
  PILLION_ASSERT(one.all().size() == other.all().size());
  for (std::size_t i = 0; i < one.all().size(); ++i) {
    const http1::Field& a = one.all()[i];
    const http1::Field& b = other.all()[i];
    PILLION_ASSERT(one.name(a) == other.name(b) && one.value(a) == other.value(b));
    PILLION_ASSERT(a.id == b.id && a.is_canonical == b.is_canonical);
    PILLION_ASSERT(one.has(a.id) && other.has(a.id));
  }
}

void check_request(Http2HeadReader& reader) {
  const std::string text(reader.finish_request("key"));
  http1::RequestHead parsed, built;
  http1::ParseProgress progress;
  const auto result = http1::parse_request(text, progress, {65535, http1::kFieldsMax}, parsed);
  const bool is_parsed = result.status == http1::ParseStatus::Done;
  if (is_parsed) PILLION_ASSERT(result.head_bytes == text.size());
  if (!reader.build_request(built)) return;
  PILLION_ASSERT(is_parsed);
  PILLION_ASSERT(built.method == parsed.method && built.target == parsed.target);
  PILLION_ASSERT(built.path == parsed.path && built.authority == parsed.authority);
  PILLION_ASSERT(built.version == parsed.version && built.form == parsed.form);
  assert_same(built.fields, parsed.fields);
}

void check_response(Http2HeadReader& reader) {
  const std::string text(reader.finish_response());
  http1::ResponseHead parsed, built;
  http1::ParseProgress progress;
  const auto result = http1::parse_response(text, progress, {65535, http1::kFieldsMax}, parsed);
  const bool is_parsed = result.status == http1::ParseStatus::Done;
  if (is_parsed) PILLION_ASSERT(result.head_bytes == text.size());
  if (!reader.build_response(built)) return;
  PILLION_ASSERT(is_parsed);
  PILLION_ASSERT(built.status == parsed.status && built.reason == parsed.reason);
  assert_same(built.fields, parsed.fields);
}

void check_trailers(Http2HeadReader& reader) {
  const std::string text(reader.finish_trailers());
  http1::Fields parsed;
  const auto result = http1::parse_field_section(text, {65535, http1::kFieldsMax}, parsed);
  if (result.status == http1::ParseStatus::Done) PILLION_ASSERT(result.head_bytes == text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  static Http2HeadReader reader;  // as in a session: one for all heads
  reader.clear();
  while (!rest.empty()) {
    const std::string_view name = take(rest);
    reader.add(name, take(rest), 60 * 1024, http1::kFieldsMax);
  }
  if (reader.is_too_large()) return 0;
  switch (data[0] % 3) {
    case 0: check_request(reader); break;
    case 1: check_response(reader); break;
    default: check_trailers(reader); break;
  }
  return 0;
}
