"""What a client gets, and what the log says, when the upstream or the client misbehaves."""
import socket
import struct
import threading

from support.pillion_testing import http_get, wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, free_port, upstream

GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST_OF_NOTHING = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
POST = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_refused_connection_is_a_502_that_says_why(workspace):
    with ProxyLab(workspace, upstream(free_port())) as proxy:
        client = proxy.client()
        status, headers, body = client.send(GET).read_response()
        assert status == 502
        assert b"cannot connect to the upstream at 127.0.0.1:" in body and b"Connection refused (UF)" in body
        assert headers["proxy-status"] == 'pillion; error=connection_refused; details="UF"'
        assert client.send(GET).read_response()[0] == 502  # the client's connection lives on
        record = proxy.log(2)[0]
        assert (record["status"], record["response_flags"], record["attempts"]) == (502, "UF", 2)
        assert record["response_code_details"] == "upstream_connect_failure"
        assert any('flag="UF"' in labels for labels in proxy.metric("pillion_proxy_request_flags_total"))


def test_a_refused_app_is_named_as_such(workspace):
    with ProxyLab(workspace, explicit='upstream = ""') as proxy:
        reply = http_get(proxy.url("publish"))
        assert reply.status == 502 and b"cannot connect to the app at 127.0.0.1:" in reply.body


def test_an_upstream_that_does_not_answer_in_time_is_a_504(workspace):
    def serve(connection):
        connection.read_head()
        connection.socket.recv(1)

    with RawBackend(serve) as backend, \
            ProxyLab(workspace, upstream(backend.port, '[upstream.b.timeouts]\nresponse_headers = "200ms"')) as proxy:
        status, _, body = proxy.client().send(GET).read_response()
        assert status == 504 and b"(UT)" in body
        assert proxy.log()[0]["response_flags"] == "UT"


def test_an_upstream_that_closes_before_answering_is_a_502(workspace):
    with RawBackend(lambda connection: connection.read_head()) as backend, \
            ProxyLab(workspace, upstream(backend.port)) as proxy:
        status, _, body = proxy.client().send(GET).read_response()
        assert status == 502 and b"(UC)" in body
        assert len(backend.peers) == 1, "a request on a fresh connection is not sent twice"


