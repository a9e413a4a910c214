// Whatever a server answers to a health check, it is one of the four statuses or none.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "supervisor/probe/health_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const auto status = pillion::supervisor::probe::parse_health_answer(body);
  if (status && (body.size() < 5 || static_cast<int>(*status) > 3)) std::abort();
  return 0;
}
