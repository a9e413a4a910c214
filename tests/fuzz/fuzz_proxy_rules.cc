// What the rules read of a request: its path, and a JSON body. The first line is the path, the
// second a JSON pointer, the rest the document.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "proxy/rules/json_value.h"
#include "proxy/rules/path.h"

using namespace pillion::proxy;

namespace {

std::string_view take_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(line.size() == rest.size() ? line.size() : line.size() + 1);
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  if (const auto path = normalise_path(take_line(rest))) {
    // A path that was read once reads the same again, and holds nothing that walks upwards.
    if (path->find("/../") != std::string::npos || path->find("//") != std::string::npos)
      std::abort();
    if (path->find('?') == std::string::npos && normalise_path(*path) != path) std::abort();
  }
  const auto pointer = split_json_pointer(take_line(rest));
  find_json_value(rest, pointer);
  return 0;
}
