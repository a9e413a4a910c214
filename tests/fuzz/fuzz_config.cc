// Whatever a service file holds, loading ends with a value or with problems; a value renders to
// text that loads to the same value.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/load.h"
#include "config/render.h"
#include "runtime/result.h"

using namespace pillion::config;

namespace {

LoadOptions fixed_options() {
  LoadOptions options;
  options.lookup_env = [](std::string_view name) -> std::optional<std::string> {
    if (name.size() % 2 == 0) return std::nullopt;
    return "value-of-" + std::string(name);
  };
  options.lookup_user = [](std::string_view name) -> std::optional<UserIds> {
    if (name == "nobody") return std::nullopt;
    return UserIds{static_cast<std::uint32_t>(name.size()), 1};
  };
  return options;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const LoadOptions options = fixed_options();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto first = parse_service(text, "fuzz.toml", options);
  format_text(first.diagnostics);
  format_json(first.diagnostics);
  PILLION_ASSERT(first.value.has_value() != has_errors(first.diagnostics));
  if (!first.value) return 0;
  const auto second = parse_service(render_service(*first.value), "fuzz.toml", options);
  PILLION_ASSERT(second.value.has_value());
  PILLION_ASSERT(*first.value == *second.value);
  return 0;
}
