"""Real clients of real servers, captured: curl, Python, redis-cli, psql, and a client of a server that speaks first, as MySQL
does. Two machines and a bridge: the service with its proxy runs on a, the servers on b; on IPv4 and IPv6, in every mode
and by both backends. What they say to each other goes through the proxy, whose log tells so.
"""
import contextlib
import hashlib
import json
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from support.network_lab import Machine, connect_by_bridge
from support.pillion_testing import PYTHON, REPOSITORY, program, requires_root, unique_name

pytestmark = requires_root

APP = 10001
REMOTE = {"v4": "192.0.2.2", "v6": "2001:db8::2"}
HTTP, REDIS, POSTGRES, MYSQL, ECHO = 8000, 6379, 5432, 3306, 9000
SERVICE = """
[network]
mode = "{mode}"
publish = {publish}
[network.intercept]
inbound = true
outbound = true
backend = "{backend}"
[app]
command = ["{python}", "{support}/http_app.py", "--port", "8080"]
ports = [{{ name = "http", port = 8080, protocol = "http" }}]
user = "10001:10001"
readiness_probe = {{ http = {{ path = "/healthz" }}, period = "1s" }}
[sidecar.proxy]
use = "proxy"
"""
# Greets first, as MySQL; then answers each line. On the other port: everything back once the client has closed its half.
SPEAKS_FIRST = f"""
import socketserver, threading
class Greeter(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"5.7.0-like\\n")
        for line in self.rfile: self.wfile.write(b"OK " + line)
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read()[::-1])
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    address_family = 10
servers = [Server(("::", {MYSQL}), Greeter), Server(("::", {ECHO}), Echo)]
for server in servers: threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
"""
TALKS_LATE = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as client:
    lines = client.makefile("rw")
    said = [lines.readline()]
    for word in "select", "commit":
        lines.write(word + "\\n"); lines.flush(); said.append(lines.readline())
    print("".join(said), end="")
