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
#include <vector>

#include "runtime/fd.h"
#include "supervisor/control/api.h"
#include "supervisor/control/control_client.h"
#include "supervisor/control/control_server.h"

using namespace pillion;
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
  Fd take() { return std::move(socket_); }

 private:
  std::string directory_;
  Fd socket_;
};

// An API over a real socket, and clients beside its loop.
struct Lab {
  explicit Lab(ControlLimits limits_in = {}) : limits(limits_in) {
    api.add("GET", "/v1/echo/{word}", [](const ApiRequest& request, Responder reply) {
      reply.json(200, "\"" + std::string(request.parameter("word")) +
                          request.query("more").value_or("") + request.body + "\"");
    });
    api.add("POST", "/v1/echo/{word}",
            [](const ApiRequest& request, Responder reply) { reply.json(202, request.body); });
    api.add("POST", "/v1/forget", [](const ApiRequest&, Responder) {});
    api.add("POST", "/v1/later", [this](const ApiRequest&, Responder reply) {
      loop.defer([reply] { reply.json(200, R"("later")"); });
    });
    api.add("GET", "/v1/stream", [this](const ApiRequest&, Responder reply) {
      reply.stream("first\n", [this](HttpStream opened) { streams.push_back(std::move(opened)); });
    });
    server.emplace(loop, listener.take(), api, limits);
  }
  ~Lab() {
    streams.clear();
    server.reset();
    loop.run_once(false);
    loop.close();
  }

  // Runs the loop until the client's work is over.
  void serve_while(const std::function<void()>& client) {
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
  ControlReply ask(std::string_view method, std::string_view target, std::string_view body = {}) {
    auto client = ControlClient::connect(listener.path());
    if (!client) return {-1, client.error().message()};
    auto reply = client->ask(method, target, body, seconds(10));
    return reply ? *reply : ControlReply{-1, reply.error().message()};
  }
  // A connection without our client, for rubbish.
  Fd connect_raw() const {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, listener.path().c_str(), sizeof address.sun_path - 1);
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      socket.reset();
    }
    return socket;
  }

  Loop loop;
  Listener listener;
  ControlLimits limits;
  Api api;
  std::vector<HttpStream> streams;
  std::optional<ControlServer> server;
};

std::string read_to_end(int socket) {
  std::string all;
  char buffer[4096];
  for (ssize_t count; (count = ::recv(socket, buffer, sizeof buffer, 0)) > 0;) {
    all.append(buffer, static_cast<std::size_t>(count));
  }
  return all;
}

}  // namespace

TEST_CASE("a route gets its path parameters, its query and its body") {
  Lab lab;
  ControlReply plain, queried, posted;
  lab.serve_while([&] {
    plain = lab.ask("GET", "/v1/echo/a");
    queried = lab.ask("GET", "/v1/echo/a%20b?x=1&more=%21c+d");
    posted = lab.ask("POST", "/v1/echo/a", R"({"k":1})");
  });
  CHECK(plain.body == "\"a\"\n");
  CHECK(queried.body == "\"a b!c d\"\n");
  CHECK(posted.status == 202);
  CHECK(posted.body == "{\"k\":1}\n");
}

TEST_CASE("unknown paths and methods are refused with a reason") {
  Lab lab;
  ControlReply path, method, deep;
  lab.serve_while([&] {
    path = lab.ask("GET", "/v1/nothing");
    method = lab.ask("DELETE", "/v1/echo/a");
    deep = lab.ask("GET", "/v1/echo/a/b");
  });
  CHECK(path.status == 404);
  CHECK(parse_error(path.body) == "there is no /v1/nothing; docs/openapi.yaml lists the paths");
  CHECK(method.status == 405);
  CHECK(parse_error(method.body) == "/v1/echo/a takes GET, POST");
  CHECK(deep.status == 404);
}

TEST_CASE("an answer may come later, and a forgotten one is a 500") {
  Lab lab;
  ControlReply later, forgotten;
  lab.serve_while([&] {
    later = lab.ask("POST", "/v1/later");
    forgotten = lab.ask("POST", "/v1/forget");
  });
  CHECK(later.body == "\"later\"\n");
  CHECK(forgotten.status == 500);
  CHECK(parse_error(forgotten.body) == "the request was not answered");
}

