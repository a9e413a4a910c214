"""Each thing that keeps a mesh from intercepting is really broken in a service's network, one at a time; the doctor has to
name it and what to do about it, and must find nothing when all is well.

The patient: a bridged service with the proxy's listeners (uid 1337), an app on 8080 (uid 10001), and a name server on
the machine's side of the veth pair.
"""
import contextlib
import json
import signal
import subprocess

import pytest

from support.network_lab import Machine
from support.pillion_testing import PYTHON, program, requires_root, unique_name

pytestmark = requires_root

PROXY, APP = 1337, 10001
PROXY_LISTENERS = ["127.0.0.1:15001", "[::1]:15001", "0.0.0.0:15006", "[::]:15006"]
# Python that needs no more than a socket of IPv4.
OPEN_AND_KEEP = """
import socket, sys, time
kept = []
def connect(address, source=None):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setblocking(False)
    if source: client.bind(source)
    client.connect_ex(address)
    kept.append(client)
"""


class Patient:
    def __init__(self, machine, stack, intercept=None, app_uid=APP, transparent=True):
        self.machine = machine
        self.name = unique_name("sick")
        self.wanted = {"service": self.name, "intercept": {"inbound_ports": [8080], **(intercept or {})}}
        stack.callback(machine.netns, "remove", self.name)
        self.facts = machine.create_service(self.wanted)
        options = ["--transparent"] if transparent else []
        self.proxy = stack.enter_context(machine.listen(self.name, PROXY, PROXY_LISTENERS, *options))
        self.app = stack.enter_context(machine.listen(self.name, app_uid, ["0.0.0.0:8080"]))
        gateway = self.facts["gateway4"]
        self.name_server = stack.enter_context(machine.listen("", 0, [f"{gateway}:53"], "--udp"))
        self.resolv_conf = f"/run/{self.name}.resolv"
        self.write_resolv_conf(f"nameserver {gateway}\n")
        machine.netns("capture", self.wanted)

    def write_resolv_conf(self, text):
        self.machine.run(["sh", "-c", f"cat > {self.resolv_conf}"], stdin=text)

    def inside(self, *command, **options):
        return self.machine.run(command, service=self.name, **options)

    def rules(self, text):
        self.inside("nft", "-f", "-", stdin=text)

    def examine(self, *options, wanted=None, prefix=()):
        """Findings by verdict: {"problem": [finding, …], …}; the exit code must fit."""
        result = self.machine.netns("doctor", wanted or self.wanted, "--json", "--resolv-conf", self.resolv_conf,
                                    *options, check=None, prefix=prefix)
        found = {verdict: [] for verdict in ("problem", "warning", "unknown", "ok")}
        for finding in json.loads(result.stdout):
            found[finding["verdict"]].append(finding)
            assert bool(finding["remedy"]) == (finding["verdict"] in ("problem", "warning")), finding
        assert result.returncode == (1 if found["problem"] else 0)
        return found

    def expect(self, verdict, check, words, remedy, **options):
        """Exactly one finding of this verdict and check, with these words and this remedy."""
        found = self.examine(**options)
        matching = [finding for finding in found[verdict] if finding["check"] == check]
        assert len(matching) == 1, found
        assert words in matching[0]["found"] and remedy in matching[0]["remedy"], matching
        return found


@pytest.fixture(scope="module")
def machine():
    with Machine() as held:
        # Where the kernel keeps a way out for both families, a trial connection has a route.
        held.run(["ip", "link", "add", "uplink", "type", "bridge"])
        held.run(["ip", "address", "add", "192.0.2.1/24", "dev", "uplink"])
        held.run(["ip", "link", "set", "uplink", "up"])
        yield held


@pytest.fixture
def stack():
    with contextlib.ExitStack() as held:
        yield held


@pytest.fixture
def patient(machine, stack):
    return Patient(machine, stack)


