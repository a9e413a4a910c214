"""Clients that take their time, many of them: each is cut off at its limit, others are served meanwhile."""
import socket
import threading
import time

from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream

GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def test_two_hundred_heads_that_trickle_are_408_each_and_do_not_hold_up_others(workspace):
    config = upstream("@PORT@") + '[timeouts]\nrequest_headers = "1s"\n'
    with RawBackend(answer()) as backend, ProxyLab(workspace, config.replace("@PORT@", str(backend.port))) as proxy:
        slow = [socket.create_connection(("127.0.0.1", proxy.ports["explicit"])) for _ in range(200)]
        for one in slow:
            one.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        done = threading.Event()

        def trickle():  # each byte comes in time; the head does not
            while not done.wait(0.2):
                for one in slow:
                    try:
                        one.send(b"x")
                    except OSError:
                        pass

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert proxy.client().send(GET).read_response()[0] == 200
            for one in slow:
                one.settimeout(30)
                assert one.recv(100).startswith(b"HTTP/1.1 408 ")
        finally:
            done.set()
            thread.join()
        wait_until(lambda: sum(proxy.metric("pillion_proxy_connections_active").values()) <= 1, what="all of them closed")


def test_a_body_that_stops_coming_is_408(workspace):
    config = upstream("@PORT@") + '[timeouts]\nstream_idle = "300ms"\n'

    def serve(connection):
        connection.read_head()
        connection.read_exactly(100)

    with RawBackend(serve) as backend, ProxyLab(workspace, config.replace("@PORT@", str(backend.port))) as proxy:
        client = proxy.client().send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
        assert client.read_response()[0] == 408
        assert proxy.log()[0]["response_flags"] == "DT"


def test_a_client_that_does_not_read_its_response_is_cut_off_and_the_upstream_freed(workspace):
    config = upstream("@PORT@") + '[timeouts]\nstream_idle = "400ms"\n'
    freed = threading.Event()

    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            while True:
                connection.send(b"z" * 65536)
        finally:
            freed.set()

    with RawBackend(serve) as backend, ProxyLab(workspace, config.replace("@PORT@", str(backend.port))) as proxy:
        started = time.monotonic()
        client = proxy.client().send(GET)
        assert freed.wait(30), "the upstream is still held"
        assert time.monotonic() - started > 0.3
        assert proxy.log()[0]["response_flags"] in ("UT", "DC")
        assert proxy.has_grown_less(0, kib=64 << 10)
        assert client.socket.fileno() >= 0


def test_a_swarm_of_silent_connections_costs_little_and_has_an_end(workspace):
    config = upstream("@PORT@") + '[timeouts]\nrequest_headers = "700ms"\n'
    with RawBackend(answer()) as backend, ProxyLab(workspace, config.replace("@PORT@", str(backend.port))) as proxy:
        proxy.client().send(GET).read_response()
        before = proxy.memory_kib()
        silent = [socket.create_connection(("127.0.0.1", proxy.ports["explicit"])) for _ in range(1000)]
        assert proxy.client().send(GET).read_response()[0] == 200
        assert proxy.has_grown_less(before, kib=8 << 10)
        for one in silent:
            one.settimeout(30)
            assert one.recv(1) == b""
