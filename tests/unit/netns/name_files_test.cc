// resolv.conf, hosts and nsswitch.conf of a service, from the host's own texts.
#include "netns/name_files.h"

#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

constexpr std::string_view kStub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n";

std::string resolv_conf(const Dns& dns, std::string_view host, std::string_view upstream,
                        std::vector<std::string>& warnings) {
  return render_resolv_conf(dns, host, upstream, warnings);
}

}  // namespace

TEST_CASE("a stub resolver on the host's loopback is replaced by the servers it asks itself") {
  std::vector<std::string> warnings;
  CHECK(resolv_conf({}, kStub, "nameserver 192.0.2.53\nnameserver fe80::1%eth0\n", warnings) ==
        "# Written by Pillion for one service\n"
        "nameserver 192.0.2.53\nsearch lan\noptions edns0 trust-ad\n");
  CHECK(warnings.empty());
}

TEST_CASE("a host without a reachable DNS server is told") {
  std::vector<std::string> warnings;
  CHECK(resolv_conf({}, "nameserver ::1\n# nameserver 192.0.2.1\n", "", warnings) ==
        "# Written by Pillion for one service\n");
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("set [network.dns] nameservers") != std::string::npos);
}

TEST_CASE("settings of the file win over the host's") {
  std::vector<std::string> warnings;
  CHECK(resolv_conf({{"192.0.2.9"}, {"prod", "lan"}, {"ndots:2"}}, kStub, "", warnings) ==
        "# Written by Pillion for one service\n"
        "nameserver 192.0.2.9\nsearch prod lan\noptions ndots:2\n");
}

TEST_CASE("the hosts file names the service, the host, the upstreams and what the host knows") {
  Wanted wanted;
  wanted.service = "orders";
  wanted.aliases = {{"192.0.2.70", {"mail"}}, {"240.240.0.1", {"users", "users.internal"}}};
  Facts facts;
  facts.address4 = "10.213.0.2";
  facts.gateway4 = "10.213.0.1";
  const std::string_view host_text =
      "127.0.0.1 localhost\n127.0.1.1 myhost\n192.0.2.80 db users.internal\n::1 localhost\n";
  CHECK(render_hosts(wanted, facts, host_text, HostsReader::Captured) ==
        "# Written by Pillion for one service\n"
        "127.0.0.1 localhost\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        "10.213.0.2 orders\n"
        "10.213.0.1 host.pillion.internal\n"
        "192.0.2.70 mail\n"
        "240.240.0.1 users users.internal\n"
        "127.0.1.1 myhost\n"
        "192.0.2.80 db\n");
  // An exempt helper, above all the proxy, must find the real addresses.
  CHECK(render_hosts(wanted, facts, host_text, HostsReader::Exempt) ==
        "# Written by Pillion for one service\n"
        "127.0.0.1 localhost\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        "10.213.0.2 orders\n"
        "10.213.0.1 host.pillion.internal\n"
        "192.0.2.70 mail\n"
        "127.0.1.1 myhost\n"
        "192.0.2.80 db users.internal\n");
}

TEST_CASE("the host's name has one address, IPv4 where there is one") {
  Wanted wanted;
  wanted.service = "orders";
  Facts facts;
  facts.gateway4 = "10.213.0.1";
  facts.gateway6 = "fd00::1";
  CHECK(render_hosts(wanted, facts, "", HostsReader::Captured).find("fd00::1") ==
        std::string::npos);
  facts.gateway4 = "";
  CHECK(render_hosts(wanted, facts, "", HostsReader::Captured)
            .find("fd00::1 host.pillion.internal\n") != std::string::npos);
}

TEST_CASE("names are looked up in files and DNS, users as on the host") {
  CHECK(render_nsswitch_conf(
            "passwd: files sss # users\nhosts: files resolve [!UNAVAIL=return] dns\n") ==
        "# Written by Pillion for one service\nhosts: files dns\npasswd: files sss\n");
}

}  // namespace pillion::netns