def test_a_healthy_network_gets_no_complaint(patient):
    found = patient.examine()
    assert not found["problem"] and not found["warning"] and not found["unknown"]
    assert {"namespace", "interfaces", "host-rules", "forwarding", "kernel", "rules", "proxy-outbound", "proxy-inbound",
            "capture", "app", "dns", "conntrack", "invalid", "half-open"} == {one["check"] for one in found["ok"]}
    assert sum(one["check"] == "capture" for one in found["ok"]) == 2, "IPv4 and IPv6"


def test_the_text_for_people_puts_problems_first(patient):
    patient.machine.netns("uncapture", patient.wanted)
    text = patient.machine.netns("doctor", patient.wanted, "--resolv-conf", patient.resolv_conf, check=1).stdout
    assert text.startswith("problem  rules           there are no capture rules")
    assert text.endswith("1 problems, 0 warnings\n")


def test_a_service_without_network(machine):
    findings = json.loads(machine.netns("doctor", unique_name("sick"), "--json", check=1).stdout)
    assert [finding["check"] for finding in findings] == ["namespace"]
    assert "the service has no network" in findings[0]["found"] and "start the service" in findings[0]["remedy"]


def test_a_missing_privilege(patient):
    patient.expect("problem", "namespace", "Operation not permitted", "as root",
                   prefix=["setpriv", "--bounding-set", "-sys_admin"])


@pytest.mark.parametrize("break_it", ["inner down", "inner gone", "host down"])
def test_an_interface_that_is_gone_or_down(patient, break_it):
    if break_it == "host down":
        patient.machine.run(["ip", "link", "set", patient.facts["host_interface"], "down"])
        words = f"the host's end {patient.facts['host_interface']} is missing, down"
    else:
        change = ["set", "eth0", "down"] if break_it == "inner down" else ["set", "eth0", "name", "wan0"]
        if break_it == "inner gone":
            patient.inside("ip", "link", "set", "eth0", "down")
        patient.inside("ip", "link", *change)
        words = "eth0 is missing, down or without an address inside"
    patient.expect("problem", "interfaces", words, "restart the service")


def test_the_hosts_table_deleted_by_a_firewall_reload(patient):
    patient.machine.run(["nft", "flush", "ruleset"])
    patient.expect("problem", "host-rules", f"table inet {patient.facts['host_table']} is missing", "flush ruleset")


def test_forwarding_switched_off(patient):
    patient.machine.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    patient.expect("problem", "forwarding", "net.ipv4.ip_forward is 0", "sysctl -w net.ipv4.ip_forward=1")
    patient.machine.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])


@pytest.mark.parametrize(("table", "policy", "chain", "firewall", "remedy"), [
    ("ip filter", "drop", "DOCKER-USER", "docker", "iptables -I DOCKER-USER"),
    ("ip filter", "drop", "ufw-user-forward", "ufw", "ufw route allow"),
    ("inet firewalld", "accept", "filter_FWD", "firewalld", "firewall-cmd"),
])
def test_a_firewall_that_drops_forwarded_packets(patient, stack, table, policy, chain, firewall, remedy):
    patient.machine.run(["nft", "-f", "-"], stdin=f"""
        add table {table}
        add chain {table} FORWARD {{ type filter hook forward priority 0; policy {policy}; }}
        add chain {table} {chain}
    """)
    stack.callback(patient.machine.run, ["nft", "delete", "table", *table.split()])
    patient.expect("warning", "forwarding", f"{firewall} drops forwarded packets", remedy)


def test_capture_rules_that_are_not_there(patient):
    patient.machine.netns("uncapture", patient.wanted)
    patient.expect("problem", "rules", "there are no capture rules", "pillion status")


def test_capture_rules_of_another_configuration(patient):
    now = {**patient.wanted, "intercept": {"inbound_ports": [8080], "exclude_outbound_ports": [5432]}}
    patient.expect("warning", "rules", "made from another configuration", "restart the service", wanted=now)


