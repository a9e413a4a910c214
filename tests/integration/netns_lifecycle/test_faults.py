"""System calls of pillion-netns made to fail, and the program killed, one after the other (with strace): every time
nothing is left after the undo, or after the next remove, and the message names what could not be done.
"""
import json
import os
import shutil
import signal
import subprocess

import pytest

from support.network_lab import Machine
from support.pillion_testing import program, requires_root, unique_name

pytestmark = requires_root
with_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace to inject faults")

# What create and capture ask of the kernel, and an error that each may well return.
CALLS = {"sendto": "ENOBUFS", "recvmsg": "ENOMEM", "sendmsg": "ENOBUFS", "mount": "EPERM", "unshare": "ENOSPC",
         "setns": "EPERM", "socket": "EMFILE"}
CALLS_MAX = 200  # far more than any of them is made


@pytest.fixture(scope="module")
def machine():
    with Machine() as held:
        held.run(["mkdir", "-p", "/run/netns"])
        warm_up = {"service": unique_name("fault")}
        held.create_service(warm_up)  # makes /run/netns a mount, switches forwarding on
        held.netns("remove", warm_up["service"])
        yield held


def inject(call, what, number):
    return ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
            f"inject={call}:{what}:when={number}"]


def count_calls(machine, wanted, call):
    machine.netns("create", wanted, prefix=["strace", "-qq", "-o", "/run/trace", "-e", f"trace={call}"])
    made = machine.output(["cat", "/run/trace"]).count(f"{call}(")
    machine.netns("remove", wanted["service"])
    assert made <= CALLS_MAX
    return made


@with_strace
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_leaves_nothing(machine, call):
    wanted = {"service": unique_name("fault"), "intercept": {"inbound_ports": [8080]}}
    before = machine.traces()
    for number in range(1, count_calls(machine, wanted, call) + 1):
        result = machine.netns("create", wanted, check=None, prefix=inject(call, f"error={CALLS[call]}", number))
        if result.returncode == 0:  # something optional failed; what was built must be complete
            machine.netns("verify", wanted)
            machine.netns("remove", wanted["service"])
        else:
            assert result.returncode == 71, f"{call} {number}: {result.stderr}"
            assert result.stderr.startswith("pillion-netns: "), f"{call} {number}: {result.stderr!r}"
            assert "cannot" in result.stderr, f"{call} {number}: {result.stderr!r}"
            if "cannot return to the host's network namespace" in result.stderr:
                machine.netns("remove", wanted["service"])  # the one error that cannot be undone on the spot
        machine.wait_for_traces(before)


@with_strace
@pytest.mark.parametrize("call", ["sendto", "sendmsg", "mount", "unshare"])
def test_a_killed_create_is_cleaned_by_remove(machine, call):
    wanted = {"service": unique_name("fault"), "intercept": {"inbound_ports": [8080]}}
    before = machine.traces()
    for number in range(1, count_calls(machine, wanted, call) + 1):
        machine.netns("create", wanted, check=None, prefix=inject(call, "signal=KILL", number))
        machine.netns("remove", wanted["service"])
        machine.wait_for_traces(before)


@with_strace
def test_a_killed_create_is_cleaned_by_the_next_create(machine):
    wanted = {"service": unique_name("fault"), "intercept": {"inbound_ports": [8080]}}
    before = machine.traces()
    for number in range(1, count_calls(machine, wanted, "sendto") + 1, 4):
        machine.netns("create", wanted, check=None, prefix=inject("sendto", "signal=KILL", number))
        machine.create_service(wanted)
        machine.netns("verify", wanted)
    machine.netns("remove", wanted["service"])
    machine.wait_for_traces(before)


def steps_of(machine, wanted):
    """What create would do, in order: the comments of a dry run."""
    lines = machine.netns("create", wanted, "--dry-run").stdout.splitlines()
    return [line[2:] for line in lines if line.startswith("# ")]


class StoppedBeforeStep:
    """A `pillion-netns create` that waits before its N-th step (counted from 1) until go_on()."""

    def __init__(self, machine, wanted, number):
        command = ["env", f"PILLION_NETNS_FAULT=stop:{number}", program("pillion-netns"), "create"]
        self.process = subprocess.Popen(machine.argv(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.process.stdin.write(json.dumps(wanted))
        self.process.stdin.close()
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        with self.process as process:
            return json.loads(process.stdout.read()), process.stderr.read()


@pytest.mark.skipif(not os.path.exists("/proc/sys/net/ipv6/conf/lo/force_forwarding"),
                    reason="this kernel forwards IPv6 for all interfaces or none (before Linux 6.17)")
def test_an_uplink_that_vanishes_while_the_network_is_built_is_passed_over():
    with Machine() as machine:
        for name in ["stays", "goes"]:
            machine.run(["ip", "link", "add", name, "type", "bridge"])
            machine.run(["ip", "link", "set", name, "up"])
        machine.run(["ip", "address", "add", "2001:db8:1::1/64", "dev", "goes", "nodad"])
        machine.run(["ip", "address", "add", "2001:db8:2::1/64", "dev", "stays", "nodad"])
        wanted = {"service": unique_name("fault")}
        steps = steps_of(machine, wanted)
        number = steps.index("set net.ipv6.conf.goes.force_forwarding = 1 (host)") + 1
        stopped = StoppedBeforeStep(machine, wanted, number)
        machine.run(["ip", "link", "delete", "goes"])
        facts, said = stopped.go_on()
        assert said == ""
        changed = [setting["name"] for setting in facts["changed_sysctls"]]
        assert "net.ipv6.conf.stays.force_forwarding" in changed
        assert "net.ipv6.conf.goes.force_forwarding" not in changed
        machine.netns("verify", wanted)
