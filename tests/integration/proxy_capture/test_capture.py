"""Captured connections in a network namespace: the original destination, both directions, and no loop."""
import json
import os
import re
import sys

import pytest

from support.network_lab import Machine
from support.pillion_testing import (PYTHON, SUPPORT, Program, make_workspace, program, remove_workspace, requires_root,
                                     wait_until)

PROXY_UID = 1337
RULES = f"""
table inet capture {{
  chain output {{
    type nat hook output priority -100; policy accept;
    ip saddr 127.0.0.6 return
    meta skuid {PROXY_UID} return
    ip daddr 10.9.0.1 tcp dport 8080 redirect to :15006
    ip daddr 127.0.0.0/8 return
    meta l4proto tcp redirect to :15001
  }}
}}
"""
CONFIG = """
[inbound]
ports = [{ name = "http", port = 8080, protocol = "http" }]
[upstream.payments]
address = ["10.9.0.2:9000"]
[upstream.second]
address = ["10.9.0.2:9000"]
hosts = ["second.internal"]
[upstream.sealed]
address = ["10.9.0.2:7443"]
hosts = ["sealed.internal"]
protocol = "tls"
[access_log]
flush_interval = "10ms"
"""
# Answers each connection with its own port and what the ClientHello began with.
HELLO_SERVERS = """
import socket, threading
def serve(port):
    server = socket.create_server(("10.9.0.2", port))
    while True:
        connection, _ = server.accept()
        data = connection.recv(1000)
        if data:
            connection.sendall(f"{port} {data[0]}".encode())
        connection.close()
threading.Thread(target=serve, args=(7443,), daemon=True).start()
serve(7444)
"""
HELLO_CLIENT = """
import socket, ssl, sys
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=sys.argv[1])
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    pass
connection = socket.create_connection(("10.9.0.2", 7444), timeout=20)
hello = outgoing.read()
connection.sendall(hello[:50])
connection.sendall(hello[50:])
print(connection.recv(100).decode())
"""
SERVER_FIRST = """
import socket
server = socket.create_server(("10.9.0.2", 7777))
while True:
    connection, _ = server.accept()
    connection.sendall(b"greeting\\n")
    connection.sendall(connection.recv(100).upper())
    connection.close()
"""
SERVER_FIRST_CLIENT = """
import socket
connection = socket.create_connection(("10.9.0.2", 7777), timeout=20)
greeting = connection.recv(100)
connection.sendall(b"hello")
print(greeting.decode() + connection.recv(100).decode())
"""


class Capture:
    def __init__(self, machine, directory):
        self.machine, self.directory = machine, directory
        for words in ("addr add 10.9.0.1/24 dev lo", "addr add 10.9.0.2/24 dev lo", "link add eth0 type veth peer name peer0",
                      "link set eth0 up", "link set peer0 up", "addr add 10.8.0.1/24 dev eth0", "route add default via 10.8.0.2"):
            machine.run(["ip", *words.split()])
        machine.run(["nft", "-f", "-"], stdin=RULES)
        http_app = SUPPORT / "http_app.py"
        self.programs = [
            self.start([PYTHON, http_app, "--port", "8080", "--address", "127.0.0.1"]),
            self.start([PYTHON, http_app, "--port", "9000", "--address", "10.9.0.2"]),
            self.start([PYTHON, "-c", SERVER_FIRST]),
            self.start([PYTHON, "-c", HELLO_SERVERS])]
        config = directory / "proxy.toml"
        config.write_text(CONFIG)
        self.proxy = self.start(["setpriv", f"--reuid={PROXY_UID}", f"--regid={PROXY_UID}", "--clear-groups",
                                 program("pillion-proxy"), "--config", config])
        self.programs.append(self.proxy)
        wait_until(lambda: self.curl("http://127.0.0.1:15021/healthz/ready").startswith("LIVE"),
                   what="the proxy\n" + self.proxy.output)
        for port in ("127.0.0.1:8080", "10.9.0.2:9000"):
            wait_until(lambda port=port: "200" in self.curl("-o", "/dev/null", "-w", "%{http_code}", f"http://{port}/healthz"))

    def start(self, argv):
        # Without the machine's own /run, so that files of the test are seen.
        return Program(["nsenter", "-t", self.machine.pid, "-n", "--", *argv], self.directory)

    def curl(self, *words):
        return self.machine.run(["curl", "-s", "-m", "20", *words], check=None).stdout

    def log(self, wanted):
        def find():
            lines = [json.loads(line) for line in self.proxy.stdout.splitlines()]
            return next((line for line in lines if all(line.get(key) == value for key, value in wanted.items())), None)
        return wait_until(find, what=f"an access log line with {wanted}")


