"""The app's DNS goes through the proxy: bridged with intercept.dns, and sealed, where there is no other way."""
import ipaddress

import pytest

from support.network_lab import Machine
from support.pillion_testing import PYTHON, SUPPORT, Program, http_get, requires_root, run, unique_name, wait_until

pytestmark = requires_root

SERVICE = '''
        [service]
        name = "@name@"
        stop_grace = "10s"
        drain_delay = "0s"
        [network]
        mode = "@mode@"
        publish = ["@port:web@:8080"]
        intercept = { dns = @dns@ }
        dns = { nameservers = ["@server@"] }
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [sidecar.proxy]
        use = "proxy"
        [sidecar.proxy.config.upstream.payments]
        address = ["192.0.2.1:80"]
        hosts = ["payments", "Pay.Example"]
'''
# Prints where the answer came from, its rcode, and the address at its end.
ASK = '''
import socket, struct, sys
transport, server, name = sys.argv[1:]
family = socket.AF_INET6 if ":" in server else socket.AF_INET
labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
query = b"\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0" + labels + b"\\0\\0\\1\\0\\1"
if transport == "garbage":
    query = query[:20]
if transport == "tcp":
    connection = socket.create_connection((server, 53), timeout=20)
    connection.sendall(len(query).to_bytes(2, "big") + query)
    size = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
    reply = connection.recv(size, socket.MSG_WAITALL)
else:
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.settimeout(20)
    client.connect((server, 53))  # so that an answer from any other address is lost
    client.send(query)
    reply = client.recv(4096)
assert reply[:2] == query[:2] and reply[2] & 0x80, reply
print(reply[3] & 15, socket.inet_ntoa(reply[-4:]) if reply[7] else "-")
'''


@pytest.fixture
def server(tmp_path):
    """A DNS server on a host beyond the machine."""
    number = int(unique_name("n")[-4:], 36) % 16000
    link = ipaddress.ip_address("198.19.0.0") + 4 * number
    here, there, end = str(link + 1), str(link + 2), f"pdn{number}"
    with Machine("remote") as machine:
        run(["ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid)], check=0)
        try:
            run(["ip", "address", "add", f"{here}/30", "dev", end], check=0)
            run(["ip", "link", "set", end, "up"], check=0)
            machine.run(["ip", "address", "add", f"{there}/30", "dev", "eth0"])
            machine.run(["ip", "link", "set", "eth0", "up"])
            argv = machine.argv([PYTHON, SUPPORT / "dns_server.py", there])
            with Program(argv, tmp_path) as program:
                wait_until(lambda: "ready" in program.stdout, 20, "the DNS server")
                program.address = there
                yield program
        finally:
            run(["ip", "link", "delete", end], check=0)


@pytest.fixture(params=["bridged", "sealed"])
def service(request, services, server):
    # Sealed, nothing needs to be asked for.
    text = SERVICE.replace("@mode@", request.param).replace("@server@", server.address)
    return services(text.replace("@dns@", "true" if request.param == "bridged" else "false")).start()


def ask(service, transport, name, address="203.0.113.53"):
    result = service.inside([PYTHON, "-c", ASK, transport, address, name])
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


def test_the_apps_queries_are_answered_whatever_server_it_asks(service, server):
    assert ask(service, "udp", "one.test") == "0 192.0.2.7"
    assert ask(service, "udp", "ONE.test", "203.0.113.99") == "0 192.0.2.7"
    assert ask(service, "tcp", "one.test") == "0 192.0.2.7"
    assert ask(service, "udp", "one.test", "2001:db8:ffff::53") == "0 192.0.2.7"
    assert server.stdout.count("one.test") == 1, "asked once, then kept"
    assert ask(service, "udp", "missing.test") == ask(service, "udp", "missing.test") == "3 -"
    assert server.stdout.count("missing.test") == 1, "that there is no such name is kept too"
    # Cut off by UDP: asked by TCP, and small enough for the app's datagram.
    assert ask(service, "udp", "big.test") == "0 192.0.2.7"
    assert "udp big.test" in server.stdout and "tcp big.test" in server.stdout
    # Upstreams' names never leave the machine, and nonsense gets "format error".
    assert ask(service, "udp", "pay.example") == "0 240.240.0.1"
    assert "pay.example" not in server.stdout
    assert ask(service, "garbage", "one.test") == "1 -"
    metrics = service.inside(["curl", "-s", "-m", "20", "http://127.0.0.1:15090/metrics"]).stdout
    for result in ("cache", "malformed", "name", "server"):
        assert f'pillion_proxy_dns_queries_total{{result="{result}"}}' in metrics, metrics


def test_programs_resolve_names_with_the_files_they_see(service, server):
    app = str(service.child("app")["pid"])
    result = run(["nsenter", "-t", app, "-n", "-m", "--", "getent", "hosts", "two.test"], check=0)
    assert result.stdout.split()[0] == "192.0.2.7"
    assert "two.test" in server.stdout


def test_without_a_server_the_failure_comes_at_once_as_servfail(services, server):
    text = SERVICE.replace("@mode@", "sealed").replace("@dns@", "false").replace("@server@", "127.0.0.77")
    service = services(text).start()
    assert ask(service, "udp", "one.test") == "2 -"
    assert http_get(f"http://127.0.0.1:{service.port('web')}/identity").status == 200
