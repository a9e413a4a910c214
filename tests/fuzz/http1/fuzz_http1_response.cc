// The response parser and its framing decision.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/http1/framing.h"
#include "runtime/http1/head_parser.h"
#include "runtime/http1/head_writer.h"
#include "runtime/http1/hop_by_hop.h"

using namespace pillion::http1;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ResponseHead head;
  ParseProgress progress;
  const ParseResult result = parse_response(bytes, progress, {}, head);
  if (result.status != ParseStatus::Done) return 0;
  if (result.head_bytes > size) std::abort();
  const FramingResult framing = response_framing(head, (size & 1) != 0);
  if (!framing.is_ok()) return 0;
  remove_hop_by_hop(head.fields, false);
  std::string out;
  HeadWriter writer(out);
  writer.status_line(head.status, head.reason);
  writer.fields(head.fields);
  writer.end();
  ResponseHead second;
  ParseProgress fresh;
  const ParseResult rewritten = parse_response(out, fresh, {.head_bytes_max = 65535}, second);
  if (rewritten.status == ParseStatus::Failed && out.size() < 60000) std::abort();
  if (rewritten.status == ParseStatus::Done && second.status != head.status) std::abort();
  return 0;
}
