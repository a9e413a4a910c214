// Sockets of another network namespace. A proxy outside a sealed namespace may not enter it, so a
// small program inside, pillion-broker, makes sockets there and hands them out in batches over a
// SOCK_SEQPACKET socketpair (SCM_RIGHTS). Both ends are kept by the keeper: neither side sees the
// other end's death, requests wait in the socket for the broker's successor.
//
// One request asks for up to kSocketsPerBatch unconnected stream sockets of one family; one answer
// carries them, or an errno. Fixed-size messages in host byte order (both ends are one machine).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion {

inline constexpr int kSocketsPerBatch = 32;
// The name under which either end is handed over (LISTEN_FDNAMES).
inline constexpr char kBrokerListener[] = "broker";

struct SocketBatch {
  int family = 0;  // AF_INET, AF_INET6
  int error = 0;   // why there are none
  std::vector<Fd> sockets;
};

// ---- The proxy's end.

// Asks for a batch; never blocks. False when the request could not be queued.
bool ask_for_sockets(int channel, int family);
// Whether an earlier request of this end has not been read by the broker yet.
bool has_unread_request(int channel);
// The next answer, if one is there; never blocks. Messages that are none are skipped.
std::optional<SocketBatch> receive_sockets(int channel);

// ---- The broker's end.

// Serves requests until the channel fails; blocks. What is no request is ignored.
Result<void> serve_sockets(int channel);

// Both ends of a new channel, close-on-exec.
struct BrokerChannel {
  Fd client;
  Fd broker;
};
Result<BrokerChannel> make_broker_channel();

}  // namespace pillion
