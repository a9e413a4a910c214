// What a component tells its supervisor over its life, and which signals call what.
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>
#include <vector>

#include "runtime/component.h"

using namespace pillion;
using namespace std::chrono_literals;

namespace {

std::vector<std::string> messages(int socket) {
  std::vector<std::string> all;
  char bytes[512];
  for (;;) {
    const ssize_t size = ::recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size < 0) return all;
    all.emplace_back(bytes, static_cast<std::size_t>(size));
  }
}

struct Configured {
  struct Ip {
    std::string to_string() const { return text; }
    std::string text;
  } ip;
  std::uint16_t port;
};

}  // namespace

TEST_CASE("a component reloads until its end begins, and tells every step of its life once") {
  const std::string path = "/tmp/pillion-component-" + std::to_string(::getpid());
  auto socket = bind_notify_socket(path);
  REQUIRE(socket);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  std::vector<std::string> events;
  {
    Loop loop;
    Timer guard(loop);
    guard.start(20s, [&] { loop.stop(); });
    std::optional<Component> component;
    component.emplace(loop, Component::Callbacks{.on_reload =
                                                     [&] {
                                                       events.push_back("reload");
                                                       ::raise(SIGTERM);
                                                     },
                                                 .on_drain =
                                                     [&] {
                                                       events.push_back("drain");
                                                       CHECK_FALSE(component->is_ready());
                                                       CHECK(component->is_stopping());
                                                       ::raise(SIGHUP);
                                                       ::raise(SIGINT);
                                                     },
                                                 .on_deadline =
                                                     [&] {
                                                       events.push_back("deadline");
                                                       component->send_receipt({{"things", 2}});
                                                       loop.stop();
                                                     }});
    CHECK_FALSE(component->is_ready());
    component->become_ready();
    CHECK(component->is_ready());
    for (const char* text : {"one", "one", "two"}) component->set_status(text);
    ::raise(SIGHUP);
    loop.run();
  }
  CHECK(events == std::vector<std::string>{"reload", "drain", "deadline"});
  CHECK(messages(socket->get()) == std::vector<std::string>{"READY=1", "STATUS=one", "STATUS=two",
                                                            "STOPPING=1",
                                                            "X_PILLION_RECEIPT=things=2"});
  ::unsetenv("NOTIFY_SOCKET");
  ::unlink(path.c_str());
}

TEST_CASE("the watchdog is fed at half of its period") {
  const std::string path = "/tmp/pillion-component-" + std::to_string(::getpid());
  auto socket = bind_notify_socket(path);
  REQUIRE(socket);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "20000", 1);
  {
    Loop loop;
    std::optional<Component> component;
    component.emplace(loop, Component::Callbacks{.on_reload = [] {},
                                                 .on_drain = [&] { component->finish(); },
                                                 .on_deadline = [] { FAIL("it had finished"); }});
    std::vector<std::string> seen;
    Timer look(loop);
    look.start(1ms, 1ms, [&] {
      for (const auto& message : messages(socket->get())) seen.push_back(message);
      if (seen.size() >= 2) loop.stop();
    });
    Timer guard(loop);
    guard.start(20s, [&] { loop.stop(); });
    component->end();
    loop.run();
    REQUIRE(seen.size() >= 2);
    CHECK(seen[0] == "STOPPING=1");
    CHECK(seen[1] == "WATCHDOG=1");
  }
  ::unsetenv("NOTIFY_SOCKET");
  ::unsetenv("WATCHDOG_USEC");
  ::unlink(path.c_str());
}

TEST_CASE("an address that is taken is named, and none is no error") {
  auto held = listen_tcp("127.0.0.1", 0);
  REQUIRE(held);
  const auto port = local_port(held->get());
  REQUIRE(port);
  Loop loop;
  HttpServer server(loop);
  InheritedListeners none;
  const std::optional<Configured> address(Configured{{"127.0.0.1"}, *port});
  const auto taken = serve_on(server, none, "admin", address);
  REQUIRE_FALSE(taken);
  CHECK(taken.error().message().find(std::to_string(*port)) != std::string::npos);
  CHECK(serve_on(server, none, "admin", std::optional<Configured>()));
}
