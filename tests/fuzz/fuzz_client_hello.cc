// The parser of ClientHellos: whatever comes first on a connection. More bytes never change what
// was decided from fewer.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "proxy/client_hello.h"

using pillion::proxy::ClientHello;
using pillion::proxy::parse_client_hello;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const ClientHello whole = parse_client_hello(bytes);
  for (const std::size_t part : {size / 2, size - size / 8}) {
    const ClientHello begun = parse_client_hello(bytes.substr(0, part));
    if (begun.status == ClientHello::Status::Incomplete) continue;
    if (begun.status != whole.status || begun.server_name != whole.server_name) std::abort();
  }
  if (whole.status != ClientHello::Status::Complete && !whole.server_name.empty()) std::abort();
  return 0;
}