@pytest.fixture(scope="module")
def capture():
    if os.geteuid() != 0:
        pytest.skip("needs root: run the tests as root or with sudo")
    directory = make_workspace()  # the proxy's user reads its configuration there
    with Machine("capture") as machine:
        lab = Capture(machine, directory)
        try:
            yield lab
        finally:
            for one in lab.programs:
                one.close()
            print(lab.proxy.stderr, file=sys.stderr)
            remove_workspace(directory)


@requires_root
def test_an_inbound_connection_reaches_the_app_on_loopback_from_127_0_0_6(capture):
    reply = json.loads(capture.curl("http://10.9.0.1:8080/identity"))
    assert reply["peer"] == "127.0.0.6"
    record = capture.log({"path": "/identity"})
    assert (record["direction"], record["upstream_address"]) == ("inbound", "127.0.0.1:8080")


@requires_root
def test_an_outbound_request_goes_to_its_original_destination_once(capture):
    reply = json.loads(capture.curl("http://10.9.0.2:9000/echo?once"))
    via = next(value for key, value in reply["headers"].items() if key.lower() == "via")
    assert re.fullmatch(r"1\.1 pillion \([0-9a-f]{8}\)", via)
    record = capture.log({"path": "/echo?once"})
    assert (record["upstream"], record["upstream_address"]) == ("passthrough", "10.9.0.2:9000")


@requires_root
def test_an_upstream_is_found_by_host_and_by_virtual_address(capture):
    for words, upstream in ((["--resolve", "payments:80:240.240.0.1", "http://payments/echo?1"], "payments"),
                            (["http://240.240.0.2/echo?2"], "second"),
                            (["-H", "Host: second.internal", "http://10.9.0.2:9000/echo?3"], "second")):
        assert "headers" in capture.curl(*words)
        assert capture.log({"path": "/echo?" + words[-1][-1]})["upstream"] == upstream


@requires_root
def test_an_unknown_virtual_address_is_refused(capture):
    assert capture.curl("-w", "%{http_code}", "http://240.240.0.9/") == "000"
    assert "no upstream has the address 240.240.0.9" in capture.proxy.stderr


@requires_root
def test_a_server_that_speaks_first_is_not_kept_waiting(capture):
    result = capture.machine.run([PYTHON, "-c", SERVER_FIRST_CLIENT])
    assert result.stdout == "greeting\nHELLO\n"
    assert capture.log({"upstream_address": "10.9.0.2:7777"})["protocol"] == "tcp"


@requires_root
def test_tls_goes_to_the_upstream_that_its_client_names_else_where_it_was_going(capture):
    def hello(name):
        return capture.machine.run([PYTHON, "-c", HELLO_CLIENT, name]).stdout.strip()

    assert hello("sealed.internal") == "7443 22"
    assert capture.log({"upstream": "sealed"})["upstream_address"] == "10.9.0.2:7443"
    assert hello("other.internal") == "7444 22"
    assert capture.log({"upstream": "passthrough", "upstream_address": "10.9.0.2:7444"})["protocol"] == "tcp"


@requires_root
def test_a_refused_destination_is_a_502_with_its_address(capture):
    reply = capture.curl("http://10.9.0.2:9999/")
    assert "cannot connect to the upstream at 10.9.0.2:9999: Connection refused (UF)" in reply


@requires_root
def test_a_connection_to_the_listeners_themselves_does_not_loop(capture):
    for port in (15001, 15006):
        assert capture.curl("-w", "%{http_code}", f"http://127.0.0.1:{port}/") == "000"
    assert capture.proxy.stderr.count("capture listener itself") >= 2
