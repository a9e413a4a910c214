// sd_notify both ways, listener hand-over and drain.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <optional>

#include "runtime/drain.h"
#include "runtime/listeners.h"
#include "runtime/notify.h"

using namespace pillion;
using namespace std::chrono_literals;

TEST_CASE("a notify datagram is split into fields and rubbish is skipped") {
  const auto fields = parse_notify_message("READY=1\nno equals\n=empty\nSTATUS=a=b\nREADY=0");
  CHECK(fields.size() == 2);
  CHECK(fields.at("READY") == "0");
  CHECK(fields.at("STATUS") == "a=b");
}

TEST_CASE("what a notifier sends arrives with the sender's pid") {
  const std::string path = "/tmp/pillion-notify-" + std::to_string(::getpid());
  auto socket = bind_notify_socket(path);
  REQUIRE(socket);
  Loop loop;
  std::vector<NotifyMessage> messages;
  NotifyReceiver receiver(loop, socket->get(), [&](NotifyMessage message) {
    messages.push_back(std::move(message));
    if (messages.size() == 3) loop.stop();
  });
  Notifier notifier(path);
  notifier.ready();
  notifier.status("waits for\na secret");
  notifier.receipt({{"requests_finished", 12}, {"requests_aborted", 0}});
  loop.run();
  REQUIRE(messages.size() == 3);
  CHECK(messages[0].sender_pid == ::getpid());
  CHECK(messages[0].fields.at("READY") == "1");
  CHECK(messages[1].fields.at("STATUS") == "waits for a secret");
  CHECK(messages[2].fields.at("X_PILLION_RECEIPT") == "requests_aborted=0 requests_finished=12");
  ::unlink(path.c_str());
}

TEST_CASE("a notifier without a socket does nothing") {
  Notifier notifier;
  CHECK_FALSE(notifier.is_enabled());
  notifier.ready();
}

TEST_CASE("a TCP listener on port 0 gets a port, and taking that port again names it") {
  auto listener = listen_tcp("127.0.0.1", 0);
  REQUIRE(listener);
  const auto port = local_port(listener->get());
  REQUIRE(port);
  CHECK(*port != 0);
  const auto second = listen_tcp("127.0.0.1", *port);
  REQUIRE_FALSE(second);
  CHECK(second.error().message() ==
        "cannot listen on 127.0.0.1:" + std::to_string(*port) + ": Address already in use");
}

TEST_CASE("a host name is not an address to listen on") {
  CHECK(listen_tcp("localhost", 80).error().message() ==
        "cannot listen on localhost:80: not a numeric address");
}

TEST_CASE("listeners handed over are taken by name, once") {
  // In a child process: the protocol's descriptors start at 3, which belongs to the test runner.
  const pid_t child = ::fork();
  if (child == 0) {
    const int sockets[2] = {::socket(AF_UNIX, SOCK_STREAM, 0), ::socket(AF_UNIX, SOCK_DGRAM, 0)};
    const int first = ::fcntl(sockets[0], F_DUPFD, 100);
    const int second = ::fcntl(sockets[1], F_DUPFD, 100);
    ::dup2(first, 3);
    ::dup2(second, 4);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "2", 1);
    ::setenv("LISTEN_FDNAMES", "inbound:admin", 1);
    auto listeners = InheritedListeners::from_environment();
    const auto admin = listeners.take("admin");
    const bool is_good =
        listeners.names() == std::vector<std::string>{"inbound"} && admin.has_value() &&
        admin->get() == 4 && (::fcntl(4, F_GETFD) & FD_CLOEXEC) != 0 &&
        !listeners.take("admin").has_value() && std::getenv("LISTEN_FDS") == nullptr;
    ::_exit(is_good ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("listeners meant for another process are not taken") {
  ::setenv("LISTEN_PID", "1", 1);
  ::setenv("LISTEN_FDS", "1", 1);
  CHECK(InheritedListeners::from_environment().is_empty());
  CHECK(std::getenv("LISTEN_FDS") == nullptr);
}

TEST_CASE("the first SIGTERM drains, the second ends it") {
  Loop loop;
  std::vector<std::string> events;
  Drain drain(
      loop, 60s,
      [&] {
        events.push_back("drain");
        ::raise(SIGTERM);
      },
      [&] {
        events.push_back("deadline");
        loop.stop();
      });
  ::raise(SIGTERM);
  Timer guard(loop);
  guard.start(10s, [&] { loop.stop(); });
  loop.run();
  CHECK(events == std::vector<std::string>{"drain", "deadline"});
}

TEST_CASE("a drain whose work is done does not reach its deadline") {
  Loop loop;
  std::vector<std::string> events;
  std::optional<Drain> drain;
  drain.emplace(
      loop, 5ms, [&] { events.push_back("drain"); }, [&] { events.push_back("deadline"); });
  drain->begin();
  drain->finish();
  Timer later(loop);
  later.start(30ms, [&] { loop.stop(); });
  loop.run();
  CHECK(events == std::vector<std::string>{"drain"});
}

TEST_CASE("the drain timeout comes from the environment, 30 s when absent or malformed") {
  ::unsetenv("PILLION_DRAIN_SECONDS");
  CHECK(drain_timeout_from_environment() == 30s);
  ::setenv("PILLION_DRAIN_SECONDS", "7", 1);
  CHECK(drain_timeout_from_environment() == 7s);
  ::setenv("PILLION_DRAIN_SECONDS", "7x", 1);
  CHECK(drain_timeout_from_environment() == 30s);
  ::unsetenv("PILLION_DRAIN_SECONDS");
}
