"""A bridged service's network comes and goes whole: facts, remains, repetition, neighbours, clashes."""
import json
import subprocess

import pytest

from support.network_lab import Machine, connect_by_bridge
from support.pillion_testing import program, requires_root, unique_name

pytestmark = requires_root


@pytest.fixture
def machine():
    with Machine() as held:
        yield held


@pytest.fixture
def wanted():
    return {"service": unique_name("life"), "intercept": {"inbound_ports": [8080]}}


def create_error(machine, wanted, prefix=()):
    result = machine.netns("create", wanted, check=71, prefix=prefix)
    assert result.stdout == ""
    return result.stderr


def test_facts_describe_what_was_built(machine, wanted):
    machine.run(["ip", "link", "add", "uplink", "mtu", "1400", "type", "bridge"])
    machine.run(["ip", "address", "add", "192.0.2.1/24", "dev", "uplink"])
    machine.run(["ip", "link", "set", "uplink", "up"])
    machine.run(["ip", "route", "add", "default", "via", "192.0.2.254"])
    facts = machine.create_service({**wanted, "aliases": [{"address": "240.240.0.1", "names": ["users"]}]})
    name = wanted["service"]
    assert f"pillion-{name}" in machine.output(["ip", "netns", "list"])
    inner = json.loads(machine.output(["ip", "-j", "address", "show", "eth0"], service=name))[0]
    assert inner["mtu"] == facts["mtu"] == 1400
    addresses = [entry["local"] for entry in inner["addr_info"]]
    assert facts["address4"] in addresses and facts["address6"] in addresses
    assert f"{facts['gateway4']} host.pillion.internal" in facts["hosts"]
    assert "240.240.0.1 users" in facts["hosts"]
    assert "240.240.0.1" not in facts["helper_hosts"]
    assert machine.output(["cat", "/proc/sys/net/ipv4/ip_forward"]).strip() == "1"
    assert {"name": "net.ipv4.ip_forward", "old_value": "0", "new_value": "1"} in facts["changed_sysctls"]
    assert any("net.ipv4.ip_forward was off" in warning for warning in facts["warnings"])


def test_a_service_keeps_its_addresses_over_restarts(machine, wanted):
    first = machine.create_service(wanted)
    machine.netns("remove", wanted["service"])
    assert machine.create_service(wanted)["address4"] == first["address4"]


def test_remove_leaves_nothing_and_may_be_repeated(machine, wanted):
    before = machine.traces()
    machine.create_service(wanted)
    machine.netns("capture", wanted)
    removed = machine.netns("remove", wanted["service"]).stdout
    assert len(removed.splitlines()) == 3
    machine.wait_for_traces(before)
    assert machine.netns("remove", wanted["service"]).stdout == ""


def test_fifty_rounds_leave_nothing(machine, wanted):
    before = machine.traces()
    for _ in range(50):
        machine.create_service(wanted)
        machine.netns("capture", wanted)
        machine.netns("remove", wanted["service"])
    machine.wait_for_traces(before)


def test_a_second_create_replaces_what_nobody_uses(machine, wanted):
    machine.create_service(wanted)
    once = machine.traces()
    machine.create_service(wanted)
    machine.wait_for_traces(once)


def test_a_namespace_with_processes_in_it_is_not_replaced(machine, wanted):
    machine.create_service(wanted)
    name = wanted["service"]
    with machine.listen(name, 0, ["127.0.0.1:7"]) as resident:
        error = create_error(machine, wanted)
        assert f"is in use by process {resident.process.pid}" in error
        machine.netns("verify", name)
    machine.create_service(wanted)


def test_services_created_at_once_get_different_addresses(machine):
    before = machine.traces()
    names = [unique_name("life") for _ in range(6)]
    processes = [subprocess.Popen(machine.argv([program("pillion-netns"), "create"]), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True) for _ in names]
    outputs = [process.communicate(json.dumps({"service": name, "pool": "10.99.0.0/26"}))[0]
               for process, name in zip(processes, names)]
    assert len({json.loads(output)["address4"] for output in outputs}) == 6
    assert len({json.loads(output)["address6"] for output in outputs}) == 6
    for name in names:
        machine.netns("remove", name)
    machine.wait_for_traces(before)


def test_addresses_in_use_on_the_host_are_avoided(machine, wanted):
    natural = machine.create_service(wanted)
    machine.netns("remove", wanted["service"])
    machine.run(["ip", "link", "add", "other", "type", "bridge"])
    machine.run(["ip", "address", "add", natural["address4"] + "/24", "dev", "other"])
    machine.run(["ip", "link", "set", "other", "up"])
    other = natural["address4"].rpartition(".")[0]
    assert not machine.create_service(wanted)["address4"].startswith(other + ".")


