// Listening sockets: made here, or handed over by name through the LISTEN_FDS protocol of
// sd_listen_fds(3), so that a crashed or replaced program refuses nobody.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion {

// The sockets that our parent handed to us: LISTEN_FDS from descriptor 3 on, named by
// LISTEN_FDNAMES ("unknown" where it names none).
class InheritedListeners {
 public:
  // Reads and unsets LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; every descriptor becomes
  // close-on-exec. Empty when LISTEN_PID is set and is not us. Call once, before other threads run.
  static InheritedListeners from_environment();

  // Gives the socket of that name away; empty when there is none (any more).
  std::optional<Fd> take(std::string_view name);
  std::vector<std::string> names() const;
  bool is_empty() const { return entries_.empty(); }

 private:
  struct Entry {
    std::string name;
    Fd fd;
  };
  std::vector<Entry> entries_;
};

struct ListenOptions {
  int backlog = 4096;           // the kernel caps it at net.core.somaxconn
  bool is_transparent = false;  // IP_TRANSPARENT, for TPROXY; needs CAP_NET_ADMIN
  bool is_ipv6_only = true;     // for an IPv6 address
};

// A non-blocking TCP listener on a numeric address ("127.0.0.1", "::"), with SO_REUSEADDR. Port 0
// lets the kernel choose. The error names address and port.
Result<Fd> listen_tcp(const std::string& address, std::uint16_t port,
                      const ListenOptions& options = {});

// A non-blocking UDP socket on a numeric address; `backlog` has no meaning.
Result<Fd> bind_udp(const std::string& address, std::uint16_t port,
                    const ListenOptions& options = {});

// A non-blocking stream listener on a filesystem path with `mode`; replaces a stale socket file.
Result<Fd> listen_unix(const std::string& path, unsigned mode = 0660);

// The port that a bound socket has.
Result<std::uint16_t> local_port(int socket);

}  // namespace pillion
