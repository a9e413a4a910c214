"""The modes beside bridged: host (nothing is built), join (a namespace that is there), sealed (nothing but lo), and DNS capture."""
import json
import os

import pytest

from support.network_lab import PROBE, PYTHON, Listener, Machine, connect_by_bridge
from support.pillion_testing import requires_root, run, unique_name

pytestmark = requires_root

PROXY, APP, OTHER = 1337, 10001, 10002


@pytest.fixture
def machine():
    with Machine() as held:
        yield held


def wanted_in(mode, **more):
    return {"service": unique_name("mode"), "mode": mode, "intercept": {"inbound_ports": [8080]}, **more}


def listen_as_proxy(machine):
    return machine.listen("", PROXY, ["127.0.0.1:15001", "0.0.0.0:15006"])


def test_host_mode_builds_nothing_and_captures_in_the_namespace_it_is_in(machine):
    """The init container of a Pod: the Pod's namespace, rules in it, nothing else."""
    machine.run(["ip", "address", "add", "198.51.100.1/24", "dev", "lo"])
    wanted = wanted_in("host")
    before = machine.traces()
    facts = machine.create_service(wanted)
    assert (facts["netns_path"], facts["hosts"], facts["address4"]) == ("", "", "")
    machine.wait_for_traces(before)
    machine.netns("capture", wanted)
    assert f"table inet {facts['capture_table']}" in machine.traces()
    machine.netns("remove", wanted)
    machine.wait_for_traces(before)


def test_host_mode_needs_no_privilege_where_nothing_is_captured(machine):
    wanted = {"service": unique_name("mode"), "mode": "host", "intercept": {"inbound": False, "outbound": False}}
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    assert json.loads(machine.netns("create", wanted, prefix=nobody).stdout)["netns_path"] == ""


def test_capture_in_host_mode_needs_no_more_than_net_admin(machine):
    """What an init container is given."""
    wanted = wanted_in("host")
    only_net_admin = ["setpriv", "--bounding-set", "-all,+net_admin", "--inh-caps", "-all,+net_admin"]
    machine.netns("capture", wanted, prefix=only_net_admin)
    machine.netns("verify", wanted, "--capture")
    machine.netns("remove", wanted, prefix=only_net_admin)


def test_host_mode_on_a_machine_of_its_own_refuses_to_capture_everybody():
    if not os.path.exists("/proc/sys/net/core/dev_weight"):
        pytest.skip("these tests run in a container: its network namespace is not a machine's own")
    result = run(["pillion-netns", "create"], input=json.dumps(wanted_in("host")), check=71)
    assert "set [app] user" in result.stderr


def test_only_the_named_users_are_captured(machine):
    with Machine("b") as b, connect_by_bridge([machine, b]):
        wanted = wanted_in("host")
        wanted["intercept"]["only_uids"] = [APP]
        machine.netns("capture", wanted)
        with listen_as_proxy(machine), b.listen("", 0, ["0.0.0.0:80"]):
            assert machine.dial("", APP, "192.0.2.2", 80)["port"] == 15001
            assert machine.dial("", OTHER, "192.0.2.2", 80)["port"] == 80


def resident_of_blue(machine):
    """A process inside the namespace "blue"."""
    inside = ["nsenter", "--net=/run/netns/blue", "--", PYTHON, PROBE, "listen", "127.0.0.1:7"]
    return Listener(machine.argv(inside))


@pytest.mark.parametrize("by", ["name", "path", "pid"])
def test_join_works_in_an_existing_namespace(machine, by):
    machine.run(["ip", "netns", "add", "blue"])
    try:
        machine.run(["ip", "-n", "blue", "link", "set", "lo", "up"])
        join = {"name": "blue", "path": "/run/netns/blue"}.get(by)
        with resident_of_blue(machine) as resident:
            pid = resident.process.pid
            wanted = wanted_in("join", join=join or f"pid:{pid}")
            facts = machine.create_service(wanted)
            assert facts["netns_path"] == (join if by == "path" else "/run/netns/blue" if by == "name"
                                           else f"/proc/{pid}/ns/net")
            machine.netns("capture", wanted)
            tables = machine.output(["ip", "netns", "exec", "blue", "nft", "list", "tables"])
            assert tables == f"table inet {facts['capture_table']}\n"
            machine.netns("verify", wanted, "--capture")
            machine.netns("remove", wanted)
            assert machine.output(["ip", "netns", "exec", "blue", "nft", "list", "tables"]) == ""
        assert "blue" in machine.output(["ip", "netns", "list"])
    finally:
        machine.run(["ip", "netns", "delete", "blue"])


def test_joining_what_does_not_exist_names_it(machine):
    result = machine.netns("create", wanted_in("join", join="nowhere"), check=71)
    assert "cannot join the network namespace 'nowhere'" in result.stderr


def test_sealed_has_nothing_but_lo_refuses_what_is_not_captured_and_leaves_no_trace(machine):
    before = machine.traces()
    wanted = wanted_in("sealed")
    name = wanted["service"]
    facts = machine.create_service(wanted)
    assert facts["interface"] == "lo" and "nameserver 127.0.0.1" in facts["resolv_conf"]
    assert [link["ifname"] for link in json.loads(machine.output(["ip", "-j", "link"], name))] == ["lo"]
    for address in ("192.0.2.9", "2001:db8::9"):
        assert machine.dial(name, APP, address, 80)["error"] == "refused"
    machine.netns("capture", wanted)
    machine.netns("verify", wanted, "--capture")
    assert "tproxy" in machine.netns("show", wanted).stdout
    machine.netns("remove", name)
    machine.wait_for_traces(before)


def test_sealed_cannot_publish_by_translation(machine):
    published = [{"host_port": 5353, "port": 53, "transport": "udp", "is_translated": True}]
    result = machine.netns("create", {**wanted_in("sealed"), "publish": published}, check=71)
    assert 'udp port 5353 cannot be published in mode = "sealed"' in result.stderr


@pytest.mark.parametrize("options", [["--udp"], []], ids=["udp", "tcp"])
def test_dns_of_the_app_goes_to_the_resolver_port_and_that_of_the_proxy_does_not(machine, options):
    with Machine("b") as b, connect_by_bridge([machine, b]):
        name = unique_name("mode")
        wanted = {"service": name, "intercept": {"dns": True}}
        machine.create_service(wanted)
        machine.netns("capture", wanted)
        with machine.listen(name, PROXY, ["127.0.0.1:15053", "[::1]:15053"], *options), \
                b.listen("", 0, ["0.0.0.0:53", "[::]:53"], *options):
            for server in ("192.0.2.2", "2001:db8::2"):
                assert machine.dial(name, APP, server, 53, *options)["port"] == 15053
                assert machine.dial(name, PROXY, server, 53, *options)["port"] == 53
