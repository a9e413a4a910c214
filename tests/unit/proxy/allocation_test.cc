// A request in the steady state allocates nothing: keep-alive on both sides, access log on.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <future>
#include <new>
#include <string>
#include <thread>

#include "proxy/worker.h"
#include "runtime/listeners.h"

namespace {

thread_local std::uint64_t allocations = 0;

}  // namespace

// Not inlined: GCC would see malloc() meet operator delete.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

using namespace pillion;
using namespace pillion::proxy;

namespace {

Fd listen_on_loopback(std::uint16_t& port) {
  auto fd = listen_tcp("127.0.0.1", 0);
  REQUIRE(fd.has_value());
  port = *local_port(fd->get());
  return std::move(*fd);
}

// Reads until the end of a head, then answers; until the peer closes.
void serve(int listener) {
  REQUIRE(set_nonblocking(listener, false).has_value());
  const Fd connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  std::string received;
  char buffer[4096];
  while (true) {
    const ssize_t count = read(connection.get(), buffer, sizeof buffer);
    if (count <= 0) return;
    received.append(buffer, static_cast<std::size_t>(count));
    if (received.find("\r\n\r\n") == std::string::npos) continue;
    received.clear();
    if (!write_all(connection.get(),
                   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello")) {
      return;
    }
  }
}

Fd connect_to(std::uint16_t port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address address(*config::IpAddress::parse("127.0.0.1"), port);
  REQUIRE(connect(fd.get(), address.data(), address.size()) == 0);
  return fd;
}

void exchange(int fd, int times) {
  char buffer[4096];
  for (int i = 0; i < times; ++i) {
    REQUIRE(write_all(fd,
                      "GET /path?query=1 HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n"
                      "User-Agent: test\r\n\r\n"));
    std::string reply;
    while (reply.find("hello") == std::string::npos) {
      const ssize_t count = read(fd, buffer, sizeof buffer);
      REQUIRE(count > 0);
      reply.append(buffer, static_cast<std::size_t>(count));
    }
  }
}

std::uint64_t allocations_of(Worker& worker) {
  std::promise<std::uint64_t> count;
  worker.post([&] { count.set_value(allocations); });
  return count.get_future().get();
}

}  // namespace

TEST_CASE("a request in the steady state allocates nothing") {
  std::uint16_t backend_port = 0;
  std::uint16_t proxy_port = 0;
  const Fd backend = listen_on_loopback(backend_port);
  const Fd listener = listen_on_loopback(proxy_port);
  std::thread backend_thread([&] { serve(backend.get()); });

  config::ProxyConfig proxy;
  proxy.upstreams = {{.name = "b",
                      .address = {{"127.0.0.1", backend_port}},
                      .hosts = {},
                      .tls = {},
                      .retry = {},
                      .timeouts = {},
                      .circuit_breaker = {},
                      .outlier_detection = {},
                      .health_check = {}}};
  proxy.explicit_listeners = {
      {.listen = config::SocketAddress::of("127.0.0.1:1"), .upstream = "b", .fallback = {}}};
  proxy.access_log.path = "/dev/null";
  auto log = AccessLog::create(proxy.access_log);
  REQUIRE(log.has_value());
  {
    Worker worker("(token)", log->get(), config::AccessLogFormat::Json);
    const Address address(*config::IpAddress::parse("127.0.0.1"), backend_port);
    worker.post([&, snapshot = std::make_shared<const Snapshot>(proxy)] {
      worker.set_snapshot(snapshot, {{address}});
      worker.add_listener(listener.get(), {"explicit-0", ListenerKind::Explicit, 0, proxy_port, 0});
    });
    worker.start();
    {
      const Fd client = connect_to(proxy_port);
      exchange(client.get(), 500);
      // The task that asks is one allocation or two. The log's buffers change hands, more of them
      // where the disk is slow: one quiet thousand proves that none of it is the requests' doing.
      std::uint64_t fewest = UINT64_MAX;
      for (int round = 0; round < 10 && fewest >= 10; ++round) {
        const std::uint64_t before = allocations_of(worker);
        exchange(client.get(), 1000);
        fewest = std::min(fewest, allocations_of(worker) - before);
      }
      CHECK(fewest < 10);
    }
    worker.stop();
  }
  backend_thread.join();
}
