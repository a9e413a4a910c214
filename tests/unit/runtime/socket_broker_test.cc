// The socket broker's protocol over a real socketpair: batches, its end, messages that are none.
#include "runtime/socket_broker.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <thread>

namespace pillion {
namespace {

std::optional<SocketBatch> await_batch(int channel) {
  pollfd readable{channel, POLLIN, 0};
  if (::poll(&readable, 1, 10'000) != 1) return std::nullopt;
  return receive_sockets(channel);
}

}  // namespace

TEST_CASE("a request is answered with a batch of unconnected sockets of its family") {
  auto channel = make_broker_channel();
  REQUIRE(channel);
  std::thread broker([&] { CHECK(serve_sockets(channel->broker.get())); });
  for (const int family : {AF_INET, AF_INET6}) {
    REQUIRE(ask_for_sockets(channel->client.get(), family));
    const auto batch = await_batch(channel->client.get());
    REQUIRE(batch);
    CHECK(batch->family == family);
    if (family == AF_INET6 && batch->sockets.empty()) continue;  // a machine without IPv6
    CHECK(batch->sockets.size() == static_cast<std::size_t>(kSocketsPerBatch));
    int domain = 0;
    socklen_t size = sizeof domain;
    REQUIRE(::getsockopt(batch->sockets[0].get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0);
    CHECK(domain == family);
  }
  channel->client.reset();  // the broker ends in order
  broker.join();
}

TEST_CASE("requests wait for a broker, and one can see that they do") {
  auto channel = make_broker_channel();
  REQUIRE(channel);
  CHECK_FALSE(has_unread_request(channel->client.get()));
  REQUIRE(ask_for_sockets(channel->client.get(), AF_INET));
  CHECK(has_unread_request(channel->client.get()));
  CHECK_FALSE(receive_sockets(channel->client.get()));
  std::thread broker([&] { CHECK(serve_sockets(channel->broker.get())); });
  CHECK(await_batch(channel->client.get()));
  CHECK_FALSE(has_unread_request(channel->client.get()));
  channel->client.reset();
  broker.join();
}

TEST_CASE("what is no request is passed over, and so is what is no answer") {
  auto channel = make_broker_channel();
  REQUIRE(channel);
  const char junk[] = "not a request at all";
  REQUIRE(::send(channel->client.get(), junk, sizeof junk, 0) > 0);
  REQUIRE(::send(channel->client.get(), junk, 1, 0) > 0);
  REQUIRE(::send(channel->broker.get(), junk, sizeof junk, 0) > 0);
  REQUIRE(ask_for_sockets(channel->client.get(), 12345));
  REQUIRE(ask_for_sockets(channel->client.get(), AF_INET));
  CHECK_FALSE(receive_sockets(channel->client.get()));
  std::thread broker([&] { CHECK(serve_sockets(channel->broker.get())); });
  const auto batch = await_batch(channel->client.get());
  REQUIRE(batch);
  CHECK(batch->family == AF_INET);
  channel->client.reset();
  broker.join();
}

}  // namespace pillion
