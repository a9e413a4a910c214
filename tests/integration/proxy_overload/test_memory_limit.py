"""Under a real memory limit of the kernel: whatever clients do, the proxy sheds them and is not killed."""
import os
import secrets
import socket
from pathlib import Path

import pytest

from support.http2_lab import Http2Backend, Http2Client, Reply
from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream

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

    def take(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid))

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
    one = Group()
    yield one
    one.remove()


def assert_alive(proxy, group):
    assert group.kills() == 0 and proxy.program.is_running()
    wait_until(lambda: proxy.metric("pillion_proxy_overload_level")[""] == 0, what="the memory to be given back")
    assert proxy.client().send(GET).read_response()[0] == 200


def test_a_burst_of_heads_that_never_end(workspace, group):
    """75 MB of them, all within a second."""
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        group.take(proxy.program.pid)
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
            ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy:
        group.take(proxy.program.pid)
        swarm = []
        for _ in range(6):
            try:
                client = Http2Client(proxy.ports["explicit"], window=1000)
                client.send(*[client.head() for _ in range(90)])
                swarm.append(client)
            except OSError:
                pass
        wait_until(lambda: backend.sent > 8 << 20, what="responses")
        for client in swarm:
            client.close()
        assert_alive(proxy, group)
