// The HTTP client against blocking servers in threads, TLS with a CA made here included.
#include "runtime/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/fd.h"

using namespace pillion;
using namespace std::chrono_literals;

namespace {

std::string ok(const std::string& body, const std::string& status = "200 OK") {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nX-Test: yes\r\n\r\n" + body;
}

struct TlsFiles {
  std::string certificate, key;
};

// A blocking server in threads of its own: `answer` maps a whole request to raw response bytes. An
// empty answer keeps the connection open and silent.
class ThreadServer {
 public:
  using Answer = std::function<std::string(const std::string& request)>;

  explicit ThreadServer(Answer answer, std::optional<TlsFiles> tls = {},
                        const std::string& unix_path = "")
      : answer_(std::move(answer)) {
    if (tls) {
      context_ = SSL_CTX_new(TLS_server_method());
      REQUIRE(SSL_CTX_use_certificate_chain_file(context_, tls->certificate.c_str()) == 1);
      REQUIRE(SSL_CTX_use_PrivateKey_file(context_, tls->key.c_str(), SSL_FILETYPE_PEM) == 1);
    }
    if (unix_path.empty()) {
      listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
      socklen_t length = sizeof address;
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
      port_ = ntohs(address.sin_port);
    } else {
      listener_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      unix_path.copy(address.sun_path, sizeof address.sun_path - 1);
      REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    REQUIRE(::listen(listener_.get(), 64) == 0);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~ThreadServer() {
    is_stopping_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    for (auto& thread : threads_) thread.join();
    SSL_CTX_free(context_);
  }

  std::string url(const std::string& path = "/") const {
    return (context_ ? "https" : "http") + std::string("://127.0.0.1:") + std::to_string(port_) +
           path;
  }
  std::uint16_t port() const { return port_; }
  int connections() const { return connections_; }
  int open_max() const { return open_max_; }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void accept_all() {
    while (!is_stopping_) {
      const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      ++connections_;
      threads_.emplace_back([this, fd] { serve(Fd(fd)); });
    }
  }
  void serve(Fd fd) {
    const int open = ++open_;
    for (int seen = open_max_; seen < open && !open_max_.compare_exchange_weak(seen, open);) {
    }
    SSL* ssl = context_ ? SSL_new(context_) : nullptr;
    if (ssl) SSL_set_fd(ssl, fd.get());
    if (!ssl || SSL_accept(ssl) == 1) talk(fd.get(), ssl);
    SSL_free(ssl);
    --open_;
  }
  void talk(int fd, SSL* ssl) {
    std::string input;
    while (!is_stopping_) {
      pollfd wait{fd, POLLIN, 0};
      if ((!ssl || SSL_pending(ssl) == 0) && ::poll(&wait, 1, 20) == 0) continue;
      char buffer[65536];
      const auto count = ssl ? SSL_read(ssl, buffer, sizeof buffer)
                             : static_cast<int>(::recv(fd, buffer, sizeof buffer, 0));
      if (count <= 0) return;
      input.append(buffer, static_cast<std::size_t>(count));
      const auto head = input.find("\r\n\r\n");
      if (head == std::string::npos) continue;
      const auto field = input.find("Content-Length: ");
      const std::size_t length =
          field < head ? std::stoul(input.substr(field + 16)) : std::size_t{0};
      if (input.size() < head + 4 + length) continue;
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(input);
      }
      const std::string answer = answer_(input);
      input.clear();
      if (answer == "close") return;
      std::size_t sent = 0;
      while (sent < answer.size()) {
        const auto written =
            ssl ? SSL_write(ssl, answer.data() + sent, static_cast<int>(answer.size() - sent))
                : static_cast<int>(
                      ::send(fd, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL));
        if (written <= 0) return;
        sent += static_cast<std::size_t>(written);
      }
      if (answer.find("X-Half: closed") != std::string::npos) return;
    }
  }

  Answer answer_;
  SSL_CTX* context_ = nullptr;
  Fd listener_;
  std::uint16_t port_ = 0;
  std::thread acceptor_;
  std::vector<std::thread> threads_;
  std::atomic<bool> is_stopping_{false};
  std::atomic<int> connections_{0};
  std::atomic<int> open_{0};
  std::atomic<int> open_max_{0};
  std::mutex mutex_;
  std::vector<std::string> requests_;
};

struct Answered {
  std::optional<Result<HttpClient::Response>> result;
  HttpClient::Response& response() {
    INFO((result && !*result ? result->error().message() : std::string("no answer")));
    REQUIRE((result && result->has_value()));
    return result->value();
  }
  const Error& error() {
    REQUIRE((result && !result->has_value()));
    return result->error();
  }
};

// Sends one request and runs the loop until it was answered.
Answered exchange(HttpClient::Request request) {
  Loop loop;
  Answered answered;
  {
    HttpClient client(loop);
    auto owner = client.send(std::move(request), [&](Result<HttpClient::Response> result) {
      answered.result.emplace(std::move(result));
      loop.stop();
    });
    REQUIRE_FALSE(answered.result);
    loop.run();
  }
  return answered;
}

HttpClient::Request get(const std::string& url) {
  HttpClient::Request request;
  request.url = url;
  return request;
}

struct TemporaryDirectory {
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "http-client.XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

}  // namespace

TEST_CASE("a response carries status, headers and body") {
  ThreadServer server([](const std::string&) { return ok("hello"); });
  auto answered = exchange(get(server.url("/v1/x?secret=1")));
  CHECK(answered.response().status == 200);
  CHECK(answered.response().body == "hello");
  REQUIRE(answered.response().find_header("x-test") != nullptr);
  CHECK(*answered.response().find_header("x-test") == "yes");
  CHECK(answered.response().find_header("x-none") == nullptr);
  CHECK(server.requests().at(0).substr(0, 27) == "GET /v1/x?secret=1 HTTP/1.1");
}

TEST_CASE("an error status is a response, not an error") {
  ThreadServer server([](const std::string&) { return ok("{}", "500 Internal Server Error"); });
  CHECK(exchange(get(server.url())).response().status == 500);
}

TEST_CASE("a redirect is an ordinary response unless asked for") {
  ThreadServer server([](const std::string& request) {
    if (request.find("GET /to ") == 0) return ok("there");
    return std::string("HTTP/1.1 302 Found\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n");
  });
  CHECK(exchange(get(server.url("/from"))).response().status == 302);
  auto request = get(server.url("/from"));
  request.redirects_max = 2;
  auto followed = exchange(request);
  CHECK(followed.response().status == 200);
  CHECK(followed.response().body == "there");
}

TEST_CASE("method, headers and body arrive as given, without additions of curl") {
  ThreadServer server([](const std::string&) { return ok(""); });
  auto request = get(server.url("/a/../b"));
  request.method = "PUT";
  request.body = std::string(300'000, 'b');
  request.headers = {{"X-Vault-Token", "t"}, {"X-Empty", ""}};
  CHECK(exchange(request).response().status == 200);
  const std::string seen = server.requests().at(0);
  CHECK(seen.find("PUT /a/../b HTTP/1.1\r\n") == 0);
  CHECK(seen.find("X-Vault-Token: t\r\n") != std::string::npos);
  CHECK(seen.find("X-Empty:") != std::string::npos);
  CHECK(seen.find("Expect:") == std::string::npos);
  CHECK(seen.find("Content-Type:") == std::string::npos);
  CHECK(seen.find("\r\nContent-Length: 300000\r\n") != std::string::npos);
  CHECK(seen.substr(seen.size() - 300'000) == request.body);
}

TEST_CASE("HEAD has no body and LIST is sent as it is") {
  ThreadServer server([](const std::string& request) {
    if (request[0] != 'H') return ok("l");
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  });
  auto request = get(server.url());
  request.method = "HEAD";
  CHECK(exchange(request).response().body.empty());
  request.method = "LIST";
  CHECK(exchange(request).response().body == "l");
}

TEST_CASE("a refused connection is ECONNREFUSED and the error hides the query") {
  std::uint16_t port = 0;
  {
    ThreadServer gone([](const std::string&) { return ok(""); });
    port = gone.port();
  }
  auto answered =
      exchange(get("http://me:pw@127.0.0.1:" + std::to_string(port) + "/p?token=hidden"));
  CHECK(answered.error().errno_value() == ECONNREFUSED);
  CHECK(answered.error().message() ==
        "cannot GET http://127.0.0.1:" + std::to_string(port) + "/p: Connection refused");
}

TEST_CASE("a silent server ends in ETIMEDOUT") {
  ThreadServer server([](const std::string&) { return std::string(); });
  auto request = get(server.url());
  request.total_timeout = 100ms;
  auto answered = exchange(request);
  CHECK(answered.error().errno_value() == ETIMEDOUT);
  CHECK(answered.error().message() ==
        "cannot GET " + server.url() + ": no complete response within 100 ms");
}

TEST_CASE("a timeout on a connection that is used again is told from one without a connection") {
  ThreadServer server([](const std::string& request) {
    return request.find("/silent") != std::string::npos ? std::string() : ok("x");
  });
  Loop loop;
  {
    HttpClient client(loop);
    std::string message;
    HttpClient::Exchange second;
    auto first = client.send(get(server.url()), [&](Result<HttpClient::Response>) {
      auto request = get(server.url("/silent"));
      request.total_timeout = 100ms;
      second = client.send(request, [&](Result<HttpClient::Response> result) {
        message = result ? "answered" : result.error().message();
        loop.stop();
      });
    });
    loop.run();
    CHECK(server.connections() == 1);
    CHECK(message ==
          "cannot GET " + server.url("/silent") + ": no complete response within 100 ms");
  }
}

TEST_CASE("a body larger than allowed is EMSGSIZE") {
  ThreadServer server([](const std::string&) { return ok(std::string(70'000, 'x')); });
  auto request = get(server.url());
  request.response_bytes_max = 69'999;
  CHECK(exchange(request).error().errno_value() == EMSGSIZE);
  request.response_bytes_max = 70'000;
  CHECK(exchange(request).response().body.size() == 70'000);
}

TEST_CASE("a connection closed early is ECONNRESET") {
  ThreadServer half([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nX-Half: closed\r\nContent-Length: 100\r\n\r\npart");
  });
  CHECK(exchange(get(half.url())).error().errno_value() == ECONNRESET);
  ThreadServer none([](const std::string&) { return std::string("close"); });
  CHECK(exchange(get(none.url())).error().errno_value() == ECONNRESET);
}

TEST_CASE("what is not HTTP is EPROTO") {
  ThreadServer server([](const std::string&) { return std::string("hello there\r\n\r\n"); });
  CHECK(exchange(get(server.url())).error().errno_value() == EPROTO);
}

TEST_CASE("unusable requests are EINVAL and are not sent") {
  ThreadServer server([](const std::string&) { return ok(""); });
  auto request = get(server.url());
  request.headers = {{"X-A", "b\r\nX-Smuggled: c"}};
  CHECK(exchange(request).error().errno_value() == EINVAL);
  CHECK(exchange(get("http://127.0.0.1/a b")).error().errno_value() == EINVAL);
  CHECK(exchange(get("ftp://127.0.0.1/")).error().errno_value() == EINVAL);
  request = get(server.url());
  request.method = "GET /x HTTP/1.1\r\n";
  CHECK(exchange(request).error().errno_value() == EINVAL);
  CHECK(server.connections() == 0);
}

TEST_CASE("proxy variables of the environment are ignored") {
  ThreadServer server([](const std::string&) { return ok("direct"); });
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  ::setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  auto answered = exchange(get(server.url()));
  ::unsetenv("http_proxy");
  ::unsetenv("ALL_PROXY");
  CHECK(answered.response().body == "direct");
}

TEST_CASE("a Unix socket is dialled by path") {
  const TemporaryDirectory directory;
  ThreadServer server([](const std::string&) { return ok("unix"); }, {}, directory / "s");
  auto request = get("http://admin/stats");
  request.unix_socket_path = directory / "s";
  CHECK(exchange(request).response().body == "unix");
  CHECK(server.requests().at(0).find("Host: admin\r\n") != std::string::npos);
}

TEST_CASE("destroying the exchange cancels it, before, during and in the callback") {
  ThreadServer server([](const std::string& request) {
    return request.find("/silent") != std::string::npos ? std::string() : ok("x");
  });
  Loop loop;
  {
    HttpClient client(loop);
    bool is_called = false;
    {
      auto owner = client.send(get(server.url()), [&](auto) { is_called = true; });
    }
    CHECK(client.in_flight() == 0);

    auto silent = client.send(get(server.url("/silent")), [&](auto) { is_called = true; });
    Timer timer(loop);
    std::function<void()> cancel_once_seen = [&] {
      if (server.requests().empty()) return timer.start(5ms, cancel_once_seen);
      silent.cancel();
      loop.stop();
    };
    timer.start(1ms, cancel_once_seen);
    loop.run();
    CHECK(client.in_flight() == 0);

    auto own = std::make_unique<HttpClient::Exchange>();
    *own = client.send(get(server.url()), [&](auto) {
      own.reset();
      loop.stop();
    });
    loop.run();
    CHECK_FALSE(is_called);
    CHECK(own == nullptr);
  }
}

TEST_CASE("the client may be destroyed with requests in flight and from a callback") {
  ThreadServer server([](const std::string& request) {
    return request.find("/silent") != std::string::npos ? std::string() : ok("x");
  });
  Loop loop;
  auto client = std::make_unique<HttpClient>(loop);
  bool is_called = false;
  auto silent = client->send(get(server.url("/silent")), [&](auto) { is_called = true; });
  auto quick = client->send(get(server.url()), [&](auto) {
    client.reset();
    loop.stop();
  });
  loop.run();
  CHECK(client == nullptr);
  CHECK_FALSE(is_called);
  CHECK_FALSE(silent.is_active());
}

TEST_CASE("the body can be streamed, and stopped by false or by destroying the exchange") {
  ThreadServer server([](const std::string&) { return ok(std::string(1'000'000, 's')); });
  std::size_t received = 0;
  auto request = get(server.url());
  request.response_bytes_max = 10;  // holds only for a body that is kept
  request.on_body = [&](std::string_view piece) {
    received += piece.size();
    return true;
  };
  CHECK(exchange(request).response().body.empty());
  CHECK(received == 1'000'000);

  request.on_body = [](std::string_view) { return false; };
  CHECK(exchange(request).error().errno_value() == ECANCELED);

  Loop loop;
  {
    HttpClient client(loop);
    HttpClient::Exchange owner;
    bool is_called = false;
    request.on_body = [&](std::string_view) {
      owner.cancel();
      loop.stop();
      return true;
    };
    owner = client.send(request, [&](auto) { is_called = true; });
    loop.run();
    loop.run_once(false);
    CHECK_FALSE(is_called);
    CHECK(client.in_flight() == 0);
  }
}

TEST_CASE("no more than the allowed connections per host, and they are reused") {
  ThreadServer server([](const std::string&) { return ok("x"); });
  Loop loop;
  {
    HttpClient client(loop, {.connections_per_host_max = 3});
    std::vector<HttpClient::Exchange> owners;
    int done = 0;
    for (int i = 0; i < 40; ++i) {
      owners.push_back(client.send(get(server.url()), [&](Result<HttpClient::Response> result) {
        CHECK(result.has_value());
        if (++done == 40) loop.stop();
      }));
    }
    loop.run();
    CHECK(done == 40);
    CHECK(server.open_max() <= 3);
    CHECK(server.connections() <= 3);
  }
}

TEST_CASE("TLS is verified against a private CA") {
  const TemporaryDirectory directory;
  const std::string script =
      "cd " + directory.path +
      " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
      " -subj '/CN=Test CA' -keyout ca.key -out ca.pem"
      " && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
      " -subj '/CN=vault.test' -keyout server.key -out server.csr"
      " && printf 'subjectAltName=DNS:vault.test' > san"
      " && openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
      " -days 2 -extfile san -out server.pem";
  REQUIRE(std::system(("( " + script + " ) >/dev/null 2>&1").c_str()) == 0);
  // The server's SSL_write may meet a connection that the client has dropped.
  ::signal(SIGPIPE, SIG_IGN);
  ThreadServer server([](const std::string&) { return ok("safe"); },
                      TlsFiles{directory / "server.pem", directory / "server.key"});

  auto request = get(server.url());
  CHECK(exchange(request).error().errno_value() == EPROTO);  // the system does not know this CA

  request.tls.ca_file = directory / "ca.pem";
  CHECK(exchange(request).error().errno_value() == EPROTO);  // 127.0.0.1 is not in the certificate

  request.tls.server_name = "vault.test";
  CHECK(exchange(request).response().body == "safe");

  request.tls.ca_file = directory / "missing.pem";
  CHECK(exchange(request).error().errno_value() == EINVAL);
}