def test_capture_rules_that_somebody_changed(patient):
    patient.rules("insert rule inet pillion outbound_nat counter accept")
    patient.expect("problem", "rules", "somebody changed them", "restart the service")


def test_a_kernel_without_nftables(machine, stack):
    patient = Patient(machine, stack, {"backend": "iptables"})
    without = ["env", "PILLION_NETNS_FAULT=without:nftables"]
    machine.netns("uncapture", patient.wanted)
    patient.expect("warning", "kernel", "nftables: ", "install iptables", prefix=without)


@pytest.mark.parametrize(("left", "check", "port"), [(PROXY_LISTENERS[2:], "proxy-outbound", 15001),
                                                     (PROXY_LISTENERS[:2], "proxy-inbound", 15006)])
def test_nobody_listens_on_a_port_of_the_proxy(patient, left, check, port):
    patient.proxy.__exit__()
    with patient.machine.listen(patient.name, PROXY, left, "--transparent"):
        patient.expect("problem", check, f"nobody listens on port {port}", "start the proxy")


def test_a_proxy_that_hangs(patient, stack):
    patient.proxy.process.send_signal(signal.SIGSTOP)
    flood = OPEN_AND_KEEP + """
for _ in range(80): connect(("198.51.100.1", 80))
time.sleep(1)
print("done", flush=True)
sys.stdin.read()
"""
    stack.enter_context(running(patient, flood, uid=APP))
    patient.expect("problem", "proxy-outbound", "nobody accepts them", "restart it")
    patient.proxy.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running(patient, script, uid=0):
    """A Python script inside that prints "done" when it has done its deed, and stays until its stdin is closed."""
    argv = patient.machine.argv(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", PYTHON, "-c", script],
                                patient.name)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "done\n"
        yield process
        process.stdin.close()


def test_tproxy_with_a_listener_that_is_not_transparent(patient):
    patient.proxy.__exit__()
    with patient.machine.listen(patient.name, PROXY, PROXY_LISTENERS):
        patient.expect("problem", "proxy-inbound", "is not transparent", "IP_TRANSPARENT")


def test_another_program_takes_the_connections_first(patient):
    patient.rules("""
        add table ip other
        add chain ip other out { type nat hook output priority -110; }
        add rule ip other out tcp dport 9 redirect to :9
    """)
    patient.expect("problem", "capture", "IPv4 was not captured", "nft list ruleset")


def test_a_proxy_that_listens_on_one_family_only(patient):
    patient.proxy.__exit__()
    with patient.machine.listen(patient.name, PROXY, [PROXY_LISTENERS[0], *PROXY_LISTENERS[2:]], "--transparent"):
        patient.expect("problem", "capture", "IPv6 was captured, and refused", "must listen on both")


def test_the_app_under_a_helpers_uid(machine, stack):
    patient = Patient(machine, stack, app_uid=PROXY)
    patient.expect("problem", "app", "the app on port 8080 runs as uid 1337", "user of its own")


def test_an_app_process_under_a_helpers_uid(patient):
    found = patient.examine("--app-uid", str(PROXY))
    assert any("the app runs as uid 1337" in one["found"] for one in found["problem"])


def test_an_app_that_does_not_listen(patient):
    patient.app.__exit__()
    patient.expect("warning", "app", "nobody listens on the app's port 8080", "[app] ports")


def test_a_name_server_that_does_not_answer(patient):
    patient.name_server.__exit__()
    patient.expect("problem", "dns", f"the name server {patient.facts['gateway4']} does not answer",
                   "[network.dns] nameservers")


def test_a_resolv_conf_without_name_server(patient):
    patient.write_resolv_conf("search example.org\n")
    patient.expect("warning", "dns", "names no name server", "[network.dns] nameservers")


