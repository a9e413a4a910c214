"""Rounds of start and stop leave the host as it was: a complete look at it before and after, compared line by line.

PILLION_ROUNDS sets how many (here 20; before a release 1000): networks of every mode in turn, then whole services.
"""
import os
import signal
import subprocess
import time

import pytest

from support.network_lab import Machine
from support.pillion_testing import program, requires_root, unique_name

pytestmark = requires_root

ROUNDS = int(os.environ.get("PILLION_ROUNDS", "20"))
WAYS = [
    {"publish": [{"host_port": 5353, "port": 53, "transport": "udp", "is_translated": True}],
     "intercept": {"inbound_ports": [8080], "dns": True, "inbound_method": "tproxy"}},
    {"intercept": {"inbound_ports": [8080], "backend": "iptables"}},
    {"mode": "sealed", "intercept": {"inbound_ports": [8080]}},
    {"mode": "host", "intercept": {"inbound_ports": [8080]}},
]
# Everything that the network of a service could change. What moves by itself is left out: interface indexes,
# counters, random hardware addresses and those made of them.
SNAPSHOT = r"""
ip -o link | sed -E 's/^[0-9]+: //; s/@if[0-9]+//; s/link\/ether .*//; s/^/link /'
ip -o address | sed -E 's/^[0-9]+: //; /fe80:/d; s/^/address /'
ip route show table all | sed -E '/fe80:/d; s/^/route /'
ip rule | sed 's/^/rule4 /'
ip -6 rule | sed 's/^/rule6 /'
nft list ruleset | sed 's/^/nft /'
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null | sed 's/^/legacy /'
sysctl -a --pattern '^net\.' 2>/dev/null | grep -vE 'nf_conntrack_count|stable_secret|netdev_rss_key' | sed 's/^/sysctl /'
cut -d' ' -f5 /proc/self/mountinfo | grep -E '^/(run|sys|proc)' | while read -r point; do
  if [ -e "$point" ]; then echo "mount $point"; fi  # those of other tests lie hidden below this machine's /run
done
find /run -mindepth 1 | sed 's/^/file /'
find /sys/fs/cgroup -type d -name '*NAME*' | sed 's/^/cgroup /'
ps -eo netns=,args= | awk -v own="$(readlink /proc/self/ns/net | tr -dc 0-9)" '$1 == own {print $2}' |
  grep -vE '^(sleep|ps|awk|readlink|tr|sh|sort|grep|sed)$' | sed 's/^/process /'
"""
SERVICE = """
[service]
stop_grace = "5s"
[network]
mode = "{mode}"
[app]
command = ["/bin/sleep", "1000"]
user = "10001:10001"
[sidecar.proxy]
use = "proxy"
"""


@pytest.fixture
def machine():
    with Machine() as held:
        held.run(["ip", "link", "add", "uplink", "type", "bridge"])
        held.run(["ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad"])
        held.run(["ip", "link", "set", "uplink", "up"])
        yield held


def snapshot(machine, name):
    seen = sorted(machine.output(["sh", "-c", SNAPSHOT.replace("NAME", name)]).splitlines())
    # What the first round has left already would be in every later look, too.
    left = [line for line in seen if line.startswith(("cgroup ", "link pil", "nft table inet pillion", "process "))
            or f"/run/netns/pillion-{name}" in line]
    assert not left
    return seen


def assert_is_as_before(machine, name, before, seconds=20):
    """The kernel takes namespaces and modules' settings down a moment later."""
    deadline = time.monotonic() + seconds
    while (seen := snapshot(machine, name)) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert seen == before


def test_rounds_of_networks_in_every_mode(machine):
    name = unique_name("round")

    def go_round(way):
        wanted = {"service": name, **way}
        machine.netns("create", wanted)
        machine.netns("capture", wanted)
        machine.netns("remove", wanted)

    for way in WAYS:  # modules are loaded, forwarding is switched on, /run/netns becomes a mount
        go_round(way)
    before = snapshot(machine, name)
    for number in range(ROUNDS):
        go_round(WAYS[number % len(WAYS)])
    assert_is_as_before(machine, name, before)


@pytest.mark.parametrize("mode", ["bridged", "sealed"])
def test_rounds_of_whole_services(machine, mode):
    name = unique_name("round")
    machine.run(["sh", "-c", f"mkdir -p /run/etc && cat > /run/etc/{name}.toml"], stdin=SERVICE.format(mode=mode))
    environment = ["env", "PILLION_STATE_DIR=/run/state", "PILLION_LOG_DIR=/run/log"]

    def go_round():
        argv = machine.argv([*environment, program("pillion"), "run", f"/run/etc/{name}.toml"])
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as service:
            said = []
            for line in service.stdout:
                said.append(line)
                if '"ready"' in line or line.rstrip().endswith(" ready"):
                    break
            service.send_signal(signal.SIGTERM)
            said += service.stdout.readlines()
            assert service.wait(60) == 143, "".join(said)

    go_round()
    before = snapshot(machine, name)
    for _ in range(max(ROUNDS // 5, 1)):
        go_round()
    assert_is_as_before(machine, name, before)
