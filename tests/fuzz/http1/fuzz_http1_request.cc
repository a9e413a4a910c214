// The request parser, its framing decision and the serialiser: whatever is accepted must be
// accepted again, with the same meaning, after it was written anew. That is the property that makes
// request smuggling through a re-serialising proxy impossible.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/http1/framing.h"
#include "runtime/http1/head_parser.h"
#include "runtime/http1/head_writer.h"
#include "runtime/http1/hop_by_hop.h"

using namespace pillion::http1;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  RequestHead head;
  ParseProgress progress;
  const ParseResult result = parse_request(bytes, progress, {}, head);
  if (result.status != ParseStatus::Done) return 0;
  require(result.head_bytes <= size);

  // In two pieces, the outcome is the same.
  RequestHead again;
  ParseProgress piecewise;
  const auto first = parse_request(bytes.substr(0, size / 2), piecewise, {}, again);
  if (first.status != ParseStatus::Done) {
    require(first.status == ParseStatus::NeedMore);
    require(parse_request(bytes, piecewise, {}, again).head_bytes == result.head_bytes);
  }

  const FramingResult framing = request_framing(head);
  if (!framing.is_ok()) return 0;
  remove_hop_by_hop(head.fields, false);
  std::string out;
  HeadWriter writer(out);
  require(head.is_connect() || head.path.starts_with('/') || head.path == "*");
  writer.request_line(head.method, head.is_connect() ? head.target : head.path);
  if (head.authority.empty()) return 0;
  for (Field& field : head.fields.all()) {
    if (field.id == FieldId::Host) field.is_removed = true;
  }
  writer.field("Host", head.authority);
  writer.fields(head.fields);
  if (framing.framing.kind == BodyKind::Length) writer.content_length(framing.framing.length);
  if (framing.framing.kind == BodyKind::Chunked) writer.chunked();
  writer.end();
  if (out.size() > Limits{}.head_bytes_max) return 0;

  RequestHead second;
  ParseProgress fresh;
  const ParseResult rewritten = parse_request(out, fresh, {.head_bytes_max = 65535}, second);
  if (rewritten.status == ParseStatus::Failed) require(rewritten.error.status == 431);
  if (rewritten.status != ParseStatus::Done) return 0;
  require(rewritten.head_bytes == out.size());
  require(second.method == head.method);
  const FramingResult reframed = request_framing(second);
  require(reframed.is_ok());
  require(reframed.framing.kind == framing.framing.kind);
  require(reframed.framing.length == framing.framing.length);
  return 0;
}
