"""Who reaches whom in a bridged service: every kind of connection, on IPv4 and IPv6, with both ways of inbound capture.

Machine a runs the service, machine b is elsewhere on the network. In the service: the proxy's listeners (uid 1337), the
app (uid 10001) on 8080, which is declared, and on 9999, which is not. Each listener tells what reached it.
"""
import contextlib
import json

import pytest

from support.network_lab import Machine, connect_by_bridge
from support.pillion_testing import requires_root, unique_name

pytestmark = requires_root

PROXY, LOGS, APP = 1337, 1338, 10001
REMOTE = {"v4": "192.0.2.2", "v6": "2001:db8::2"}
EXCLUDED_RANGE = {"v4": "198.51.100.9", "v6": "2001:db8:9::9"}
LOOPBACK = {"v4": "127.0.0.1", "v6": "::1"}
PROXY_SOURCE = {"v4": "127.0.0.6", "v6": "::6"}


class Lab:
    """The two machines with everything listening."""

    def __init__(self, backend, method, stack):
        self.a = stack.enter_context(Machine("a"))
        self.b = stack.enter_context(Machine("b"))
        stack.enter_context(connect_by_bridge([self.a, self.b]))
        self.method = method
        self.name = unique_name("matrix")
        for machine in (self.a, self.b):
            machine.run(["ip", "route", "add", "198.51.100.0/24", "dev", "eth0"])
            machine.run(["ip", "route", "add", "2001:db8:9::/64", "dev", "eth0"])
        for address in ("198.51.100.9/32", "2001:db8:9::9/128"):
            self.b.run(["ip", "address", "add", address, "dev", "eth0"])
        self.wanted = {
            "service": self.name,
            "intercept": {"inbound_ports": [8080], "exempt_uids": [LOGS], "exclude_outbound_ports": [5432],
                          "exclude_outbound_cidrs": ["198.51.100.0/24", "2001:db8:9::/64"],
                          "inbound_method": method, "backend": backend.partition("-")[0]}}
        self.facts = self.a.create_service(self.wanted)
        if backend == "iptables-legacy":  # where its tables exist already, that variant is taken
            self.a.run(["iptables-legacy", "-t", "filter", "-L"], service=self.name)
        self.own = {"v4": self.facts["address4"], "v6": self.facts["address6"]}
        self.start_listeners(stack)
        self.choice = json.loads(self.a.netns("capture", self.wanted).stdout)

    def start_listeners(self, stack):
        transparent = ["--transparent"] if self.method == "tproxy" else []
        listen = self.a.listen
        stack.enter_context(listen(self.name, PROXY, ["127.0.0.1:15001", "[::1]:15001"]))
        stack.enter_context(listen(self.name, PROXY, ["0.0.0.0:15006", "[::]:15006"], *transparent))
        stack.enter_context(listen(self.name, PROXY, ["0.0.0.0:15021", "[::]:15021"]))
        stack.enter_context(listen(self.name, APP, ["0.0.0.0:8080", "[::]:8080", "0.0.0.0:9999", "[::]:9999"]))
        stack.enter_context(self.b.listen("", 0, ["0.0.0.0:80", "[::]:80", "0.0.0.0:5432", "[::]:5432",
                                                  "0.0.0.0:53", "[::]:53"]))

    def inside(self, uid, address, port, *options):
        return self.a.dial(self.name, uid, address, port, *options)

    def from_host(self, address, port):
        return self.a.dial("", 0, address, port)


WAYS = [(backend, method) for backend in ("nftables", "iptables-nft", "iptables-legacy")
        for method in ("redirect", "tproxy")]


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def lab(request):
    with contextlib.ExitStack() as stack:
        yield Lab(*request.param, stack)


@pytest.fixture(params=["v4", "v6"])
def family(request):
    return request.param


