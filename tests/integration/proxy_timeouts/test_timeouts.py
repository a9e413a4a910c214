"""Each time limit of the configuration ends what it is for, and each limit of size or number that has no scenario of
its own."""
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream

GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Deaf:
    """A port whose queue is full: nobody gets a connection there."""

    def __enter__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.clients = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.port))
            self.clients.append(client)
        return self

    def __exit__(self, *_):
        for one in (*self.clients, self.listener):
            one.close()


def test_connecting_takes_its_limit_and_no_longer(workspace):
    with Deaf() as deaf:
        config = upstream(deaf.port, 'timeouts = { connect = "200ms" }\nretry = { attempts = 0 }')
        with ProxyLab(workspace, config + '[timeouts]\napp_connect = "200ms"\n', app_port=deaf.port) as lab:
            for listener in ("explicit", "publish"):
                with lab.client(listener) as client:
                    status, _, body = client.send(GET).read_response()
                    assert status == 504 and b"timed out" in body
            assert {record["response_code_details"] for record in lab.log(2)} == {"upstream_connect_timeout"}


def test_unused_connections_to_the_app_and_to_others_are_closed(workspace):
    ends = []

    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        ends.append(connection.socket.recv(1))

    with RawBackend(serve) as backend:
        config = upstream(backend.port, 'timeouts = { pool_idle = "200ms" }')
        with ProxyLab(workspace, config + '[timeouts]\napp_pool_idle = "200ms"\n', app_port=backend.port) as lab:
            for count, listener in ((1, "explicit"), (2, "publish")):
                with lab.client(listener) as client:
                    assert client.send(GET).read_response()[0] == 200
                    wait_until(lambda: len(ends) == count, what="the end of the pooled connection")
            assert ends == [b"", b""]


def test_a_client_without_a_request_is_closed(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port) + '[timeouts]\nconnection_idle = "200ms"\n') as lab, \
            lab.client() as client:
        assert client.send(GET).read_response()[0] == 200
        assert client.is_closed_by_peer()


def test_a_half_closed_relay_has_an_end(workspace):
    over = threading.Event()

    def serve(connection):
        connection.read_exactly(1)
        over.wait(30)  # the client's side ends meanwhile; ours stays open

    with RawBackend(serve) as backend:
        lab = ProxyLab(workspace, upstream(backend.port) + '[timeouts]\nhalf_closed = "200ms"\n', explicit_protocol="tcp")
        with lab, lab.client() as client:
            client.send(b"x").socket.shutdown(socket.SHUT_WR)
            assert client.is_closed_by_peer()
            record = lab.log(1)[0]
            assert (record["response_flags"], record["response_code_details"]) == ("UT", "idle_timeout")
        over.set()


def test_a_client_that_stays_after_an_error_is_closed(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port) + '[timeouts]\ndelayed_close = "200ms"\n') as lab, \
            lab.client() as client:
        status, headers, _ = client.send("bad request\r\n\r\n").read_response()
        assert status == 400 and headers["connection"] == "close"
        assert client.read_to_end() == b""  # our side is shut at once
        def is_reset():
            try:
                client.send(b"x" * 1000)
            except OSError:
                return True
        wait_until(is_reset, what="the end of the connection")


def test_connections_have_keep_alive_probes(workspace):
    if shutil.which("ss") is None:
        pytest.skip("ss is not installed (apt install iproute2)")
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port) + '[timeouts]\ntcp_keepalive = "77s"\n') as lab, \
            lab.client() as client:
        assert client.send(GET).read_response()[0] == 200
        def probes():
            words = ["ss", "-Htno", "state", "established", "sport", "=", f":{lab.ports['explicit']}", "or", "dport", "=", f":{backend.port}"]
            return [line for line in subprocess.run(words, capture_output=True, text=True).stdout.splitlines() if "keepalive,1min1" in line]
        assert len(wait_until(lambda: len(probes()) == 2 and probes(), what="probes on both sides")) == 2


def test_a_connection_serves_so_many_requests(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port) + "[limits]\nmax_requests_per_connection = 2\n") as lab, \
            lab.client() as client:
        assert "connection" not in client.send(GET).read_response()[1]
        assert client.send(GET).read_response()[1]["connection"] == "close"
        assert client.is_closed_by_peer()


@pytest.mark.parametrize("size", ["4KiB", "1MiB"])
def test_buffers_of_every_size_carry_bodies_whole(workspace, size):
    def serve(connection):
        connection.read_head()
        body = connection.read_exactly(1 << 20)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + body)

    body = bytes(range(256)) * 4096
    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port) + f'[limits]\nconnection_buffer = "{size}"\n') as lab, \
            lab.client() as client:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n"
        assert client.send(head + body).read_response()[2] == body


@pytest.mark.parametrize("granted", [None, "60"])
def test_what_is_left_at_the_drains_maximum_is_closed(workspace, granted):
    def serve(connection):
        connection.read_head()
        connection.read_until(b"never")

    config = '[drain]\nminimum = "0s"\nmaximum = "500ms"\n'
    with RawBackend(serve) as app, ProxyLab(workspace, upstream(1) + config, app_port=app.port,
                                            env={"PILLION_DRAIN_SECONDS": granted} if granted else None) as lab, \
            lab.client("publish") as client:
        client.send(GET)
        wait_until(lambda: len(app.peers) == 1, what="the request")
        started = time.monotonic()
        lab.program.signal(signal.SIGTERM)
        assert lab.program.wait() == 0
        assert time.monotonic() - started < 20
        assert client.is_closed_by_peer() and "1 aborted" in lab.program.stderr
