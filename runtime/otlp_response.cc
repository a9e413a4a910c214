#include "runtime/otlp_response.h"

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "runtime/protobuf.h"

namespace pillion {
namespace {

OtlpRefusal read_json(std::string_view body, const char* count_name) {
  OtlpRefusal refusal;
  const auto document = nlohmann::json::parse(body, nullptr, false);
  if (!document.is_object() || !document.contains("partialSuccess")) return refusal;
  const auto& partial = document["partialSuccess"];
  if (!partial.is_object()) return refusal;
  if (const auto count = partial.find(count_name); count != partial.end()) {
    // A decimal string, or a number.
    const std::string text = count->is_string() ? count->get<std::string>() : count->dump();
    refusal.count = std::strtoull(text.c_str(), nullptr, 10);
  }
  const auto why = partial.find("errorMessage");
  if (why != partial.end() && why->is_string()) refusal.why = why->get<std::string>();
  return refusal;
}

OtlpRefusal read_protobuf(std::string_view body) {
  OtlpRefusal refusal;
  if (protobuf::take_varint(body) != (1 << 3 | 2)) return refusal;  // partial_success
  std::string_view partial = protobuf::take_bytes(body);
  while (!partial.empty()) {
    const std::uint64_t tag = protobuf::take_varint(partial);
    if (tag == 1 << 3) {
      refusal.count = protobuf::take_varint(partial);
    } else if (tag == (2 << 3 | 2)) {
      refusal.why = protobuf::take_bytes(partial);
    } else {
      break;
    }
  }
  return refusal;
}

}  // namespace

OtlpRefusal read_otlp_response(std::string_view body, bool is_protobuf, const char* count_name) {
  return is_protobuf ? read_protobuf(body) : read_json(body, count_name);
}

}  // namespace pillion
