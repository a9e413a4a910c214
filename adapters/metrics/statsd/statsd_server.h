// The sockets of a statsd input: UDP, Unix datagrams, TCP. Datagrams are read many at a time. What
// was read goes to the store before the call returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "adapters/metrics/statsd/statsd_store.h"
#include "config/metrics.h"
#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/listeners.h"
#include "runtime/loop.h"

namespace pillion::metrics {

class StatsdServer {
 public:
  static constexpr std::size_t kConnectionsMax = 128;  // TCP; more are closed at once

  struct Counts {
    std::uint64_t datagrams = 0;
    std::uint64_t truncated = 0;    // TCP lines that were too long
    std::uint64_t connections = 0;  // TCP, taken
    std::uint64_t refused = 0;      // TCP, beyond the limit
  };

  struct Sockets {
    Fd udp;
    Fd tcp;
    Fd datagrams;  // Unix
  };
  // What `config` still lacks in `sockets`: handed over as `statsd-0` and `statsd-tcp-0` for the
  // first input, or bound here. An error names the address or path.
  static Result<Sockets> open(const config::StatsdInput& config, std::size_t input,
                              InheritedListeners& listeners, Sockets sockets);

  // `clock` outlives this.
  StatsdServer(Loop& loop, const Clock& clock, Sockets sockets, std::string socket_path);
  ~StatsdServer();  // closes; removes the Unix socket's path
  StatsdServer(const StatsdServer&) = delete;
  StatsdServer& operator=(const StatsdServer&) = delete;

  // Where samples go from now on; it outlives this or the next call. Null drops them.
  void feed(StatsdStore* store);
  // Reads what the kernel still holds; for the end.
  void read_rest();
  // Duplicates, for a successor in this process.
  Result<Fd> share_udp() const { return sockets_.udp.duplicate(); }
  Result<Fd> share_tcp() const { return sockets_.tcp.duplicate(); }
  Result<Fd> share_datagrams() const { return sockets_.datagrams.duplicate(); }
  // A successor has the Unix socket: its path stays.
  void leave_path() { socket_path_.clear(); }

  const Counts& counts() const { return counts_; }
  // Datagrams that the kernel had no room for.
  std::uint64_t lost() const;

 private:
  class Connection;
  class Buffers;
  void watch(const Fd& socket);
  bool read_datagrams(int socket);
  void accept_connections();
  StatsdStore::Time time() const;

  Loop& loop_;
  const Clock& clock_;
  Sockets sockets_;
  std::string socket_path_;
  StatsdStore* store_ = nullptr;
  std::unique_ptr<Buffers> buffers_;
  std::vector<Poll> polls_;
  std::vector<std::unique_ptr<Connection>> connections_;
  Counts counts_;
};

}  // namespace pillion::metrics