def test_a_used_up_pool_is_named(machine, wanted):
    machine.run(["ip", "address", "add", "10.99.0.1/30", "dev", "lo"])
    error = create_error(machine, {**wanted, "pool": "10.99.0.0/30"})
    assert "no free /30 is left in the address pool 10.99.0.0/30" in error
    assert "[network] pool" in error


def test_an_interface_of_somebody_else_is_not_touched(machine, wanted):
    mine = machine.create_service(wanted)["host_interface"]
    machine.netns("remove", wanted["service"])
    machine.run(["ip", "link", "add", mine, "type", "bridge"])
    machine.run(["ip", "link", "set", mine, "alias", "pillion other"])
    error = create_error(machine, wanted)
    assert f"the interface name {mine} is taken by 'pillion other'" in error
    machine.netns("remove", wanted["service"])
    assert mine in machine.output(["ip", "link"])


def test_without_privilege_the_error_says_what_to_do(machine, wanted):
    before = machine.traces()
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    error = create_error(machine, wanted, prefix=nobody)
    assert error.startswith("pillion-netns: cannot create")
    assert 'run as root (CAP_NET_ADMIN and CAP_SYS_ADMIN), or set [network] mode = "host"' in error
    without_net_admin = ["setpriv", "--bounding-set", "-net_admin"]
    error = create_error(machine, wanted, prefix=without_net_admin)
    assert "Operation not permitted; run as root" in error
    machine.run(["sh", "-c", "umount /run/netns && rmdir /run/netns"])
    machine.wait_for_traces(before)


@pytest.mark.parametrize(("table", "policy", "chain", "firewall"), [
    ("ip filter", "drop", "DOCKER-USER", "docker"),
    ("ip filter", "drop", "ufw-user-forward", "ufw"),
    ("inet firewalld", "accept", "filter_FWD", "firewalld"),
    ("inet mine", "drop", "other", "a firewall"),
])
def test_firewalls_that_drop_forwarded_packets_are_reported(machine, wanted, table, policy, chain, firewall):
    machine.run(["nft", "-f", "-"], stdin=f"""
        add table {table}
        add chain {table} FORWARD {{ type filter hook forward priority 0; policy {policy}; }}
        add chain {table} {chain}
    """)
    before = machine.output(["nft", "list", "ruleset"])
    warnings = machine.create_service(wanted)["warnings"]
    assert any(warning.startswith(f"{firewall} drops forwarded packets") for warning in warnings)
    machine.netns("remove", wanted["service"])
    assert machine.output(["nft", "list", "ruleset"]) == before


def test_tracked_connections_are_forgotten_on_remove(wanted):
    with Machine("a") as a, Machine("b") as b, connect_by_bridge([a, b]):
        facts = a.create_service(wanted)
        with b.listen("", 0, ["0.0.0.0:4000"], "--udp"):
            assert a.dial(wanted["service"], 0, "192.0.2.2", 4000, "--udp")["port"] == 4000
        assert facts["address4"] in a.output(["cat", "/proc/net/nf_conntrack"])
        a.netns("remove", wanted["service"])
        assert facts["address4"] not in a.output(["cat", "/proc/net/nf_conntrack"])


def test_verify_says_what_is_wrong(machine, wanted):
    facts = machine.create_service(wanted)
    machine.netns("verify", wanted)
    machine.run(["ip", "link", "set", facts["host_interface"], "down"])
    machine.run(["nft", "delete", "table", "inet", facts["host_table"]])
    findings = json.loads(machine.netns("verify", wanted, "--capture", check=1).stdout)
    broken = sorted(finding["check"] for finding in findings if finding["verdict"] == "problem")
    assert broken == ["host-rules", "interfaces", "rules"]
    assert all(finding["remedy"] for finding in findings if finding["verdict"] == "problem")


def test_a_bad_document_is_refused_before_anything_is_opened(machine):
    result = machine.netns("create", {"service": "a", "intercpt": {}}, check=78)
    assert result.stderr == "pillion-netns: intercpt is not a known key\n"


def test_a_dry_run_changes_nothing(machine, wanted):
    before = machine.traces()
    text = machine.netns("create", wanted, "--dry-run").stdout
    assert "# create veth pil" in text and "table inet pillion_" in text
    assert "redirect to :15001" in machine.netns("capture", wanted, "--dry-run").stdout
    machine.wait_for_traces(before)
