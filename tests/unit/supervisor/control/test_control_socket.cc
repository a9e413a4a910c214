// Server and client over a real Unix socket; the client has a thread of its own, as in life.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "runtime/fd.h"
#include "supervisor/control/control_client.h"
#include "supervisor/control/control_server.h"
#include "supervisor/control/request.h"

using namespace pillion;
using namespace pillion::supervisor;
using namespace pillion::supervisor::control;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// A listening socket in a directory of its own.
class Listener {
 public:
  Listener() {
    char name[] = "/tmp/pillion-control-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    directory_ = name;
    socket_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(socket_.get(), 8) == 0);
  }
  ~Listener() {
    ::unlink(path().c_str());
    ::rmdir(directory_.c_str());
  }
  std::string path() const { return directory_ + "/control"; }
  int fd() const { return socket_.get(); }

 private:
  std::string directory_;
  Fd socket_;
};

StatusReport orders() {
  StatusReport report;
  report.service.name = "orders";
  return report;
}

// Runs the loop until the client's work is over.
void serve_while(Loop& loop, const std::function<void()>& client) {
  std::atomic<bool> is_done = false;
  Wakeup wakeup(loop, [] {});
  std::thread thread([&] {
    client();
    is_done = true;
    wakeup.send();
  });
  while (!is_done) loop.run_once();
  thread.join();
}

}  // namespace

TEST_CASE("a client gets the status, more than once on one connection") {
  Loop loop;
  Listener listener;
  {
    ControlServer server(loop, listener.fd(), {orders, [](std::optional<Duration>) {}});
    std::string first, second;
    serve_while(loop, [&] {
      auto client = ControlClient::connect(listener.path());
      if (!client) return;
      first = client->ask(R"({"command":"status"})", seconds(10)).value_or("");
      second = client->ask("rubbish", seconds(10)).value_or("");
    });
    CHECK(parse_status_report(first)->service.name == "orders");
    CHECK(parse_error(second) == "a request is one JSON object on one line");
  }
  loop.run_once(false);
  loop.close();
}

TEST_CASE("a stop is answered at once and again with the receipt") {
  Loop loop;
  Listener listener;
  {
    std::optional<Duration> grace;
    ControlServer* reachable = nullptr;
    ControlServer server(loop, listener.fd(), {orders, [&](std::optional<Duration> given) {
                                                 grace = given;
                                                 loop.defer([&] {
                                                   core::Receipt receipt;
                                                   receipt.exit_code = 3;
                                                   reachable->finish(receipt);
                                                 });
                                               }});
    reachable = &server;
    std::string first, second;
    serve_while(loop, [&] {
      auto client = ControlClient::connect(listener.path());
      if (!client) return;
      first = client->ask(R"({"command":"stop","grace":"5s"})", seconds(10)).value_or("");
      second = client->receive(seconds(10)).value_or("");
    });
    CHECK(first == R"({"stopping":true})");
    CHECK(second.find(R"({"receipt":{"reason":"","exit_code":3)") == 0);
    CHECK(grace == seconds(5));
  }
  loop.run_once(false);
  loop.close();
}

TEST_CASE("requests that never end and clients that stall are dropped") {
  Loop loop;
  Listener listener;
  {
    ControlLimits limits;
    limits.client_timeout = milliseconds(50);
    ControlServer server(loop, listener.fd(), {orders, [](std::optional<Duration>) {}}, limits);
    std::string reply;
    bool was_stalled_client_dropped = false;
    serve_while(loop, [&] {
      auto flood = ControlClient::connect(listener.path());
      if (!flood) return;
      static_cast<void>(flood->send(std::string(kRequestBytesMax * 2, 'x'), seconds(10)));
      reply = flood->receive(seconds(10)).value_or("");
      auto stalled = ControlClient::connect(listener.path());
      const auto nothing = stalled->receive(seconds(10));
      was_stalled_client_dropped = !nothing && nothing.error().errno_value() != ETIMEDOUT;
    });
    CHECK((reply.empty() || parse_error(reply) == "the request is longer than 64 KiB"));
    CHECK(was_stalled_client_dropped);
    CHECK(server.connections() == 0);
  }
  loop.run_once(false);
  loop.close();
}

TEST_CASE("more clients than the limit are turned away with a reason") {
  Loop loop;
  Listener listener;
  {
    ControlLimits limits;
    limits.connections_max = 1;
    ControlServer server(loop, listener.fd(), {orders, [](std::optional<Duration>) {}}, limits);
    std::string refusal;
    serve_while(loop, [&] {
      auto first = ControlClient::connect(listener.path());
      auto second = ControlClient::connect(listener.path());
      if (!first || !second) return;
      refusal = second->receive(seconds(10)).value_or("");
    });
    CHECK(parse_error(refusal) == "too many control connections");
  }
  loop.run_once(false);
  loop.close();
}

TEST_CASE("a client learns that nobody serves") {
  const auto missing = ControlClient::connect("/tmp/pillion-nobody-here/control");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().errno_value() == ENOENT);
  CHECK_FALSE(ControlClient::connect(std::string(200, 'x')));
}
