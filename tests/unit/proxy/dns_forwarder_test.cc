// The forwarder against servers made here: silence, refusal, and a resolv.conf that changes.
#include "proxy/dns/forwarder.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <string>

#include <sys/socket.h>
#include <unistd.h>

#include "runtime/listeners.h"

using namespace pillion;
using namespace pillion::proxy;
using namespace pillion::proxy::dns;
using namespace std::string_literals;

namespace {

std::string query_for(const std::string& name) {
  return "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"s + static_cast<char>(name.size()) +
         name + "\x00\x00\x01\x00\x01"s;
}

// A forwarder on 127.0.0.1, with servers on one free port of 127.0.0.2 and 127.0.0.3.
struct Lab {
  Lab() {
    first = *bind_udp("127.0.0.2", 0);
    options.server_port = *local_port(first.get());
    second = *bind_udp("127.0.0.3", options.server_port);
    options.resolv_conf = "/tmp/pillion-dns-test-" + std::to_string(getpid());
    options.try_timeout = std::chrono::milliseconds(100);
  }
  ~Lab() { std::remove(options.resolv_conf.c_str()); }

  void write(const std::string& text) const { std::ofstream(options.resolv_conf) << text; }
  void start() {
    forwarder = std::make_unique<Forwarder>(loop, options);
    Fd socket = *bind_udp("127.0.0.1", 0);
    const Address address(*config::IpAddress::parse("127.0.0.1"), *local_port(socket.get()));
    REQUIRE(forwarder->serve_udp(std::move(socket)));
    client = *bind_udp("127.0.0.1", 0);
    REQUIRE(::connect(client.get(), address.data(), address.size()) == 0);
    tick.start(std::chrono::milliseconds(10), std::chrono::milliseconds(10), [] {});
  }
  void ask(const std::string& name) {
    const std::string query = query_for(name);
    REQUIRE(::send(client.get(), query.data(), query.size(), 0) > 0);
  }
  // Answers what a server got, with an rcode for an error or else an address.
  void serve(const Fd& server, std::optional<Rcode> error = std::nullopt) {
    while (auto datagram = receive_datagram(server.get())) {
      const Query query = parse_query(datagram->bytes).query;
      const std::string answer = error ? make_error(datagram->bytes, query, *error)
                                       : make_address_answer(datagram->bytes, query, 7, 60);
      send_answer(server.get(), *datagram, answer);
    }
  }
  // The forwarder's answer within ten seconds, or "".
  template<class Serve>
  std::string wait(Serve serve_some) {
    const auto end = SystemClock().now() + std::chrono::seconds(10);
    while (SystemClock().now() < end) {
      loop.run_once();
      serve_some();
      char buffer[512];
      const ssize_t count = ::recv(client.get(), buffer, sizeof buffer, 0);
      if (count > 0) return {buffer, static_cast<std::size_t>(count)};
    }
    return {};
  }

  ForwarderOptions options;
  Loop loop;
  Timer tick{loop};
  Fd first, second, client;
  std::unique_ptr<Forwarder> forwarder;
};

}  // namespace

TEST_CASE("servers are read from resolv.conf") {
  const auto servers = parse_servers(
      "# nameserver 9.9.9.9\nnameserver 192.0.2.1\nsearch x\nnameserver ::1\nnameserver x\n", 53);
  REQUIRE(servers.size() == 2);
  CHECK(servers[0].to_string() == "192.0.2.1:53");
  CHECK(servers[1].to_string() == "[::1]:53");
  CHECK(parse_servers("", 53)[0].to_string() == "127.0.0.1:53");
}

TEST_CASE("the next server is asked when one is silent, and the answer has the client's id") {
  Lab lab;
  lab.write("nameserver 127.0.0.2\nnameserver 127.0.0.3\n");
  lab.start();
  lab.ask("one");
  const std::string answer = lab.wait([&] { lab.serve(lab.second); });
  REQUIRE(is_answer_to(answer, parse_query(query_for("one")).query, 0x1234));
  CHECK(rcode_of(answer) == Rcode::NoError);
}

