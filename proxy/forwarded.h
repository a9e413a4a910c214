// What the app is told of the client: X-Forwarded-For, -Proto, -Host, and Forwarded (RFC 7239).
// What a client says of itself is not believed, unless it came through proxies that are trusted;
// then what those wrote is kept, and nothing before it.
#pragma once

#include <string>
#include <string_view>

#include "proxy/downstream.h"
#include "runtime/http1/head.h"

namespace pillion::proxy {

// What the views of a Forwarded may point into.
struct ForwardedMemory {
  char peer[Address::kTextBytesMax];
  std::string lists;

  ForwardedMemory() {}  // `peer` stays uninitialised: it is filled before it is read
};

// Values to be written; empty ones are not. Views of the context, the head and the memory.
struct Forwarded {
  std::string_view client;     // X-Forwarded-For
  std::string_view proto;      // X-Forwarded-Proto
  std::string_view host;       // X-Forwarded-Host
  std::string_view forwarded;  // Forwarded
};

// Marks as removed in `head` what must not travel, and says what is written instead. Inbound only.
Forwarded describe_client(const DownstreamContext& context, http1::RequestHead& head,
                          std::string_view authority, ForwardedMemory& memory);

// Of an address with its port: "10.0.0.1:80" → "10.0.0.1", "[::1]:80" → "::1".
std::string_view client_ip(std::string_view peer);

// Whether what this peer says of its clients is believed.
bool is_trusted_proxy(const config::ProxyInbound& inbound, const Address& peer);

// The last `count` elements of a comma-separated list; commas in quoted strings do not separate.
std::string_view last_elements(std::string_view list, unsigned count);

}  // namespace pillion::proxy