def endpoint(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def test_the_app_to_a_remote_lands_at_the_proxy_with_its_destination(lab, family):
    reply = lab.inside(APP, REMOTE[family], 80)
    assert (reply["port"], reply["original"]) == (15001, endpoint(REMOTE[family], 80))


def test_the_app_to_a_port_nobody_listens_on_lands_at_the_proxy_too(lab, family):
    reply = lab.inside(APP, REMOTE[family], 1)
    assert (reply["port"], reply["original"]) == (15001, endpoint(REMOTE[family], 1))


def test_the_app_to_a_virtual_address_lands_at_the_proxy(lab):
    reply = lab.inside(APP, "240.240.0.1", 80)
    assert (reply["port"], reply["original"]) == (15001, "240.240.0.1:80")


def test_the_app_to_loopback_is_direct(lab, family):
    reply = lab.inside(APP, LOOPBACK[family], 8080)
    assert reply["port"] == 8080


def test_the_app_to_its_own_address_is_direct(lab, family):
    assert lab.inside(APP, lab.own[family], 8080)["port"] == 8080


def test_the_proxy_to_a_remote_is_not_captured(lab, family):
    """The redirect loop: a captured proxy would talk to itself for ever."""
    reply = lab.inside(PROXY, REMOTE[family], 80)
    assert reply["port"] == 80
    assert reply["peer"].rpartition(":")[0].strip("[]") == {"v4": "192.0.2.1", "v6": "2001:db8::1"}[family]


def test_an_exempt_helper_to_a_remote_is_not_captured(lab, family):
    assert lab.inside(LOGS, REMOTE[family], 80)["port"] == 80


def test_the_proxy_to_the_app_from_its_own_source_address_is_direct(lab, family):
    reply = lab.inside(PROXY, LOOPBACK[family], 8080, "--from", PROXY_SOURCE[family])
    assert reply["port"] == 8080
    assert reply["peer"].rpartition(":")[0].strip("[]") == PROXY_SOURCE[family]


def test_the_service_calling_its_own_address_through_the_proxy_comes_in_again(lab, family):
    reply = lab.inside(PROXY, lab.own[family], 8080)
    assert (reply["port"], reply["original"]) == (15006, endpoint(lab.own[family], 8080))


def test_the_host_to_a_declared_port_lands_at_the_inbound_listener(lab, family):
    reply = lab.from_host(lab.own[family], 8080)
    assert reply["port"] == 15006
    # With TPROXY nothing is translated: the local address is the destination.
    destination = reply["local"] if lab.method == "tproxy" else reply["original"]
    assert destination == endpoint(lab.own[family], 8080)


def test_the_host_to_other_ports_is_direct(lab, family):
    assert lab.from_host(lab.own[family], 9999)["port"] == 9999
    assert lab.from_host(lab.own[family], 15021)["port"] == 15021


def test_an_excluded_port_is_direct(lab, family):
    assert lab.inside(APP, REMOTE[family], 5432)["port"] == 5432


def test_an_excluded_range_is_direct(lab, family):
    assert lab.inside(APP, EXCLUDED_RANGE[family], 80)["port"] == 80


def test_name_resolution_by_tcp_is_direct(lab, family):
    assert lab.inside(APP, REMOTE[family], 53)["port"] == 53


def test_a_neighbour_that_routes_the_pool_here_reaches_nothing(lab, family):
    via = {"v4": "192.0.2.1", "v6": "2001:db8::1"}[family]
    lab.b.run(["ip", "route", "replace", lab.own[family], "via", via])
    assert lab.b.dial("", 0, lab.own[family], 8080, "--timeout", "1") == {"error": "timeout"}


def test_the_rules_are_where_they_were_asked_for(lab, request):
    backend = request.node.callspec.params["lab"][0]
    assert lab.choice["backend"] == backend.partition("-")[0]
    assert lab.choice["inbound_method"] == lab.method
    rules = json.loads(lab.a.netns("show", lab.name).stdout)["capture_rules"]
    assert rules.startswith("table inet pillion" if backend == "nftables" else f"# IPv4 {backend}\n")


def test_verify_finds_everything_in_order(lab):
    lab.a.netns("verify", lab.wanted, "--capture")


def test_capturing_again_replaces_the_rules_whole(lab):
    before = json.loads(lab.a.netns("show", lab.name).stdout)["capture_rules"].count("\n")
    lab.a.netns("capture", lab.wanted)
    assert json.loads(lab.a.netns("show", lab.name).stdout)["capture_rules"].count("\n") == before
    assert lab.inside(APP, REMOTE["v4"], 80)["port"] == 15001

