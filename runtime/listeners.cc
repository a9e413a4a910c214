#include "runtime/listeners.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace pillion {
namespace {

constexpr int kFirstListenFd = 3;  // SD_LISTEN_FDS_START

struct SocketAddressStorage {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

bool parse_numeric(const std::string& address, std::uint16_t port, SocketAddressStorage& out) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.length = sizeof(sockaddr_in);
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.length = sizeof(sockaddr_in6);
    return true;
  }
  return false;
}

Result<void> set_option(int socket, int level, int option, int value, const std::string& what) {
  if (::setsockopt(socket, level, option, &value, sizeof value) < 0) return fail_errno(what);
  return {};
}

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> result;
  for (;;) {
    const auto colon = names.find(':');
    result.emplace_back(names.substr(0, colon));
    if (colon == std::string_view::npos) return result;
    names.remove_prefix(colon + 1);
  }
}

}  // namespace

InheritedListeners InheritedListeners::from_environment() {
  InheritedListeners listeners;
  const char* pid = std::getenv("LISTEN_PID");
  const char* count_text = std::getenv("LISTEN_FDS");
  const char* names_text = std::getenv("LISTEN_FDNAMES");
  const bool is_ours = pid == nullptr || std::strtol(pid, nullptr, 10) == ::getpid();
  const int count = count_text == nullptr ? 0 : std::atoi(count_text);
  const auto names = split_names(names_text == nullptr ? "" : names_text);
  for (int i = 0; is_ours && i < count; ++i) {
    const int fd = kFirstListenFd + i;
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) continue;  // not open: a parent's mistake
    const auto index = static_cast<std::size_t>(i);
    const bool is_named = index < names.size() && !names[index].empty();
    listeners.entries_.push_back({is_named ? names[index] : "unknown", Fd(fd)});
  }
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_FDNAMES");
  return listeners;
}

std::optional<Fd> InheritedListeners::take(std::string_view name) {
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->name != name) continue;
    Fd fd = std::move(entry->fd);
    entries_.erase(entry);
    return fd;
  }
  return std::nullopt;
}

std::vector<std::string> InheritedListeners::names() const {
  std::vector<std::string> names;
  for (const auto& entry : entries_) names.push_back(entry.name);
  return names;
}

namespace {

Result<Fd> bind_socket(int type, const std::string& address, std::uint16_t port,
                       const ListenOptions& options) {
  const bool is_v6 = address.find(':') != std::string::npos;
  const std::string shown = (is_v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
  const std::string what = "cannot listen on " + shown + (type == SOCK_DGRAM ? " (udp)" : "");
  SocketAddressStorage parsed;
  if (!parse_numeric(address, port, parsed)) return fail(what + ": not a numeric address");
  Fd socket(::socket(parsed.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno(what);
  // For datagrams it would let another program share the port.
  if (type == SOCK_STREAM) {
    auto set = set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1, what);
    if (!set) return fail(set.error());
  }
  if (is_v6) {
    auto set = set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, options.is_ipv6_only, what);
    if (!set) return fail(set.error());
  }
  if (options.is_transparent) {
    const int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    const int option = is_v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT;
    auto set = set_option(socket.get(), level, option, 1, what + " (transparent)");
    if (!set) return fail(set.error());
  }
  if (::bind(socket.get(), parsed.get(), parsed.length) < 0) return fail_errno(what);
  if (type == SOCK_STREAM && ::listen(socket.get(), options.backlog) < 0) return fail_errno(what);
  return socket;
}

}  // namespace

Result<Fd> listen_tcp(const std::string& address, std::uint16_t port,
                      const ListenOptions& options) {
  return bind_socket(SOCK_STREAM, address, port, options);
}

Result<Fd> bind_udp(const std::string& address, std::uint16_t port, const ListenOptions& options) {
  return bind_socket(SOCK_DGRAM, address, port, options);
}

Result<Fd> listen_unix(const std::string& path, unsigned mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail("cannot listen on " + path + ": longer than " +
                std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("cannot listen on " + path);
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) {
    return fail_errno("cannot remove stale socket " + path);
  }
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return fail_errno("cannot listen on " + path);
  }
  if (::chmod(path.c_str(), mode) < 0) return fail_errno("cannot set mode of " + path);
  if (::listen(socket.get(), 128) < 0) return fail_errno("cannot listen on " + path);
  return socket;
}

Result<std::uint16_t> local_port(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) < 0) {
    return fail_errno("cannot read the local address of a socket");
  }
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  }
  return fail("cannot read the port of a socket that is not TCP or UDP");
}

}  // namespace pillion
