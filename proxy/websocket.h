// What WebSocket's opening handshake needs beyond the heads (RFC 6455 §4).
#pragma once

#include <string>
#include <string_view>

namespace pillion::proxy {

// The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (§4.2.2).
std::string websocket_accept(std::string_view key);

}  // namespace pillion::proxy
