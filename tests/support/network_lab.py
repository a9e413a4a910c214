"""Simulated machines for network tests: each `Machine` is a network namespace and a mount namespace with a /run of
its own, so that a test may load rules, pin namespaces and flip settings without touching the machine it runs
on, and tests run beside each other.

    with Machine("a") as a, Machine("b") as b:
        connect_by_bridge([a, b])                      # a is 192.0.2.1 and 2001:db8::1, b is .2 and ::2
        a.run(["ip", "link"])
        facts = a.create_service({"service": "orders"})
        with a.listen("orders", 10001, ["0.0.0.0:8080"]):
            reply = a.dial("", 0, "127.0.0.1", 8080)   # "" = on the machine itself

A process holds the namespaces; leaving the `with` block ends it by handle, and the kernel removes the rest.
"""
import json
import select
import signal
import subprocess
import time
from pathlib import Path

from support.pillion_testing import PYTHON, program

PROBE = Path(__file__).resolve().parent / "net_probe.py"
# Link-local addresses come from random hardware addresses, so they are no traces.
TRACES = """
ls /sys/class/net | sed 's/^/link /'
ip route show table all | grep -v fe80: | sed 's/ dev .*//; s/^/route /'
ip rule | sed 's/^/rule /'
nft list tables
ls /run/netns 2>/dev/null | sed 's/^/namespace /'
grep -o ' /run/netns/[^ ]*' /proc/self/mountinfo | while read -r pin; do
  if [ -e "$pin" ]; then echo "$pin"; fi  # those of other tests lie hidden below this machine's /run
done
"""
# A new namespace takes ip_forward from the machine's first one.
HOLD = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/cgroups
mount --rbind /sys/fs/cgroup /run/cgroups
mount -t sysfs sysfs /sys
mount --rbind /run/cgroups /sys/fs/cgroup
umount -l /run/cgroups
rmdir /run/cgroups
ip link set lo up
sysctl -qw net.ipv4.ip_forward=0
echo ready
exec sleep infinity
"""


class Machine:
    """A host of its own; `name` is for messages."""

    def __init__(self, name="host"):
        self.name = name
        self.holder = subprocess.Popen(["unshare", "-n", "-m", "--propagation", "private", "sh", "-c", HOLD],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline().strip() == "ready", f"machine {name} did not start"
        self.pid = self.holder.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()

    def argv(self, command, service=""):
        """The command line that runs `command` on this machine, or inside a service's namespace on it."""
        inside = ["nsenter", f"--net=/run/netns/pillion-{service}", "--"] if service else []
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "--", *inside, *map(str, command)]

    def run(self, command, service="", stdin="", check=0, timeout=60):
        result = subprocess.run(self.argv(command, service), input=stdin, capture_output=True, text=True,
                                timeout=timeout)
        if check is not None:
            assert result.returncode == check, (
                f"{command} on {self.name} ended with {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def output(self, command, service=""):
        return self.run(command, service).stdout

    def netns(self, command, wanted, *options, check=0, prefix=()):
        """pillion-netns with a document (a dict) on stdin, or a service's name."""
        argv = [*prefix, program("pillion-netns"), command, *options]
        if isinstance(wanted, str):
            return self.run([*argv, wanted], check=check)
        return self.run(argv, stdin=json.dumps(wanted), check=check)

    def create_service(self, wanted):
        return json.loads(self.netns("create", wanted).stdout)

    def listen(self, service, uid, addresses, *options):
        """Echo listeners on "ADDRESS:PORT" as `uid`; see net_probe.py."""
        return Listener(self.argv([PYTHON, PROBE, "listen", "--uid", uid, *options, *addresses], service))

    def dial(self, service, uid, address, port, *options):
        """What the listener says that a connection from here reached; {"error": …} when none did."""
        result = self.run([PYTHON, PROBE, "dial", "--uid", uid, *options, address, port], service)
        return json.loads(result.stdout)

    def dial_all(self, service, calls):
        """One answer for each of the calls, dicts as net_probe.py's dial-all takes them."""
        return json.loads(self.run([PYTHON, PROBE, "dial-all", "--timeout", "5", "-"], service, stdin=json.dumps(calls)).stdout)

    def traces(self):
        """Everything a service may leave on a host, as sorted lines, so that two looks can be compared."""
        return sorted(line.strip() for line in self.output(["sh", "-c", TRACES]).splitlines())

    def wait_for_traces(self, expected, seconds=10):
        """Namespaces are taken down a moment after the last user has gone."""
        deadline = time.monotonic() + seconds
        while (seen := self.traces()) != expected and time.monotonic() < deadline:
            time.sleep(0.02)
        assert seen == expected


class Listener:
    """A running `net_probe.py listen`; ready when constructed."""

    def __init__(self, argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        readable, _, _ = select.select([self.process.stdout], [], [], 30)
        if not readable or self.process.stdout.readline().strip() != "ready":
            self.process.kill()
            raise AssertionError(f"listener did not start: {self.process.communicate()[1]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def connect_by_bridge(machines, mtu=1500):
    """Joins the machines by a bridge (on the first one's behalf, in a machine of its own: the first's peer).

    Machine number N gets eth0 with 192.0.2.N/24 and 2001:db8::N/64. Returns the machine with the bridge;
    use it as a context manager.
    """
    switch = Machine("switch")
    switch.run(["ip", "link", "add", "br0", "type", "bridge"])
    switch.run(["ip", "link", "set", "br0", "up"])
    for number, machine in enumerate(machines, 1):
        switch.run(["ip", "link", "add", f"port{number}", "mtu", mtu, "type", "veth", "peer", "name", "eth0",
                    "mtu", mtu, "netns", machine.pid])
        switch.run(["ip", "link", "set", f"port{number}", "master", "br0", "up"])
        machine.run(["ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0"])
        machine.run(["ip", "address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad"])
        machine.run(["ip", "link", "set", "eth0", "up"])
    return switch