"""
HALF_CLOSES = """
import hashlib, random, socket, sys
data = random.Random(7).randbytes(4 << 20)
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as client:
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    back = b"".join(iter(lambda: client.recv(65536), b""))
print(hashlib.sha256(back[::-1]).hexdigest())
"""
WAYS = [("bridged", "nftables"), ("bridged", "iptables"), ("sealed", "nftables"), ("host", "nftables"), ("host", "iptables")]


def wait_until(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def running(stack, machine, command, **options):
    process = subprocess.Popen(machine.argv(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, **options)

    def end():
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    stack.callback(end)
    return process


def is_listening(machine, port):
    return f":{port} " in machine.output(["ss", "-Hltn"])


def start_postgres(stack, machine):
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=None)
    if binaries is None:
        return False
    directory = tempfile.mkdtemp(dir="/var/tmp")
    stack.callback(shutil.rmtree, directory)
    shutil.chown(directory, "postgres", "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    machine.run([*as_postgres, binaries.parent / "initdb", "-D", f"{directory}/data", "-A", "trust", "--no-sync"])
    machine.run(["sh", "-c", f"echo 'host all all all trust' >> {directory}/data/pg_hba.conf"])
    running(stack, machine, [*as_postgres, binaries, "-D", f"{directory}/data", "-h", "*", "-p", POSTGRES,
                             "-k", directory, "-c", "fsync=off"])
    return True


@pytest.fixture(scope="module")
def servers():
    """Machine b with everything that is called; the set of what could be started."""
    with contextlib.ExitStack() as stack:
        b = stack.enter_context(Machine("b"))
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        (Path(directory) / "hello").write_text("hello from b\n")
        running(stack, b, [PYTHON, "-m", "http.server", HTTP, "--bind", "::", "--directory", directory])
        running(stack, b, [PYTHON, "-c", SPEAKS_FIRST])
        ports = {HTTP, MYSQL, ECHO}
        if shutil.which("redis-server") and shutil.which("redis-cli"):
            running(stack, b, ["redis-server", "--port", REDIS, "--bind", "0.0.0.0", "::", "--protected-mode", "no",
                               "--save", "", "--dir", directory])
            ports.add(REDIS)
        if shutil.which("psql") and start_postgres(stack, b):
            ports.add(POSTGRES)
        for port in ports:
            wait_until(lambda port=port: is_listening(b, port), f"port {port} on b")
        yield b, ports


class Lab:
    def __init__(self, mode, backend, b, stack):
        self.b = b
        self.a = stack.enter_context(Machine("a"))
        stack.enter_context(connect_by_bridge([self.a, b]))
        stack.callback(b.run, ["ip", "link", "delete", "eth0"])
        self.name = unique_name("client")
        self.inside = "" if mode == "host" else self.name
        publish = "[]" if mode == "host" else '["8080"]'
        text = SERVICE.format(mode=mode, backend=backend, publish=publish, python=PYTHON,
                              support=REPOSITORY / "tests" / "support")
        self.a.run(["sh", "-c", f"mkdir -p /run/etc && cat > /run/etc/{self.name}.toml"], stdin=text)
        running(stack, self.a, ["env", "PILLION_STATE_DIR=/run/state", "PILLION_LOG_DIR=/run/log",
                                program("pillion"), "run", f"/run/etc/{self.name}.toml"])
        wait_until(lambda: self.status().get("ready"), f"{self.name} to be ready")

    def status(self):
        said = self.a.run([program("pillion"), "status", self.name, "--json"], check=None).stdout
        return json.loads(said) if said.strip() else {}

    def as_app(self, *command):
        user = ["setpriv", f"--reuid={APP}", f"--regid={APP}", "--clear-groups"]
        return self.a.run([*user, *command], self.inside, timeout=120).stdout

    def proxy_log(self):
        return self.a.output(["sh", "-c", f"cat /run/log/{self.name}/proxy.log*"])


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def lab(request, servers):
    with contextlib.ExitStack() as stack:
        yield Lab(*request.param, servers[0], stack)


@pytest.fixture(params=["v4", "v6"])
def remote(request):
    return REMOTE[request.param]


def needs(servers, port, package):
    if port not in servers[1]:
        pytest.skip(f"{package} is not installed")


def in_url(address):
    return f"[{address}]" if ":" in address else address


def test_curl(lab, remote):
    assert lab.as_app("curl", "-sS", f"http://{in_url(remote)}:{HTTP}/hello") == "hello from b\n"
    wait_until(lambda: f"{in_url(remote)}:{HTTP}" in lab.proxy_log(), "the proxy's record of it")


def test_python_that_closes_its_half(lab, remote):
    import random
    expected = hashlib.sha256(random.Random(7).randbytes(4 << 20)).hexdigest()
    assert lab.as_app(PYTHON, "-c", HALF_CLOSES, remote, ECHO).strip() == expected


def test_a_server_that_speaks_first(lab, remote):
    assert lab.as_app(PYTHON, "-c", TALKS_LATE, remote, MYSQL) == "5.7.0-like\nOK select\nOK commit\n"


def test_redis(lab, remote, servers):
    needs(servers, REDIS, "redis")
    assert lab.as_app("redis-cli", "-h", remote, "-p", REDIS, "set", lab.name, "value").strip() == "OK"
    assert lab.as_app("redis-cli", "-h", remote, "-p", REDIS, "get", lab.name).strip() == "value"


def test_psql(lab, remote, servers):
    needs(servers, POSTGRES, "postgresql")
    query = "select count(*) from generate_series(1, 100000)"
    target = f"host={remote} port={POSTGRES} user=postgres dbname=postgres"
    assert lab.as_app("psql", "-XAt", target, "-c", query).strip() == "100000"


def test_a_peer_on_the_other_machine_calls_the_service(lab):
    """By the published port; in host mode by the app's own (it listens on IPv4 only), which is captured."""
    for address in ("192.0.2.1", "[2001:db8::1]")[:1 if lab.inside == "" else 2]:
        said = lab.b.output(["curl", "-sS", f"http://{address}:8080/echo"])
        assert "x-request-id" in said.lower(), said
