"""Bytes that are not HTTP: relayed as they are, each direction ending by itself."""
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

from support.pillion_testing import http_get, wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, free_port, upstream


def echo(connection):
    while data := connection.socket.recv(65536):
        connection.send(data)


def tcp_lab(workspace, port, protocol="tcp"):
    return ProxyLab(workspace, upstream(port, f'protocol = "{protocol}"'), explicit_protocol=protocol)


def test_half_close_passes_each_way_by_itself(workspace):
    def serve(connection):
        received = b""
        while data := connection.socket.recv(65536):
            received += data
        connection.send(b"after the end: " + received)  # only now

    with RawBackend(serve) as backend, tcp_lab(workspace, backend.port) as proxy:
        client = proxy.client().send("question")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end() == b"after the end: question"
        record = proxy.log()[0]
        assert (record["protocol"], record["bytes_received"], record["bytes_sent"]) == ("tcp", 8, 23)
        assert record["response_flags"] == "" and "method" not in record


def test_20_megabytes_go_through_and_back_unchanged_in_flat_memory(workspace):
    data = bytes(range(251)) * ((20 << 20) // 251)
    with RawBackend(echo) as backend, tcp_lab(workspace, backend.port) as proxy:
        before = proxy.memory_kib()
        client = proxy.client()
        threading.Thread(target=lambda: (client.socket.sendall(data), client.socket.shutdown(socket.SHUT_WR)),
                         daemon=True).start()
        assert client.read_to_end() == data
        assert proxy.has_grown_less(before, kib=2048)


def detections(proxy):
    """{(listener, what was found): how often}, and the seconds that it took all together."""
    found = {}
    for labels, count in proxy.metric("pillion_proxy_detection_seconds_count").items():
        listener, detected = (part.split('"')[1] for part in labels.split(","))
        found[listener, detected] = count
    return found, sum(proxy.metric("pillion_proxy_detection_seconds_sum").values())


def test_a_server_that_speaks_first_is_heard_at_once(workspace):
    """MySQL's order: greeting, answer, ok. The client sends nothing before the greeting."""
    def serve(connection):
        connection.send(b"\x4a\x00\x00\x00\x0a8.0.0\x00")
        assert connection.read_exactly(5) == b"login"
        connection.send(b"welcome")

    with RawBackend(serve) as backend, tcp_lab(workspace, backend.port, "auto") as proxy:
        client = proxy.client()
        assert client.read_exactly(11).endswith(b"8.0.0\x00")
        assert client.send("login").read_exactly(7) == b"welcome"
        assert proxy.metric("pillion_proxy_detected_tcp_total")[""] == 1
        found, seconds = detections(proxy)
        assert found == {("explicit", "tcp"): 1} and 0 <= seconds < 20


def test_the_time_of_detection_is_what_the_client_took(workspace):
    with RawBackend(answer()) as backend, tcp_lab(workspace, backend.port, "auto") as proxy:
        client = proxy.client()
        wait_until(lambda: proxy.metric("pillion_proxy_tcp_active")['{direction="outbound"}'] == 1)
        assert detections(proxy)[0] == {}
        time.sleep(0.12)
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response()
        found, seconds = detections(proxy)
        assert found == {("explicit", "http"): 1} and seconds > 0.1
        buckets = proxy.metric("pillion_proxy_detection_seconds_bucket")
        assert buckets['{listener="explicit",detected="http",le="0.1"}'] == 0
        assert buckets['{listener="explicit",detected="http",le="+Inf"}'] == 1


def test_a_client_that_speaks_http_first_is_served_as_http(workspace):
    with RawBackend(answer()) as backend, tcp_lab(workspace, backend.port, "auto") as proxy:
        client = proxy.client()
        client.send("G").send("ET / HT").send("TP/1.1\r\nHost: h\r\n\r\n")
        status, headers, body = client.read_response()
        assert (status, body) == (200, b"ok") and "x-request-id" in headers
        assert client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response()[0] == 200
        assert len(backend.peers) == 1, "the connection of the race serves the first request"
        assert proxy.metric("pillion_proxy_detected_http_total")[""] == 1


def test_other_client_first_protocols_pass_untouched(workspace):
    hello = bytes.fromhex("16030100050100000100")
    for first in (hello, b"EHLO host\r\n", b"get key\r\n", b"\x00\x01\x02", b"GET key\r\n"):
        with RawBackend(echo) as backend, tcp_lab(workspace, backend.port, "auto") as proxy:
            assert proxy.client().send(first).read_exactly(len(first)) == first


def test_an_http_client_of_an_undeclared_port_gets_a_502_when_nobody_listens(workspace):
    with tcp_lab(workspace, free_port(), "auto") as proxy:
        reply = http_get(proxy.url())
        assert reply.status == 502 and b"(UF)" in reply.body


def test_a_refused_tcp_connection_is_reset_and_logged(workspace):
    with tcp_lab(workspace, free_port()) as proxy:
        try:
            assert proxy.client().is_closed_by_peer()
        except ConnectionResetError:
            pass  # so early that connect() saw it
        assert proxy.log()[0]["response_flags"] == "UF"


def test_a_reset_travels_on(workspace):
    seen = threading.Event()

    def serve(connection):
        connection.send(b"x")
        try:
            connection.socket.recv(1)
        except ConnectionResetError:
            seen.set()

    with RawBackend(serve) as backend, tcp_lab(workspace, backend.port) as proxy:
        client = proxy.client()
        client.read_exactly(1)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert seen.wait(20)


def test_a_redis_server_works_through_an_undeclared_port(workspace):
    redis = shutil.which("redis-server")
    assert redis, "redis-server is not installed"
    port = free_port()
    server = subprocess.Popen([redis, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                               "--dir", str(workspace)], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
        with tcp_lab(workspace, port, "auto") as proxy:
            client = proxy.client()
            assert client.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n").read_until(b"\r\n") == b"+OK\r\n"
            assert client.send("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").read_until(b"value\r\n") == b"$5\r\nvalue\r\n"
    finally:
        server.terminate()
        server.wait()


def test_an_idle_tcp_connection_is_ended_after_its_limit(workspace):
    with RawBackend(echo) as backend:
        config = upstream(backend.port, 'protocol = "tcp"') + '[timeouts]\ntcp_idle = "300ms"\n'
        with ProxyLab(workspace, config, explicit_protocol="tcp") as proxy:
            client = proxy.client()
            assert client.send("a").read_exactly(1) == b"a"
            assert client.is_closed_by_peer()
            assert proxy.log()[0]["response_code_details"] == "idle_timeout"


def test_bulk_data_is_spliced_and_small_messages_after_it_are_not_lost(workspace):
    """Bulk, then single words, then bulk, each way in turn, with a reader that lets the pipes fill."""
    data = bytes(range(253)) * ((8 << 20) // 253)

    def serve(connection):
        for _ in range(2):
            assert connection.read_exactly(len(data)) == data
            connection.send(b"got it")
            assert connection.read_exactly(4) == b"more"
            connection.send(data)
        assert connection.socket.recv(1) == b""
        connection.send(b"after your end")

    with RawBackend(serve) as backend, tcp_lab(workspace, backend.port) as proxy:
        pipes = Pipes(proxy.program.pid)
        client = proxy.client()
        for _ in range(2):
            client.send(data)
            assert client.read_exactly(6) == b"got it"
            client.send(b"more")
            threading.Event().wait(0.2)  # nobody reads: everything on the way fills
            assert client.read_exactly(len(data)) == data
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end() == b"after your end"
        record = proxy.log()[0]
        assert record["bytes_received"] == 2 * len(data) + 8 and record["bytes_sent"] == 2 * len(data) + 12 + 14
        assert pipes.grew(), "no pipe was ever made"


class Pipes:
    """Whether the process has pipes beyond those it began with: a pool keeps what splicing made."""

    def __init__(self, pid):
        self.pid = pid
        self.before = self.count()

    def count(self):
        return sum(os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("pipe:") for name in os.listdir(f"/proc/{self.pid}/fd"))

    def grew(self):
        return self.count() > self.before


def test_a_reset_while_pipes_are_full_ends_both_sides(workspace):
    def serve(connection):
        connection.send(b"x" * (8 << 20))

    with RawBackend(serve) as backend, tcp_lab(workspace, backend.port) as proxy:
        client = proxy.client()
        assert client.read_exactly(1 << 20) == b"x" * (1 << 20)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
        assert proxy.log()[0]["response_flags"] == "DC"
        assert http_get(proxy.url("admin", "/ready")).status == 200
