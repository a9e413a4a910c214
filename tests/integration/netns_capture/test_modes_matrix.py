"""The connection matrix in the other modes: a Pod's own namespace (host), a namespace that somebody else made (join), sealed;
by nftables and iptables, inbound by redirect and tproxy, on IPv4 and IPv6. One table says who ends where.

Machine a has the service, machine b is elsewhere. Nothing but the rules may be there afterwards, and nothing after that.
"""
import contextlib
import json

import pytest

from support.network_lab import Machine, connect_by_bridge
from support.pillion_testing import program, requires_root, run, unique_name

pytestmark = requires_root

PROXY, LOGS, APP, OTHER = 1337, 1338, 10001, 10002
REMOTE = {"v4": "192.0.2.2", "v6": "2001:db8::2"}
EXCLUDED = {"v4": "198.51.100.9", "v6": "2001:db8:9::9"}
LOOPBACK = {"v4": "127.0.0.1", "v6": "::1"}
PROXY_SOURCE = {"v4": "127.0.0.6", "v6": "::6"}
OWN = {"v4": "192.0.2.1", "v6": "2001:db8::1"}
OUTBOUND, INBOUND, DNS = 15001, 15006, 15053

# who calls whom: from where, as which user, to which address and port; where it ends: host and join, sealed (None: there is
# no such thing).
MATRIX = {
    "app → remote": ("inside", APP, REMOTE, 80, OUTBOUND, OUTBOUND),
    "app → remote, nobody listens": ("inside", APP, REMOTE, 1, OUTBOUND, OUTBOUND),
    "another user → remote": ("inside", OTHER, REMOTE, 80, OUTBOUND, OUTBOUND),
    "app → loopback": ("inside", APP, LOOPBACK, 8080, 8080, 8080),
    "app → own address": ("inside", APP, OWN, 8080, 8080, None),
    "app → excluded port": ("inside", APP, REMOTE, 5432, 5432, OUTBOUND),
    "app → excluded range": ("inside", APP, EXCLUDED, 80, 80, OUTBOUND),
    "app → DNS by TCP": ("inside", APP, REMOTE, 53, DNS, DNS),
    "proxy → remote": ("inside", PROXY, REMOTE, 80, 80, None),
    "helper → remote": ("inside", LOGS, REMOTE, 80, 80, None),
    "proxy → own address": ("inside", PROXY, OWN, 8080, INBOUND, None),
    "proxy → own address, undeclared port": ("inside", PROXY, OWN, 9999, 9999, None),
    "peer → declared port": ("peer", 0, OWN, 8080, INBOUND, None),
    "peer → undeclared port": ("peer", 0, OWN, 9999, 9999, None),
    "peer → health port": ("peer", 0, OWN, 15021, 15021, None),
}
FROM_PROXY_SOURCE = {"proxy from 127.0.0.6 → app": ("inside", PROXY, LOOPBACK, 8080, 8080, 8080)}
WAYS = [(mode, backend, method) for mode in ("host", "join") for backend in ("nftables", "iptables")
        for method in ("redirect", "tproxy")] + [("sealed", "nftables", "tproxy")]


class Lab:
    def __init__(self, mode, backend, method, stack):
        self.mode, self.method = mode, method
        self.a = stack.enter_context(Machine("a"))
        self.b = stack.enter_context(Machine("b"))
        stack.enter_context(connect_by_bridge([self.a, self.b]))
        for machine in (self.a, self.b):
            machine.run(["ip", "route", "add", "198.51.100.0/24", "dev", "eth0"])
            machine.run(["ip", "route", "add", "2001:db8:9::/64", "dev", "eth0"])
        for address in ("198.51.100.9/32", "2001:db8:9::9/128"):
            self.b.run(["ip", "address", "add", address, "dev", "eth0"])
        self.a.run(["mkdir", "-p", "/run/netns"])
        self.name = unique_name("modes")
        self.wanted = {
            "service": self.name, "mode": mode, "join": f"pid:{self.a.pid}" if mode == "join" else "",
            "intercept": {"inbound_ports": [8080], "exempt_uids": [LOGS], "exclude_outbound_ports": [5432], "dns": True,
                          "exclude_outbound_cidrs": ["198.51.100.0/24", "2001:db8:9::/64"],
                          "inbound_method": method, "backend": backend}}
        self.before = self.a.traces()
        self.netns("create")
        self.inside = self.name if mode == "sealed" else ""
        self.start_listeners(stack)
        self.netns("capture")

    def netns(self, command, *options):
        if self.mode == "join":  # from outside: the namespace is another's
            return run([program("pillion-netns"), command, *options], input=json.dumps(self.wanted), check=0)
        return self.a.netns(command, self.wanted, *options)

    def start_listeners(self, stack):
        transparent = ["--transparent"] if self.method == "tproxy" else []
        everywhere = [f"{host}:{port}" for port in (8080, 9999) for host in ("0.0.0.0", "[::]")]
        listen = self.a.listen
        stack.enter_context(listen(self.inside, PROXY, ["127.0.0.1:15001", "[::1]:15001"], *transparent))
        stack.enter_context(listen(self.inside, PROXY, [f"{host}:{port}" for port in (15006, 15021, 15053)
                                                        for host in ("0.0.0.0", "[::]")], *transparent))
        stack.enter_context(listen(self.inside, APP, everywhere))
        stack.enter_context(self.b.listen("", 0, [f"{host}:{port}" for port in (80, 5432, 53)
                                                  for host in ("0.0.0.0", "[::]")]))

    def outcomes(self, family, matrix, source=None):
        """{case: port that answered, or the error} as seen and as the table says."""
        column = 5 if self.mode == "sealed" else 4
        cases = {name: row for name, row in matrix.items() if row[column] is not None}
        seen = {}
        for place, machine, service in (("inside", self.a, self.inside), ("peer", self.b, "")):
            here = [name for name, row in cases.items() if row[0] == place]
            calls = [{"uid": cases[name][1], "address": cases[name][2][family], "port": cases[name][3],
                      **({"source": source[family]} if source else {})} for name in here]
            answers = machine.dial_all(service, calls) if calls else []
            seen.update({name: answer.get("port", answer.get("error")) for name, answer in zip(here, answers)})
        return seen, {name: row[column] for name, row in cases.items()}


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def lab(request):
    with contextlib.ExitStack() as stack:
        yield Lab(*request.param, stack)


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_every_connection_ends_where_the_table_says(lab, family):
    matrix = dict(MATRIX)
    if lab.mode == "sealed":
        del matrix["app → DNS by TCP"]  # see network_sealed: the resolver listens on port 53 there
    seen, expected = lab.outcomes(family, matrix)
    assert seen == expected


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_the_proxy_reaches_the_app_from_its_own_source_address(lab, family):
    seen, expected = lab.outcomes(family, FROM_PROXY_SOURCE, PROXY_SOURCE)
    assert seen == expected


def test_the_doctor_finds_the_rules_in_order(lab):
    lab.netns("verify", "--capture")


def test_removing_leaves_nothing(lab):
    """The last test of a lab."""
    lab.netns("remove")
    if lab.mode == "sealed":
        return  # its namespace lives on while the listeners are in it; test_modes.py looks for traces
    lab.a.wait_for_traces(lab.before)
    seen, _ = lab.outcomes("v4", {"app → remote": MATRIX["app → remote"]})
    assert seen == {"app → remote": 80}
