// TCP sockets of the calling thread's network namespace, by sock_diag(7). Read-only, no privilege
// needed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "netns/address.h"
#include "runtime/result.h"

namespace pillion::netns {

// States as in tcp(7) and net/tcp_states.h; only those that somebody here asks about.
inline constexpr std::uint8_t kTcpEstablished = 1;
inline constexpr std::uint8_t kTcpFinWait2 = 5;
inline constexpr std::uint8_t kTcpCloseWait = 8;
inline constexpr std::uint8_t kTcpListen = 10;

struct TcpSocket {
  std::uint8_t state = 0;
  Address local;
  std::uint16_t local_port = 0;
  Address remote;
  std::uint16_t remote_port = 0;
  std::uint32_t uid = 0;
  std::uint64_t inode = 0;
  std::uint32_t receive_queue = 0;     // a listener's: connections waiting to be accepted
  std::uint32_t send_queue = 0;        // a listener's: how many may wait
  std::optional<bool> is_transparent;  // empty: the kernel does not tell (before 5.10)
};

// Those in one of the states, a bit mask of 1 << state.
Result<std::vector<TcpSocket>> tcp_sockets(std::uint32_t states);

}  // namespace pillion::netns
