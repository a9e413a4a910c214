#include "runtime/http1/framing.h"

namespace pillion::http1 {
namespace {

FramingResult refuse(int status, std::string_view reason) {
  FramingResult result;
  result.error = {status, reason};
  return result;
}

// One field line, one value: `chunked`. RFC 9112 §6.1 allows more, which nobody sends honestly.
FramingResult transfer_encoding_framing(const Fields& fields) {
  if (fields.count(FieldId::TransferEncoding) > 1) {
    return refuse(400, "the message has more than one Transfer-Encoding");
  }
  const std::string_view value = fields.find(FieldId::TransferEncoding);
  FramingResult result;
  result.framing.kind = BodyKind::Chunked;
  if (equals_ignoring_case(value, "chunked")) return result;

  std::string_view rest = value;
  std::string_view element;
  bool is_last_chunked = false;
  int chunked_count = 0;
  while (next_list_element(rest, element)) {
    if (!is_token(element)) return refuse(400, "the Transfer-Encoding is malformed");
    is_last_chunked = equals_ignoring_case(element, "chunked");
    chunked_count += is_last_chunked ? 1 : 0;
  }
  if (!is_last_chunked) return refuse(400, "chunked is not the final transfer coding");
  if (chunked_count > 1) return refuse(400, "chunked is applied more than once");
  return refuse(501, "the transfer coding is not supported");
}

FramingResult content_length_framing(const Fields& fields) {
  std::string_view first;
  bool is_first = true;
  for (const Field& field : fields.all()) {
    if (field.id != FieldId::ContentLength) continue;
    const std::string_view value = fields.value(field);
    if (is_first) {
      first = value;
      is_first = false;
    } else if (value != first) {
      return refuse(400, "the message has differing Content-Lengths");
    }
  }
  const auto length = parse_decimal(first);
  if (!length) return refuse(400, "the Content-Length is not a number of bytes");
  FramingResult result;
  result.framing = {BodyKind::Length, *length};
  return result;
}

FramingResult declared_framing(const Fields& fields, Version version, BodyKind otherwise) {
  const bool has_length = fields.has(FieldId::ContentLength);
  if (fields.has(FieldId::TransferEncoding)) {
    if (has_length) {
      return refuse(400, "the message has both Transfer-Encoding and Content-Length");
    }
    if (version == Version::Http10) return refuse(400, "Transfer-Encoding came with HTTP/1.0");
    return transfer_encoding_framing(fields);
  }
  if (has_length) return content_length_framing(fields);
  FramingResult result;
  result.framing.kind = otherwise;
  return result;
}

}  // namespace

FramingResult request_framing(const RequestHead& head) {
  return declared_framing(head.fields, head.version, BodyKind::None);
}

FramingResult response_framing(const ResponseHead& head, bool is_head_request) {
  if (is_head_request || head.is_informational() || head.status == 204 || head.status == 304) {
    return {};
  }
  FramingResult result = declared_framing(head.fields, head.version, BodyKind::UntilClose);
  if (!result.is_ok()) result.error.status = 502;
  return result;
}

}  // namespace pillion::http1
