// Whatever an env_file holds, it is read as variables with proper names, or refused with its line.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "supervisor/host/env_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto env = pillion::supervisor::host::parse_env_file(text, "f");
  if (!env) {
    if (!env.error().message().starts_with("f:")) std::abort();
    return 0;
  }
  for (const auto& [name, value] : *env) {
    if (name.empty() || name.find('=') != std::string::npos) std::abort();
    if (value.find('\0') != std::string::npos || value.size() > size) std::abort();
  }
  return 0;
}
