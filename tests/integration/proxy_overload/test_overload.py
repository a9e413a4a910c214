"""What the proxy does when its memory or its descriptors run out: less, and still something."""
import subprocess

import pytest

from support.http2_lab import Http2Backend, Http2Client, Reply
from support.pillion_testing import http_get, wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream

GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def set_data_limit(proxy, share):
    """RLIMIT_DATA so that what is in use now is this share of it."""
    status = open(f"/proc/{proxy.program.pid}/status").read()
    used = int(status.split("VmData:")[1].split()[0]) * 1024
    subprocess.run(["prlimit", "--pid", str(proxy.program.pid), f"--data={int(used / share)}:unlimited"], check=True)


def level(proxy):
    return proxy.metric("pillion_proxy_overload_level")[""]


def wait_level(proxy, wanted):
    wait_until(lambda: level(proxy) == wanted, what=f"level {wanted}")


def test_first_keep_alive_ends_then_requests_are_refused_then_connections(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        idle = proxy.client().send(GET)
        idle.read_response()
        wait_level(proxy, 0)

        set_data_limit(proxy, 0.935)
        wait_level(proxy, 1)
        assert idle.read_to_end() == b""  # idle connections are given up
        _, headers, _ = proxy.client().send(GET).read_response()
        assert headers["connection"] == "close"

        set_data_limit(proxy, 0.96)
        wait_level(proxy, 2)
        status, headers, body = proxy.client().send(GET).read_response()
        assert status == 503 and headers["connection"] == "close" and b"(OM)" in body
        wait_until(lambda: proxy.log(3)[2]["response_flags"] == "OM", what="the record")

        set_data_limit(proxy, 0.99)
        wait_level(proxy, 3)
        with pytest.raises((OSError, EOFError, AssertionError)):
            proxy.client().send(GET).read_response()
        assert http_get(proxy.url("admin", "/ready")).status == 200  # it is asked all the same

        subprocess.run(["prlimit", "--pid", str(proxy.program.pid), "--data=unlimited:unlimited"], check=True)
        wait_level(proxy, 0)
        status, headers, _ = proxy.client().send(GET).read_response()
        assert status == 200 and "connection" not in headers


def test_http2_connections_end_with_a_goaway_and_grpc_hears_unavailable(workspace):
    with Http2Backend(lambda request: Reply(body=b"ok")) as backend, \
            ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy:
        set_data_limit(proxy, 0.935)
        wait_level(proxy, 1)
        with Http2Client(proxy.ports["explicit"]) as client:
            assert client.request().status == 200
            assert client.wait_closed() == [0]
        set_data_limit(proxy, 0.96)
        wait_level(proxy, 2)
        with Http2Client(proxy.ports["explicit"]) as client:
            assert client.request("POST", fields=[("content-type", "application/grpc")]).headers["grpc-status"] == "14"


def test_tcp_connections_are_refused_when_requests_would_be(workspace):
    with RawBackend(lambda connection: connection.send(b"hello")) as backend, \
            ProxyLab(workspace, upstream(backend.port, 'protocol = "tcp"'), explicit_protocol="tcp") as proxy:
        assert proxy.client().read_exactly(5) == b"hello"
        set_data_limit(proxy, 0.96)
        wait_level(proxy, 2)
        with pytest.raises((OSError, EOFError, AssertionError)):
            proxy.client().read_exactly(5)
        assert proxy.metric("pillion_proxy_connections_refused_total")[""] >= 1


def test_more_connections_than_allowed_are_closed_at_once(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port) + "[limits]\nmax_connections = 3\n") as proxy:
        clients = [proxy.client() for _ in range(3)]
        wait_until(lambda: sum(proxy.metric("pillion_proxy_connections_active").values()) == 3, what="three connections")
        assert proxy.client().read_to_end() == b""
        assert clients[0].send(GET).read_response()[0] == 200


def test_half_of_the_descriptors_stay_for_upstreams(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port), descriptors=200) as proxy:
        clients = [proxy.client() for _ in range(130)]
        assert clients[0].send(GET).read_response()[0] == 200
        wait_until(lambda: proxy.metric("pillion_proxy_connections_refused_total")[""] >= 30, what="refused connections")
        assert clients[50].send(GET).read_response()[0] == 200
