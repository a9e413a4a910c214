// The chunked decoder and the trailer parser: cutting the bytes elsewhere never changes the body.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/http1/chunked.h"
#include "runtime/http1/hop_by_hop.h"

using namespace pillion::http1;

namespace {

struct Decoded {
  std::string body;
  std::string trailers;
  std::size_t consumed = 0;
  ChunkedDecoder::Event end = ChunkedDecoder::Event::NeedMore;
};

Decoded decode(std::string_view bytes, std::size_t piece) {
  ChunkedDecoder decoder;
  Decoded out;
  while (out.consumed < bytes.size() && out.end == ChunkedDecoder::Event::NeedMore) {
    std::string_view part = bytes.substr(out.consumed, piece);
    while (true) {
      const auto step = decoder.next(part);
      out.body += step.data;
      out.consumed += step.consumed;
      part.remove_prefix(step.consumed);
      if (step.event == ChunkedDecoder::Event::Data) continue;
      out.end = step.event;
      break;
    }
  }
  out.trailers = decoder.trailer_section();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Decoded whole = decode(bytes, size + 1);
  const Decoded pieces = decode(bytes, size % 7 + 1);
  if (whole.end != pieces.end || whole.body != pieces.body || whole.consumed != pieces.consumed) {
    std::abort();
  }
  if (whole.end == ChunkedDecoder::Event::Done && !whole.trailers.empty()) {
    Fields fields;
    if (parse_field_section(whole.trailers, {}, fields).status == ParseStatus::Done) {
      remove_forbidden_trailers(fields);
    }
  }
  return 0;
}
