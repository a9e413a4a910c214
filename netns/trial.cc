#include "netns/trial.h"

#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/fd.h"

namespace pillion::netns {
namespace {

constexpr int kTimeoutMilliseconds = 2000;
constexpr int kCannotChangeUser = 9;

socklen_t fill(sockaddr_storage& storage, const Address& address, std::uint16_t port) {
  std::memset(&storage, 0, sizeof storage);
  if (address.family == Family::V4) {
    auto& name = reinterpret_cast<sockaddr_in&>(storage);
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    std::memcpy(&name.sin_addr, address.bytes.data(), 4);
    return sizeof name;
  }
  auto& name = reinterpret_cast<sockaddr_in6&>(storage);
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(port);
  std::memcpy(&name.sin6_addr, address.bytes.data(), 16);
  return sizeof name;
}

TrialOutcome outcome_of(int error) {
  if (error == 0) return TrialOutcome::Accepted;
  if (error == ENETUNREACH || error == EADDRNOTAVAIL || error == EAFNOSUPPORT) {
    return TrialOutcome::NoRoute;
  }
  return error == ECONNREFUSED ? TrialOutcome::Refused : TrialOutcome::NoAnswer;
}

TrialOutcome connect_once(const Address& address, std::uint16_t port) {
  const Fd socket(::socket(address.family == Family::V4 ? AF_INET : AF_INET6,
                           SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return outcome_of(errno);
  sockaddr_storage storage{};
  const socklen_t size = fill(storage, address, port);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0) {
    return TrialOutcome::Accepted;
  }
  if (errno != EINPROGRESS) return outcome_of(errno);
  pollfd watch{socket.get(), POLLOUT, 0};
  if (::poll(&watch, 1, kTimeoutMilliseconds) <= 0) return TrialOutcome::NoAnswer;
  int error = 0;
  socklen_t error_size = sizeof error;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &error_size);
  return outcome_of(error);
}

bool become(std::uint32_t uid) {
  if (::geteuid() == uid) return true;
  return ::setgroups(0, nullptr) == 0 && ::setresgid(uid, uid, uid) == 0 &&
         ::setresuid(uid, uid, uid) == 0;
}

}  // namespace

Result<TrialOutcome> try_connection(const Address& address, std::uint16_t port, std::uint32_t uid) {
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot fork");
  if (child == 0) {
    if (!become(uid)) ::_exit(kCannotChangeUser);
    ::_exit(static_cast<int>(connect_once(address, port)));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) == kCannotChangeUser) {
    return fail("no trial connection was made: it needs root, to act as the app's user");
  }
  return static_cast<TrialOutcome>(WEXITSTATUS(status));
}

bool try_query(const Address& server) {
  // Header (RFC 1035 §4.1.1): id, recursion desired, one question; then the name, type A, class IN.
  static constexpr char kQuery[] =
      "\x70\x69\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
      "\x0epillion-doctor\x07invalid\x00\x00\x01\x00\x01";
  const Fd socket(
      ::socket(server.family == Family::V4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const socklen_t size = fill(storage, server, 53);
  if (!socket || ::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), size) < 0) {
    return false;
  }
  if (::send(socket.get(), kQuery, sizeof kQuery - 1, 0) < 0) return false;
  pollfd watch{socket.get(), POLLIN, 0};
  if (::poll(&watch, 1, kTimeoutMilliseconds) <= 0) return false;
  char answer[512];
  return ::recv(socket.get(), answer, sizeof answer, 0) >= 12;  // < 0: "port unreachable"
}

}  // namespace pillion::netns