TEST_CASE("a stream brings lines until either side ends it") {
  Lab lab;
  std::vector<std::string> lines;
  Timer ticker(lab.loop);
  ticker.start(milliseconds(1), milliseconds(1), [&] {
    if (!lab.streams.empty()) lab.streams.front().write("tick\n");
  });
  bool has_ended = false;
  lab.serve_while([&] {
    auto client = ControlClient::connect(lab.listener.path());
    if (!client) return;
    has_ended = client
                    ->follow("/v1/stream", seconds(10),
                             [&](std::string_view line) {
                               lines.emplace_back(line);
                               return lines.size() < 3;
                             })
                    .has_value();
  });
  CHECK(has_ended);
  CHECK(lines == std::vector<std::string>{"first", "tick", "tick"});
  // The client has gone, which the stream learns without a write of ours.
  ticker.stop();
  while (lab.streams.front().is_open()) lab.loop.run_once();
  CHECK_FALSE(lab.streams.front().write("into the void"));
  ticker = Timer(lab.loop);
  lab.loop.run_once(false);
  CHECK(lab.server->connections() == 0);
}

TEST_CASE("a stream whose client does not read is dropped at its limit") {
  ControlLimits limits;
  limits.output_bytes_max = 64 * 1024;
  Lab lab(limits);
  Fd client = lab.connect_raw();
  REQUIRE(client);
  const std::string request = "GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n";
  REQUIRE(::send(client.get(), request.data(), request.size(), 0) > 0);
  while (lab.streams.empty()) lab.loop.run_once();
  const std::string piece(8 * 1024, 'x');
  std::size_t written = 0;
  while (lab.streams.front().write(piece)) written += piece.size();
  CHECK(written >= 64 * 1024);
  CHECK(written < 16u << 20);
  CHECK(lab.server->connections() == 0);
}

TEST_CASE("clients that send rubbish, too much, or nothing are dropped") {
  ControlLimits limits;
  limits.client_timeout = milliseconds(50);
  Lab lab(limits);
  std::string rubbish, stalled, half, huge;
  lab.serve_while([&] {
    const auto talk = [&](std::string_view bytes) {
      Fd socket = lab.connect_raw();
      if (!socket) return std::string("cannot connect");
      static_cast<void>(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
      return read_to_end(socket.get());
    };
    rubbish = talk("{\"command\":\"status\"}\n\r\n\r\n");
    stalled = talk("");
    half = talk("POST /v1/echo/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
    huge = talk("POST /v1/echo/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
  });
  CHECK(rubbish.find("HTTP/1.1 400 ") == 0);
  CHECK(rubbish.find("{\"error\":\"") != std::string::npos);
  CHECK(stalled.empty());
  CHECK(half.find("HTTP/1.1 408 ") == 0);
  CHECK(huge.find("HTTP/1.1 413 ") == 0);
  CHECK(lab.server->connections() == 0);
}

TEST_CASE("a client that closes its half still gets its answer") {
  Lab lab;
  std::string answer;
  lab.serve_while([&] {
    Fd socket = lab.connect_raw();
    if (!socket) return;
    const std::string request = "POST /v1/later HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    static_cast<void>(::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL));
    ::shutdown(socket.get(), SHUT_WR);
    answer = read_to_end(socket.get());
  });
  CHECK(answer.find("HTTP/1.1 200 ") == 0);
  CHECK(answer.find("\"later\"") != std::string::npos);
}

TEST_CASE("more clients than the limit are turned away with a reason, thousands in a row") {
  ControlLimits limits;
  limits.connections_max = 1;
  Lab lab(limits);
  unsigned turned_away = 0;
  ControlReply afterwards;
  lab.serve_while([&] {
    Fd first = lab.connect_raw();
    for (int i = 0; i < 2000; ++i) {
      const auto reply = lab.ask("GET", "/v1/echo/a");
      if (reply.status == 503 && parse_error(reply.body) == "too many connections") ++turned_away;
    }
    first.reset();
    for (afterwards.status = 503; afterwards.status == 503;)
      afterwards = lab.ask("GET", "/v1/echo/a");
  });
  CHECK(turned_away == 2000);
  CHECK(afterwards.status == 200);
}

TEST_CASE("a client learns that nobody serves") {
  const auto missing = ControlClient::connect("/tmp/pillion-nobody-here/control");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().errno_value() == ENOENT);
  CHECK_FALSE(ControlClient::connect(std::string(200, 'x')));
}

TEST_CASE("query text is decoded as far as it is right") {
  CHECK(decode_query_text("a%2Fb+c%zz%4") == "a/b c%zz%4");
  const auto parameters = parse_query("a=1&&b&c=x%3Dy=z&=n");
  CHECK(parameters == Parameters{{"a", "1"}, {"b", ""}, {"c", "x=y=z"}, {"", "n"}});
  ApiRequest request;
  request.query_parameters = parse_query("wait&follow=0&dry_run=1");
  CHECK(request.has_flag("wait"));
  CHECK_FALSE(request.has_flag("follow"));
  CHECK(request.has_flag("dry_run"));
  CHECK_FALSE(request.has_flag("other"));
}
