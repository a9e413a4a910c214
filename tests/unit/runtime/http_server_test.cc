// The small HTTP server over a real Unix socket: a client thread talks, the loop serves.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <optional>
#include <thread>

#include "runtime/http_server.h"
#include "runtime/listeners.h"

using namespace pillion;
using namespace std::chrono_literals;

namespace {

// Sends `bytes` and returns everything until the server closes (or 5 s pass).
std::string talk(const std::string& path, const std::string& bytes) {
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const timeval timeout{5, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return "cannot connect";
  }
  if (!write_all(socket.get(), bytes)) return "cannot write";
  std::string received;
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (count <= 0) return received;
    received.append(buffer, static_cast<std::size_t>(count));
  }
}

struct Fixture {
  Fixture() : server(loop, {.body_bytes_max = 16, .connections_max = 4}) {
    path = "/tmp/pillion-http-" + std::to_string(::getpid());
    auto listener = listen_unix(path);
    REQUIRE(listener);
    server.route("GET", "/hello", HttpServerHandler([](const auto&, HttpResponder respond) {
                   respond(HttpServerResponse::text(200, "hello\n"));
                 }));
    server.route("POST", "/echo", HttpServerHandler([](const auto& request, HttpResponder respond) {
                   respond(HttpServerResponse::text(200, request.body + "|" + request.query));
                 }));
    server.serve(std::move(*listener));
  }
  ~Fixture() { ::unlink(path.c_str()); }

  std::string ask(const std::string& bytes) {
    std::string answer;
    Wakeup done(loop, [&] { loop.stop(); });
    std::thread client([&] {
      answer = talk(path, bytes);
      done.send();
    });
    loop.run();
    client.join();
    return answer;
  }

  Loop loop;
  HttpServer server;
  std::string path;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a GET is answered with length and body, and HEAD without the body") {
  Fixture fixture;
  const auto get = fixture.ask("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  CHECK(contains(get, "HTTP/1.1 200 OK\r\n"));
  CHECK(contains(get, "Content-Length: 6\r\n"));
  CHECK(contains(get, "\r\n\r\nhello\n"));
  const auto head = fixture.ask("HEAD /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  CHECK(contains(head, "Content-Length: 6\r\n"));
  CHECK_FALSE(contains(head, "hello"));
}

TEST_CASE("pipelined requests are answered in order on one connection") {
  Fixture fixture;
  const auto answer = fixture.ask(
      "POST /echo?1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
      "POST /echo?2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
      "3\r\ntwo\r\n0\r\n\r\n");
  const auto first = answer.find("one|1");
  const auto second = answer.find("two|2");
  REQUIRE(first != std::string::npos);
  REQUIRE(second != std::string::npos);
  CHECK(first < second);
}

TEST_CASE("unknown paths, wrong methods, long bodies and smuggling are refused with a reason") {
  Fixture fixture;
  const auto ask = [&](const std::string& line, const std::string& rest) {
    return fixture.ask(line + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + rest);
  };
  CHECK(contains(ask("GET /nothing", "\r\n"), "404 "));
  const auto wrong = ask("GET /echo", "\r\n");
  CHECK(contains(wrong, "405 "));
  CHECK(contains(wrong, "Allow: POST\r\n"));
  CHECK(contains(ask("POST /echo", "Content-Length: 17\r\n\r\n"), "413 "));
  CHECK(contains(
      ask("POST /echo", "Transfer-Encoding: chunked\r\n\r\n11\r\n12345678901234567\r\n0\r\n\r\n"),
      "413 "));
  CHECK(contains(
      ask("POST /echo", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
      "400 "));
}

TEST_CASE("an answer may come later, and after the client has gone it is dropped") {
  Fixture fixture;
  Timer later(fixture.loop);
  std::optional<HttpResponder> kept;
  fixture.server.set_fallback([&](const HttpServerRequest& request, HttpResponder respond) {
    if (request.path == "/later") {
      later.start(20ms, [respond] { respond(HttpServerResponse::json(200, "{}")); });
    } else {
      kept = std::move(respond);
      fixture.loop.stop();
    }
  });
  CHECK(contains(fixture.ask("GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "{}"));
  {
    const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, fixture.path.c_str(), sizeof address.sun_path - 1);
    REQUIRE(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(write_all(socket.get(), "GET /kept HTTP/1.1\r\nHost: a\r\n\r\n"));
    fixture.loop.run();
  }
  REQUIRE(kept.has_value());
  (*kept)(HttpServerResponse::text(200, "too late"));
}

TEST_CASE("a drain closes idle connections, lets a request finish and then reports") {
  Fixture fixture;
  bool is_drained = false;
  std::optional<HttpResponder> kept;
  fixture.server.set_fallback([&](const auto&, HttpResponder respond) {
    kept = std::move(respond);
    fixture.server.drain([&] {
      is_drained = true;
      fixture.loop.stop();
    });
    fixture.loop.defer([&] { (*kept)(HttpServerResponse::text(200, "finished")); });
  });
  std::string answer;
  std::thread client([&] { answer = talk(fixture.path, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"); });
  fixture.loop.run();
  client.join();
  CHECK(is_drained);
  CHECK(contains(answer, "Connection: close\r\n"));
  CHECK(contains(answer, "finished"));
}
