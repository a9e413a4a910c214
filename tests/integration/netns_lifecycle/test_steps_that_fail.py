"""Every step of `apply` made to fail, and the program killed before each, for every mode and backend: nothing is left, the
message names the step, and the next run cleans up what a killed one left. (test_faults.py does it by system calls.)
"""
import json
import os

import pytest

from support.network_lab import Machine
from support.pillion_testing import requires_root, unique_name

pytestmark = requires_root

STEPS_MAX = 60
CAPTURE_STEPS_MAX = 6
OPTIONAL_SETTINGS = ["rp_filter", "accept_dad", "accept_ra"]
WAYS = {
    "bridged": {"publish": [{"host_port": 5353, "port": 53, "transport": "udp", "is_translated": True}],
                "intercept": {"inbound_ports": [8080], "dns": True}},
    "bridged by iptables": {"intercept": {"inbound_ports": [8080], "backend": "iptables"}},
    "sealed": {"mode": "sealed", "intercept": {"inbound_ports": [8080]}},
    "host": {"mode": "host", "intercept": {"inbound_ports": [8080]}},
    "host by iptables": {"mode": "host", "intercept": {"inbound_ports": [8080], "backend": "iptables"}},
}


@pytest.fixture(scope="module")
def machine():
    with Machine() as held:
        held.run(["mkdir", "-p", "/run/netns"])
        warm_up = {"service": unique_name("step")}
        held.create_service(warm_up)  # makes /run/netns a mount, switches forwarding on
        held.netns("remove", warm_up["service"])
        yield held


@pytest.fixture(params=WAYS)
def wanted(request):
    return {"service": unique_name("step"), **WAYS[request.param]}


def with_fault(fault, number):
    return ["env", f"PILLION_NETNS_FAULT={fault}:{number}"]


def planned_steps(machine, wanted):
    lines = machine.netns("create", wanted, "--dry-run").stdout.splitlines()
    return [line[2:] for line in lines if line.startswith("# ")]


def rules_inside(machine, wanted):
    """Without counters."""
    text = json.loads(machine.netns("show", wanted).stdout)["capture_rules"]
    return [" ".join(word for word in line.split() if not word.isdigit() and not word.startswith("["))
            for line in text.splitlines()]


def test_a_step_that_fails_leaves_nothing_and_is_named(machine, wanted):
    before = machine.traces()
    planned = planned_steps(machine, wanted)
    failures = []
    for number in range(1, len(planned) + CAPTURE_STEPS_MAX):
        result = machine.netns("apply", wanted, check=None, prefix=with_fault("fail", number))
        if result.returncode == 0:  # an optional setting, another way to do it, or past the last step
            machine.netns("verify", wanted, "--capture")
            machine.netns("remove", wanted)
        else:
            assert result.returncode == 71, f"step {number}: {result.stdout}{result.stderr}"
            name = planned[number - 1] if number <= len(planned) else "load "
            assert result.stderr.startswith(f"pillion-netns: cannot {name}"), f"step {number}: {result.stderr}"
            assert "made to fail by PILLION_NETNS_FAULT" in result.stderr
            failures.append(name)
        machine.wait_for_traces(before)
    required = [name for name in planned if not any(word in name for word in OPTIONAL_SETTINGS)]
    assert [name for name in failures if name != "load "] == required
    assert "load " in failures, "capture failed, too"


def test_the_next_run_finds_and_removes_what_a_killed_one_left(machine, wanted):
    before = machine.traces()
    for number in range(1, STEPS_MAX):
        result = machine.netns("apply", wanted, check=None, prefix=with_fault("kill", number))
        if result.returncode == 0:
            machine.netns("remove", wanted)
            break
        if number % 2:  # the next start …
            machine.netns("apply", wanted)
            machine.netns("verify", wanted, "--capture")
        machine.netns("remove", wanted)  # … or a remove
        machine.wait_for_traces(before)
    assert number < STEPS_MAX
    machine.wait_for_traces(before)


@pytest.fixture
def without_legacy(machine):
    """As where only iptables-nft is installed: nothing to fall back to."""
    program = "/usr/sbin/xtables-legacy-multi"
    if not os.path.exists(program):
        yield
        return
    machine.run(["mount", "--bind", "/dev/null", program])
    yield
    machine.run(["umount", program])


@pytest.mark.parametrize("way", ["bridged", "bridged by iptables", "host"])
def test_rules_that_cannot_be_replaced_stay_as_they_were(machine, way, request):
    """Without them the app's connections would go past the proxy."""
    if "iptables" in way:
        request.getfixturevalue("without_legacy")
    wanted = {"service": unique_name("step"), **WAYS[way]}
    machine.netns("apply", wanted)
    before = rules_inside(machine, wanted)
    changed = {**wanted, "intercept": {**wanted["intercept"], "inbound_ports": [9090]}}
    failures = 0
    for number in range(1, STEPS_MAX):
        result = machine.netns("capture", changed, check=None, prefix=with_fault("fail", number))
        if result.returncode == 0:
            break
        failures += 1
        assert rules_inside(machine, wanted) == before, f"step {number}"
    assert failures >= (3 if "iptables" in way else 1), "with iptables: the step itself, IPv4, IPv6"
    machine.netns("remove", wanted)


@pytest.mark.parametrize(("feature", "wanted_more", "words"), [
    ("nftables", {"intercept": {"backend": "nftables"}}, "nftables"),
    ("tproxy", {"intercept": {"inbound_ports": [8080], "inbound_method": "tproxy", "backend": "nftables"}}, "nftables"),
    ("nftables", {"mode": "sealed"}, "nftables"),
])
def test_a_kernel_that_lacks_what_was_asked_for_is_told(machine, feature, wanted_more, words):
    wanted = {"service": unique_name("step"), **wanted_more}
    before = machine.traces()
    result = machine.netns("apply", wanted, check=71, prefix=["env", f"PILLION_NETNS_FAULT=without:{feature}"])
    assert words in result.stderr, result.stderr
    machine.wait_for_traces(before)
