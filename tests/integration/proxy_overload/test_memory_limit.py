"""Under a real memory limit of the kernel: whatever clients do, the proxy sheds them and is not killed."""
import os
import secrets
import socket
import time
from pathlib import Path

import pytest

from support.http2_lab import Http2Backend, Http2Client, Reply
from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream
from support.sanitizers import skip_measurement

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
LIMIT = 48 << 20


class Group:
    """A cgroup of our own, of the version that has the memory controller here."""

    def __init__(self):
        for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            self.path = Path(root) / f"pillion-test-{secrets.token_hex(4)}"
            try:
                self.path.mkdir()
                (self.path / limit).write_text(str(LIMIT))
                return
            except OSError:
                if self.path.exists():
                    self.path.rmdir()
        pytest.skip("no memory controller that we may use")

    def kills(self):
        for name in ("memory.oom_control", "memory.events"):
            if (self.path / name).exists():
                return int(dict(line.split() for line in (self.path / name).read_text().splitlines())["oom_kill"])
        return 0

    def remove(self):
        wait_until(lambda: self.path.rmdir() is None, what="the group to be empty")


@pytest.fixture
def group():
    if os.geteuid() != 0:
        pytest.skip("making a cgroup needs root")
    skip_measurement(what="memory below a limit")
    one = Group()
    yield one
    one.remove()


def connect_narrowly(proxy, first):
    """A client that sends `first` and whose kernel takes next to nothing of an answer."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.settimeout(10)
    try:
        one.connect(("127.0.0.1", proxy.ports["explicit"]))
        one.send(first)
    except OSError:
        pass
    return one


def wait_until_shed(proxy):
    """Exchanges were ended for lack of memory, and whatever else wants to come has had the time to."""
    wait_until(lambda: any(one["response_code_details"] == "overload" for one in proxy.log()), what="exchanges that were ended")
    time.sleep(1)


def assert_alive(proxy, group):
    assert group.kills() == 0 and proxy.program.is_running()
    wait_until(lambda: proxy.metric("pillion_proxy_overload_level")[""] == 0, what="the memory to be given back")
    assert proxy.client().send(GET).read_response()[0] == 200


def test_a_burst_of_heads_that_never_end(workspace, group):
    """75 MB of them, all within a second."""
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port), group=group.path) as proxy:
        swarm = []
        head = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 50_000
        for _ in range(1500):
            try:
                one = socket.create_connection(("127.0.0.1", proxy.ports["explicit"]), 10)
                one.setblocking(False)
                one.send(head)
                swarm.append(one)
            except OSError:
                pass
        assert proxy.program.is_running()
        wait_until(lambda: any(one["response_flags"] == "OM" for one in proxy.log()), what="heads that were refused")
        for one in swarm:
            one.close()
        assert_alive(proxy, group)


def test_http2_streams_whose_responses_nobody_reads(workspace, group):
    with Http2Backend(lambda request: Reply(body=b"z" * (1 << 20))) as backend, \
            ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"'), group=group.path) as proxy:
        swarm = []
        for _ in range(6):
            try:
                client = Http2Client(proxy.ports["explicit"], window=1000)
                client.send(*[client.head() for _ in range(90)])
                swarm.append(client)
            except OSError:
                pass
        wait_until_shed(proxy)
        assert backend.sent > LIMIT
        for client in swarm:
            client.close()
        assert_alive(proxy, group)


def test_http1_responses_nobody_reads(workspace, group):
    breaker = "circuit_breaker = { max_connections = 4000, max_requests = 4000 }"
    with RawBackend(answer("z" * (1 << 20))) as backend, ProxyLab(workspace, upstream(backend.port, breaker), group=group.path) as proxy:
        swarm = [connect_narrowly(proxy, GET) for _ in range(2000)]
        wait_until_shed(proxy)
        for one in swarm:
            one.close()
        assert_alive(proxy, group)


def test_bodies_held_for_inspection(workspace, group):
    """16 of 8 MiB, each within the limit of one."""
    rules = '[rule.all]\nbody_matches = "never there"\naction = "deny"\n'
    with RawBackend(answer()) as app, ProxyLab(workspace, upstream(1) + rules, app_port=app.port, group=group.path) as proxy:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388609\r\n\r\n"
        swarm = []
        for _ in range(16):
            one = proxy.client("publish")
            try:
                one.send(head + b"b" * (8 << 20))
            except OSError:  # answered 503 meanwhile
                pass
            swarm.append(one)
        assert any(one["status"] == 503 and one["response_flags"] == "OM" for one in proxy.log())
        for one in swarm:
            one.close()
        assert group.kills() == 0 and proxy.program.is_running()
        wait_until(lambda: proxy.client("publish").send(GET).read_response()[0] == 200, what="service as usual")


def test_relays_whose_clients_do_not_read(workspace, group):
    def pour(connection):
        connection.socket.sendall(b"z" * (8 << 20))

    with RawBackend(pour) as backend, \
            ProxyLab(workspace, upstream(backend.port), explicit_protocol="tcp", group=group.path) as proxy:
        swarm = [connect_narrowly(proxy, b"x") for _ in range(800)]
        wait_until(lambda: len(backend.peers) > 100, what="relays")
        time.sleep(1)
        assert group.kills() == 0 and proxy.program.is_running()
        for one in swarm:
            one.close()
        wait_until(lambda: proxy.metric("pillion_proxy_overload_level")[""] == 0, what="the memory to be given back")
