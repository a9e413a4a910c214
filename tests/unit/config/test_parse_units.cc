// Single values: what is accepted, what it becomes, and what is not.
#include <catch2/catch.hpp>

#include <csignal>
#include <limits>

#include "config/parse_units.h"

using namespace pillion::config;
using std::chrono::milliseconds;

TEST_CASE("Durations carry units, largest first") {
  struct Case {
    const char* text;
    std::int64_t milliseconds_count;
  };
  const auto [text, count] =
      GENERATE(Case{"0", 0}, Case{"0s", 0}, Case{"1ms", 1}, Case{"500ms", 500}, Case{"10s", 10'000},
               Case{"5m", 300'000}, Case{"1h30m", 5'400'000}, Case{"1h0m1s500ms", 3'601'500},
               Case{"2d", 172'800'000}, Case{"1.5s", 1'500}, Case{"0.25h", 900'000});
  INFO(text);
  REQUIRE(parse_duration(text) == milliseconds(count));
  REQUIRE(parse_duration(to_string(milliseconds(count))) == milliseconds(count));
}

TEST_CASE("What is no duration is refused") {
  const char* text = GENERATE("", "10", "s", "-1s", "+1s", " 1s", "1s ", "1 s", "1m1h", "1s1s",
                              "1S", "1.s", ".5s", "1.0001s", "1e3s", "0x1s", "1us",
                              "99999999999999d", "18446744073709551616ms", "1h30", "1\n");
  INFO(text);
  REQUIRE_FALSE(parse_duration(text));
}

TEST_CASE("Sizes carry units") {
  struct Case {
    const char* text;
    std::uint64_t bytes;
  };
  const auto [text, bytes] =
      GENERATE(Case{"0B", 0}, Case{"1B", 1}, Case{"64KiB", 65'536}, Case{"64MiB", 67'108'864},
               Case{"1GB", 1'000'000'000}, Case{"1kB", 1'000}, Case{"1KB", 1'000},
               Case{"1.5GiB", 1'610'612'736}, Case{"2TiB", 2'199'023'255'552});
  INFO(text);
  REQUIRE(parse_bytes(text) == Bytes{bytes});
  REQUIRE(parse_bytes(to_string(Bytes{bytes})) == Bytes{bytes});
}

TEST_CASE("What is no size is refused") {
  const char* text = GENERATE("", "64", "MiB", "-1B", "64M", "64Mi", "64 MiB", "64mib", "0.3B",
                              "1.B", "9999999TiB", "18446744073709551616B", "1e3B");
  INFO(text);
  REQUIRE_FALSE(parse_bytes(text));
}

TEST_CASE("CPU quantities are whole CPUs, fractions or thousandths") {
  struct Case {
    const char* text;
    unsigned thousandths;
  };
  const auto [text, thousandths] = GENERATE(Case{"2", 2000}, Case{"0.5", 500}, Case{"250m", 250},
                                            Case{"0.001", 1}, Case{"1500m", 1500}, Case{"0", 0});
  INFO(text);
  REQUIRE(parse_cpu(text) == MilliCpu{thousandths});
  REQUIRE(parse_cpu(to_string(MilliCpu{thousandths})) == MilliCpu{thousandths});
}

TEST_CASE("What is no CPU quantity is refused") {
  const char* text = GENERATE("", "m", "0.0001", "0.5m", "1 m", "-1", "50%", "1.", "999999999");
  INFO(text);
  REQUIRE_FALSE(parse_cpu(text));
}

TEST_CASE("Networks have no bits beyond their prefix") {
  for (const char* text : {"10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "2001:db8::/32", "::/0"}) {
    INFO(text);
    REQUIRE(parse_cidr(text));
    REQUIRE(parse_cidr(text)->to_string() == text);
  }
  REQUIRE(parse_cidr("169.254.169.254")->prefix == 32);
  REQUIRE(parse_cidr("::1")->prefix == 128);
  for (const char* text : {"", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "fd00::1/8",
                           "fd00::/129", "10.0.0.0/8/8", "example.com/8", "10.0.0.0/-1", "1/8"}) {
    INFO(text);
    REQUIRE_FALSE(parse_cidr(text));
  }
}

TEST_CASE("A network contains the addresses under its prefix and no others") {
  const Cidr network = *parse_cidr("10.213.64.0/18");
  REQUIRE(network.contains(*IpAddress::parse("10.213.64.1")));
  REQUIRE(network.contains(*IpAddress::parse("10.213.127.255")));
  REQUIRE_FALSE(network.contains(*IpAddress::parse("10.213.128.0")));
  REQUIRE_FALSE(network.contains(*IpAddress::parse("::ffff:10.213.64.1")));
  REQUIRE(parse_cidr("::/0")->contains(*IpAddress::parse("::1")));
}

TEST_CASE("Listen addresses are numeric, IPv6 in brackets") {
  for (const char* text : {"127.0.0.1:7000", "0.0.0.0:15006", "[::]:15021", "[::1]:1"}) {
    INFO(text);
    REQUIRE(parse_socket_address(text)->to_string() == text);
  }
  for (const char* text : {"", ":80", "80", "localhost:80", "127.0.0.1", "127.0.0.1:", "::1:80",
                           "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:080", "[127.0.0.1]:80",
                           "[::1]80", "[::1", "256.0.0.1:80", "127.0.0.1:80 "}) {
    INFO(text);
    REQUIRE_FALSE(parse_socket_address(text));
  }
}

TEST_CASE("Peers are names or addresses with a port") {
  for (const char* text : {"users.internal:8443", "a:1", "10.0.0.1:80", "[2001:db8::1]:443",
                           "my_host:80", "x-1.example:65535"}) {
    INFO(text);
    REQUIRE(parse_host_port(text)->to_string() == text);
  }
  for (const char* text :
       {"users.internal", "users.internal:0", "-a:80", "a-:80", "a..b:80", "10.0.0.256:80",
        "1.2.3:80", "[users]:80", "a b:80", "http://a:80", ":80"}) {
    INFO(text);
    REQUIRE_FALSE(parse_host_port(text));
  }
}

TEST_CASE("Users are a name, a uid or uid:gid") {
  REQUIRE(parse_user("orders") == UserRef{"orders", {}, {}});
  REQUIRE(parse_user("1000") == UserRef{"", 1000u, {}});
  REQUIRE(parse_user("1000:100") == UserRef{"", 1000u, 100u});
  REQUIRE(parse_user("0") == UserRef{"", 0u, {}});
  for (const char* text : {"", "1000:", ":100", "orders:100", "1000:users", "-1", "4294967295",
                           "4294967296", "a b", "1000x", "/etc"}) {
    INFO(text);
    REQUIRE_FALSE(parse_user(text));
  }
}

TEST_CASE("Signals go by name") {
  REQUIRE(parse_signal("SIGTERM") == Signal{SIGTERM});
  REQUIRE(parse_signal("QUIT") == Signal{SIGQUIT});
  REQUIRE(parse_signal("SIGRTMIN+3") == Signal{SIGRTMIN + 3});
  REQUIRE(parse_signal(Signal{SIGRTMIN + 3}.to_string()) == Signal{SIGRTMIN + 3});
  REQUIRE(Signal{SIGINT}.to_string() == "SIGINT");
  for (const char* text : {"", "15", "TERMINATE", "sigterm", "SIGRTMIN+99", "SIGRTMIN-1"}) {
    INFO(text);
    REQUIRE_FALSE(parse_signal(text));
  }
}

TEST_CASE("File modes are octal") {
  REQUIRE(parse_file_mode("0400") == FileMode{0400});
  REQUIRE(parse_file_mode("755") == FileMode{0755});
  REQUIRE(parse_file_mode("2770") == FileMode{02770});
  REQUIRE(to_string(FileMode{0400}) == "0400");
  for (const char* text : {"", "0", "0800", "u+r", "00400", "0o400", "-400"}) {
    INFO(text);
    REQUIRE_FALSE(parse_file_mode(text));
  }
}

TEST_CASE("Published ports name address, host port, app port and transport") {
  struct Case {
    const char* text;
    const char* address;
    PortRange host;
    PortRange target;
    Transport transport;
  };
  const Case test =
      GENERATE(Case{"8080", "", {8080, 8080}, {8080, 8080}, Transport::Tcp},
               Case{"8080:80", "", {8080, 8080}, {80, 80}, Transport::Tcp},
               Case{"127.0.0.1:8080:80", "127.0.0.1", {8080, 8080}, {80, 80}, Transport::Tcp},
               Case{"8000-8010:9000-9010", "", {8000, 8010}, {9000, 9010}, Transport::Tcp},
               Case{"8000-8010", "", {8000, 8010}, {8000, 8010}, Transport::Tcp},
               Case{"53:53/udp", "", {53, 53}, {53, 53}, Transport::Udp},
               Case{"53/udp", "", {53, 53}, {53, 53}, Transport::Udp},
               Case{"[::1]:8080:80", "::1", {8080, 8080}, {80, 80}, Transport::Tcp},
               Case{"0.0.0.0:443:8443/tcp", "0.0.0.0", {443, 443}, {8443, 8443}, Transport::Tcp});
  INFO(test.text);
  const auto publish = parse_publish(test.text);
  REQUIRE(publish);
  CHECK((publish->address ? publish->address->to_string() : "") == test.address);
  CHECK(publish->host == test.host);
  CHECK(publish->target == test.target);
  CHECK(publish->transport == test.transport);
  CHECK(parse_publish(publish->to_string()) == publish);
}

TEST_CASE("What is no published port is refused") {
  const char* text = GENERATE("", "0", "65536", "8080:", ":8080", "8080:80:80", "127.0.0.1:8080",
                              "localhost:8080:80", "8000-8010:9000", "8010-8000", "::1:8080:80",
                              "[127.0.0.1]:8080:80", "80/sctp", "80/UDP", "80 ", "-80", "8080:0");
  INFO(text);
  REQUIRE_FALSE(parse_publish(text));
}

TEST_CASE("Mounts name a volume and perhaps how") {
  REQUIRE(parse_mount("logs")->volume == "logs");
  REQUIRE_FALSE(parse_mount("logs")->is_explicit);
  REQUIRE(parse_mount("logs:ro")->is_read_only);
  REQUIRE_FALSE(parse_mount("logs:rw")->is_read_only);
  REQUIRE(parse_mount("logs:rw")->is_explicit);
  for (const char* text : {"", ":ro", "logs:", "logs:rx", "/var/log", "Logs", "logs:ro:ro"}) {
    INFO(text);
    REQUIRE_FALSE(parse_mount(text));
  }
}

TEST_CASE("Names of children are DNS labels") {
  for (const char* text : {"a", "app", "user-service", "1", "a1", "x--y"}) {
    INFO(text);
    REQUIRE(is_child_name(text));
  }
  REQUIRE(is_child_name(std::string(63, 'a')));
  REQUIRE_FALSE(is_child_name(std::string(64, 'a')));
  for (const char* text : {"", "-a", "a-", "A", "a_b", "a.b", "a/b", "ä"}) {
    INFO(text);
    REQUIRE_FALSE(is_child_name(text));
  }
}