def test_a_truncated_response_is_seen_as_truncated(workspace):
    def serve(connection):
        head = connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\n" + ("Content-Length: 10" if "/length" in head else
                                                 "Transfer-Encoding: chunked") + "\r\n\r\n")
        connection.send("half" if "/length" in head else "4\r\nhalf\r\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        for path in ("/length", "/chunked"):
            with proxy.client() as client:
                reply = client.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").read_to_end()
                assert b"half" in reply and not reply.endswith(b"0\r\n\r\n")
        assert [one["response_flags"] for one in proxy.log(2)] == ["UC", "UC"]


def test_a_stale_pooled_connection_is_replaced_without_the_client_noticing(workspace):
    """The app closes an idle connection just as it is reused: the classic random 503 of sidecars."""
    closing = threading.Event()

    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        # Answers one request, then swallows the next and resets: nothing can tell the proxy before.
        connection.read_head()
        if not closing.is_set():
            reset(connection.socket)

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        for _ in range(6):
            assert client.send(GET).read_response()[0] == 200
        records = proxy.log(6)
        assert [one["attempts"] for one in records] == [1, 2, 2, 2, 2, 2]


def test_a_post_that_may_have_been_seen_is_never_sent_twice(workspace):
    bodies = []

    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.read_head()
        bodies.append(connection.read_exactly(2))
        reset(connection.socket)

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        assert client.send(GET).read_response()[0] == 200
        status, _, body = client.send(POST).read_response()
        assert status == 502 and b"(UC)" in body
        assert bodies == [b"hi"]
        record = proxy.log(2)[1]
        assert record["reused_connection"] and record["attempts"] == 1


def test_a_pooled_connection_closed_by_the_app_is_noticed_before_reuse(workspace):
    noticed = threading.Semaphore(0)

    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.socket.shutdown(socket.SHUT_WR)
        # The answer reaches the client before the connection is idle: only the proxy's own close says that it saw ours.
        assert connection.socket.recv(1) == b""
        noticed.release()

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        for _ in range(5):
            assert client.send(POST_OF_NOTHING).read_response()[0] == 200
            assert noticed.acquire(timeout=30), "the closed connection is kept"
        assert len(backend.peers) == 5
        assert proxy.metric("pillion_proxy_upstream_connections_idle")[""] == 0


def test_a_slow_head_is_a_408_and_an_idle_connection_just_closes(workspace):
    with RawBackend(answer()) as backend, \
            ProxyLab(workspace, upstream(backend.port) + '[timeouts]\nrequest_headers = "300ms"\n') as proxy:
        with proxy.client() as client:
            client.send("GET / HTTP/1.1\r\nHo")
            assert client.read_response()[0] == 408
        with proxy.client() as client:
            assert client.read_to_end() == b""


def test_a_body_that_stops_is_a_408(workspace):
    with RawBackend(answer()) as backend, \
            ProxyLab(workspace, upstream(backend.port) + '[timeouts]\nstream_idle = "300ms"\n') as proxy:
        client = proxy.client().send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        status, headers, _ = client.read_response()
        assert status in (200, 408) and headers["connection"] == "close"


def test_an_early_response_reaches_a_client_that_is_still_sending(workspace):
    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        client.send(f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {50 << 20}\r\n\r\n")

        def upload():
            try:
                for _ in range(800):
                    client.socket.sendall(b"x" * 65536)
            except OSError:
                pass
        thread = threading.Thread(target=upload)
        thread.start()
        assert client.read_response()[0] == 413
        client.socket.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_client_that_goes_away_ends_the_upstream_request(workspace):
    asked, gone = threading.Event(), threading.Event()

    def serve(connection):
        connection.read_head()
        asked.set()
        connection.socket.settimeout(20)
        try:
            if connection.socket.recv(1) == b"":
                gone.set()
        except ConnectionResetError:
            gone.set()

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client().send(GET)
        assert asked.wait(20)
        reset(client.socket)
        client.close()
        assert gone.wait(20)
        assert proxy.log()[0]["response_flags"] == "DC"


def test_a_client_that_half_closes_still_gets_its_response(workspace):
    with RawBackend(answer("whole")) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client().send(GET)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end().endswith(b"whole")


def test_too_many_requests_at_once_are_a_503(workspace):
    release = threading.Event()

    def serve(connection):
        connection.read_head()
        release.wait(20)
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    config = "[upstream.b.circuit_breaker]\nmax_requests = 2\n"
    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port) + config) as proxy:
        waiting = [proxy.client().send(GET) for _ in range(2)]
        wait_until(lambda: len(backend.peers) == 2)
        status, _, body = proxy.client().send(GET).read_response()
        assert status == 503 and b"(UO)" in body
        release.set()
        assert [client.read_response()[0] for client in waiting] == [200, 200]


def test_an_upstream_name_that_does_not_resolve_is_a_503(workspace):
    config = '[upstream.b]\naddress = ["name.invalid:80"]\n'
    with ProxyLab(workspace, config) as proxy:
        status, headers, body = proxy.client().send(GET).read_response()
        assert status == 503 and b"(UH)" in body and "dns_error" in headers["proxy-status"]


def test_a_second_address_is_tried_when_the_first_refuses(workspace):
    with RawBackend(answer()) as backend:
        config = f'[upstream.b]\naddress = ["127.0.0.1:{free_port()}", "127.0.0.1:{backend.port}"]\n'
        with ProxyLab(workspace, config) as proxy:
            for _ in range(8):
                with proxy.client() as client:
                    assert client.send(POST.replace("hi", "").replace("2", "0", 1)).read_response()[0] == 200