def test_a_connection_table_that_is_nearly_full(patient):
    limit = int(patient.inside("cat", "/proc/sys/net/netfilter/nf_conntrack_max").stdout)
    if limit > 300_000:
        pytest.skip(f"this machine tracks up to {limit} connections: too many to fill")
    # Without an answer to each of them: dropped once they are tracked.
    patient.rules("""
        add table ip fill
        add chain ip fill early { type filter hook prerouting priority -400; }
        add rule ip fill early ip daddr 127.9.0.0/16 drop
    """)
    fill = f"""
import socket
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range({limit} * 17 // 20):
    client.sendto(b"", (f"127.9.{{number // 60000}}.1", 1024 + number % 60000))
"""
    patient.inside(PYTHON, "-c", fill)
    patient.expect("warning", "conntrack", f"of {limit} connections are tracked (8", "nf_conntrack_max")
    patient.inside("conntrack", "-F", check=None)


def test_packets_that_belong_to_no_connection(patient):
    # Acknowledgements out of nowhere, to the app's declared port, from the machine's side.
    send = f"""
import socket, struct
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
me, it = "{patient.facts['gateway4']}", "{patient.facts['address4']}"
def checksum(data):
    total = sum(struct.unpack(f"!{{len(data) // 2}}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
for port in range(40000, 40030):
    head = struct.pack("!HHIIBBHHH", port, 8080, 1, 1, 5 << 4, 0x01 | 0x02 | 0x04, 1024, 0, 0)
    pseudo = socket.inet_aton(me) + socket.inet_aton(it) + struct.pack("!BBH", 0, 6, len(head))
    raw.sendto(head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:], (it, 0))
"""
    patient.machine.run([PYTHON, "-c", send])
    patient.expect("warning", "invalid", "30 packets were dropped", "asymmetric routes")


def test_one_client_port_used_for_two_ports_of_the_service(machine, stack):
    """Under REDIRECT both connections lead to 15006, so the kernel has to give one of them another client port."""
    patient = Patient(machine, stack, {"inbound_ports": [8080, 8081], "inbound_method": "redirect"})
    script = OPEN_AND_KEEP + f"""
for port in 8080, 8081: connect(("{patient.facts['address4']}", port), ("{patient.facts['gateway4']}", 45678))
time.sleep(0.2)
print("done", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(machine.argv([PYTHON, "-c", script]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as client:
        assert client.stdout.readline() == "done\n"
        patient.expect("warning", "source-ports", "1 connections arrived with another client port", "tproxy")
        client.stdin.close()


def test_half_closed_connections_that_are_forgotten_early(patient):
    patient.inside("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_close_wait=60")
    patient.expect("warning", "half-open", "forgotten after 60 s", "nf_conntrack_tcp_timeout_close_wait=3600")


def test_a_program_that_does_not_close_what_its_peers_closed(patient, stack):
    script = """
import socket, sys
server = socket.create_server(("127.0.0.1", 7777), backlog=100)
kept = []
for _ in range(60):
    client = socket.create_connection(("127.0.0.1", 7777))
    kept.append(server.accept()[0])
    client.close()
print("done", flush=True)
sys.stdin.read()
"""
    stack.enter_context(running(patient, script))
    patient.expect("warning", "half-open", "60 connections are half closed", "ss -tnp state close-wait")


def test_what_a_dead_service_left_is_named(machine):
    name = unique_name("dead")
    facts = machine.create_service({"service": name})
    look = [program("pillion-netns"), "doctor", "--leftovers", "--json"]
    findings = [one for one in json.loads(machine.output(look)) if name in one["found"]]
    assert [one["found"].partition(" is left")[0] for one in findings] == [
        f"namespace /run/netns/pillion-{name}", f"interface {facts['host_interface']}"]
    assert {one["remedy"] for one in findings} == {f"pillion-netns remove {name}"}
    assert name not in machine.output([*look, "--running", name])
    machine.netns("remove", name)
    assert name not in machine.output(look)