TEST_CASE(
    "the next server is asked when one refuses; its refusal is given when nobody does better") {
  Lab lab;
  lab.write("nameserver 127.0.0.2\nnameserver 127.0.0.3\n");
  lab.start();
  lab.ask("one");
  const std::string good = lab.wait([&] {
    lab.serve(lab.first, Rcode::Refused);
    lab.serve(lab.second);
  });
  REQUIRE(good.size() > kHeaderBytes);
  CHECK(rcode_of(good) == Rcode::NoError);
  lab.ask("two");
  const std::string refused = lab.wait([&] {
    lab.serve(lab.first, Rcode::Refused);
    lab.serve(lab.second, Rcode::Refused);
  });
  REQUIRE(refused.size() > kHeaderBytes);
  CHECK(rcode_of(refused) == Rcode::Refused);
}

TEST_CASE("without any answer there is a failure, in bounded time") {
  Lab lab;
  lab.write("nameserver 127.0.0.2\n");
  lab.start();
  lab.ask("one");
  const std::string answer = lab.wait([] {});
  REQUIRE(answer.size() > kHeaderBytes);
  CHECK(rcode_of(answer) == Rcode::ServerFailure);
}

TEST_CASE("the same query of several clients is asked of the servers once") {
  Lab lab;
  lab.write("nameserver 127.0.0.2\n");
  lab.options.try_timeout = std::chrono::seconds(5);
  lab.start();
  for (const char* name : {"herd", "HERD", "hErD"}) lab.ask(name);
  int asked = 0;
  std::vector<std::string> answers;
  for (int i = 0; i < 3; ++i) {
    answers.push_back(lab.wait([&] {
      if (lab.forwarder->stats().coalesced.value() < 2) return;  // all three are known
      while (auto datagram = receive_datagram(lab.first.get())) {
        ++asked;
        const Query query = parse_query(datagram->bytes).query;
        const std::string answer = make_address_answer(datagram->bytes, query, 7, 60);
        send_answer(lab.first.get(), *datagram, answer);
      }
    }));
  }
  CHECK(asked == 1);
  CHECK(lab.forwarder->stats().from_servers.value() == 1);
  // Each has the question as it was put.
  const std::string all = answers[0] + answers[1] + answers[2];
  for (const char* name : {"herd", "HERD", "hErD"}) CHECK(all.find(name) != std::string::npos);
}

TEST_CASE("an answer under another id is not taken") {
  Lab lab;
  lab.write("nameserver 127.0.0.2\n");
  lab.start();
  lab.ask("one");
  const std::string answer = lab.wait([&] {
    while (auto datagram = receive_datagram(lab.first.get())) {
      const Query query = parse_query(datagram->bytes).query;
      std::string forged = make_address_answer(datagram->bytes, query, 7, 60);
      set_id(forged, static_cast<std::uint16_t>(id_of(forged) + 1));
      send_answer(lab.first.get(), *datagram, forged);
    }
  });
  REQUIRE(answer.size() > kHeaderBytes);
  CHECK(rcode_of(answer) == Rcode::ServerFailure);
}

TEST_CASE("a resolv.conf that changes is followed") {
  Lab lab;
  lab.write("nameserver 127.0.0.2\n");
  lab.start();
  lab.write("nameserver 127.0.0.3\n");
  std::string answer;
  for (int i = 0; i < 50 && (answer.empty() || rcode_of(answer) != Rcode::NoError); ++i) {
    lab.ask("one");
    answer = lab.wait([&] { lab.serve(lab.second); });
  }
  REQUIRE_FALSE(answer.empty());
  CHECK(rcode_of(answer) == Rcode::NoError);
}

TEST_CASE("names of upstreams are answered here") {
  Lab lab;
  lab.write("nameserver 127.0.0.2\n");
  lab.start();
  config::ProxyConfig config;
  config.upstreams.resize(2);
  config.upstreams[0].name = "first";
  config.upstreams[1].name = "second";
  config.upstreams[1].hosts = {"Payments"};
  lab.forwarder->set_names(config);
  lab.ask("payments");
  const std::string answer = lab.wait([] {});
  REQUIRE(answer.size() > 4);
  CHECK(answer.substr(answer.size() - 4) == "\xf0\xf0\x00\x02"s);
}
