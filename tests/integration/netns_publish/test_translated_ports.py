"""Ports that the kernel translates (DNAT): TCP of a service without inbound capture, and UDP. Reached from
another machine, from the host by its address and by 127.0.0.1, and from the service itself.
"""
import contextlib

import pytest

from support.network_lab import Machine, connect_by_bridge
from support.pillion_testing import requires_root, unique_name

pytestmark = requires_root

HOST = {"v4": "192.0.2.1", "v6": "2001:db8::1"}
APP = 10001


class Lab:
    def __init__(self, stack):
        self.a = stack.enter_context(Machine("a"))
        self.b = stack.enter_context(Machine("b"))
        stack.enter_context(connect_by_bridge([self.a, self.b]))
        self.name = unique_name("publish")
        ports = [{"host_port": 18080, "port": 8080, "is_translated": True},
                 {"host_port": 15353, "port": 53, "transport": "udp", "is_translated": True},
                 {"host_port": 18081, "port": 8080, "host_address": "127.0.0.1", "is_translated": True}]
        self.wanted = {"service": self.name, "intercept": {"inbound": False}, "publish": ports}
        self.facts = self.a.create_service(self.wanted)
        self.a.netns("capture", self.wanted)
        listen = self.a.listen
        stack.enter_context(listen(self.name, APP, ["0.0.0.0:8080", "[::]:8080"]))
        stack.enter_context(listen(self.name, 0, ["0.0.0.0:53", "[::]:53"], "--udp"))
        stack.enter_context(listen("", 0, ["127.0.0.1:7777"]))
        stack.enter_context(listen(self.name, 1337, ["127.0.0.1:15001", "[::1]:15001"]))


@pytest.fixture(scope="module")
def lab():
    with contextlib.ExitStack() as stack:
        yield Lab(stack)


@pytest.fixture(params=["v4", "v6"])
def family(request):
    return request.param


def test_another_machine_reaches_the_app_and_the_app_sees_its_address(lab, family):
    reply = lab.b.dial("", 0, HOST[family], 18080)
    assert reply["port"] == 8080
    assert reply["peer"].rpartition(":")[0].strip("[]") == {"v4": "192.0.2.2", "v6": "2001:db8::2"}[family]


def test_udp_from_another_machine_is_answered(lab, family):
    assert lab.b.dial("", 0, HOST[family], 15353, "--udp")["port"] == 53


def test_the_host_reaches_the_app_by_its_own_address(lab, family):
    assert lab.a.dial("", 0, HOST[family], 18080)["port"] == 8080
    assert lab.a.dial("", 0, HOST[family], 15353, "--udp")["port"] == 53


def test_the_host_reaches_the_app_by_localhost(lab):
    assert lab.a.dial("", 0, "127.0.0.1", 18080)["port"] == 8080
    assert lab.a.dial("", 0, "127.0.0.1", 15353, "--udp")["port"] == 53


def test_a_port_published_on_localhost_is_reached_from_there_only(lab):
    assert lab.a.dial("", 0, "127.0.0.1", 18081)["port"] == 8080
    assert lab.b.dial("", 0, HOST["v4"], 18081) == {"error": "refused"}


def test_the_service_reaches_its_own_published_port_by_the_hosts_address(lab, family):
    assert lab.a.dial(lab.name, 1337, HOST[family], 18080)["port"] == 8080


def test_an_unpublished_port_stays_private(lab, family):
    assert lab.b.dial("", 0, HOST[family], 8080) == {"error": "refused"}


def test_nobody_inside_reaches_loopback_services_of_the_host(lab):
    """127.0.0.1:PORT needs route_localnet, which must not open the host's loopback to the service."""
    lab.a.run(["sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1"], service=lab.name)
    lab.a.run(["ip", "route", "add", "127.7.7.7/32", "via", lab.facts["gateway4"], "dev", "eth0"],
              service=lab.name)
    lab.a.run(["ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"], service=lab.name)
    with lab.a.listen("", 0, ["127.7.7.7:7778"]):
        assert lab.a.dial("", 0, "127.7.7.7", 7778)["port"] == 7778
        reply = lab.a.dial(lab.name, 1337, "127.7.7.7", 7778, "--timeout", "1", "--from",
                           lab.facts["address4"])
    assert reply == {"error": "timeout"}


def test_remove_takes_the_published_ports_away(lab):
    lab.a.netns("remove", lab.name)
    assert lab.b.dial("", 0, HOST["v4"], 18080) == {"error": "refused"}
    assert lab.a.run(["nft", "list", "ruleset"]).stdout == ""
