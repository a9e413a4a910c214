// What a receiver of OTLP did not take.
#include <catch2/catch.hpp>

#include "runtime/otlp_response.h"

using pillion::OtlpRefusal;
using pillion::read_otlp_response;

namespace {

constexpr const char* kCount = "rejectedDataPoints";

}  // namespace

TEST_CASE("What a receiver refused is read from both encodings") {
  const OtlpRefusal json = read_otlp_response(
      R"({"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too old"}})", false, kCount);
  CHECK(json.count == 3);
  CHECK(json.why == "too old");
  const OtlpRefusal binary =
      read_otlp_response(std::string("\x0a\x06\x08\x02\x12\x02no", 8), true, kCount);
  CHECK(binary.count == 2);
  CHECK(binary.why == "no");
  CHECK(read_otlp_response("", true, kCount).count == 0);
  CHECK(read_otlp_response("{}", false, kCount).count == 0);
  CHECK(read_otlp_response("\x0a\xff\xff\xff\xff", true, kCount).count == 0);
}
