// What a receiver of OTLP answers to an export (opentelemetry-proto, Export…ServiceResponse): all
// is taken but for what "partial success" counts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pillion {

struct OtlpRefusal {
  std::uint64_t count = 0;  // refused for good, unnamed
  std::string why;
};

// `count_name` is what JSON calls the number, such as "rejectedLogRecords". An answer that cannot
// be read refuses nothing.
OtlpRefusal read_otlp_response(std::string_view body, bool is_protobuf, const char* count_name);

}  // namespace pillion
