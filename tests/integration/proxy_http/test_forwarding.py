"""What HTTP/1.1 looks like on both sides of the proxy."""
import hashlib
import re
import socket
import threading

from support.pillion_testing import HttpApp, http_get, http_request, wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream

GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def test_both_sides_keep_their_connections(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        with proxy.client() as client:
            for _ in range(5):
                assert client.send(GET).read_response()[0] == 200
        with proxy.client() as client:
            assert client.send(GET).read_response()[0] == 200
        assert len(backend.peers) == 1
        records = proxy.log(6)
        assert [one["reused_connection"] for one in records] == [False] + [True] * 5


def test_fields_keep_order_and_case_and_hop_by_hop_ones_stay(workspace):
    seen = []

    def serve(connection):
        seen.append(connection.read_head())
        connection.send("HTTP/1.1 200 Fine\r\nX-One: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nx-TWO:2\r\n"
                        "Keep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        client.send("GET /p?q=1 HTTP/1.1\r\nB-Field: 1\r\nhost: Shop.example\r\nConnection: keep-alive, X-Drop\r\n"
                    "X-Drop: 1\r\naCCept: */*\r\nTE: trailers\r\n\r\n")
        head = client.read_until(b"\r\n\r\n").decode()
    lines = seen[0].split("\r\n")
    assert lines[0] == "GET /p?q=1 HTTP/1.1"
    assert lines[1:4] == ["B-Field: 1", "host: Shop.example", "aCCept: */*"]
    assert not re.search("x-drop|connection|^te:", seen[0], re.I | re.M)
    assert re.search(r"\r\nVia: 1\.1 pillion \([0-9a-f]{8}\)\r\n", seen[0])
    assert head.startswith("HTTP/1.1 200 Fine\r\nX-One: 1\r\nx-TWO: 2\r\n")
    assert "\r\nVia: 1.1 pillion\r\n" in head and "hop" not in head.lower() and "keep-alive" not in head.lower()


def test_request_ids_are_kept_when_valid_made_otherwise_and_echoed(workspace):
    seen = []

    def serve(connection):
        while True:
            seen.append(connection.read_head())
            connection.send("HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\nContent-Length: 0\r\n\r\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        _, headers, _ = client.send("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: abc-1\r\n\r\n").read_response()
        assert headers["x-request-id"] == "abc-1" and "X-Request-Id: abc-1" in seen[0]
        for bad in ("x" * 129, "a b", ""):
            _, headers, _ = client.send(f"GET / HTTP/1.1\r\nHost: h\r\nX-Request-ID: {bad}\r\n\r\n").read_response()
            assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                                headers["x-request-id"])
            assert f"X-Request-ID: {headers['x-request-id']}\r\n" in seen[-1]
        assert proxy.log(4)[0]["request_id"] == "abc-1"


def test_a_50_megabyte_upload_and_download_stay_flat_in_memory(workspace):
    size = 50 << 20
    body = bytes(range(256)) * (size // 256)
    app = HttpApp()
    with ProxyLab(workspace, upstream(app.port)) as proxy:
        http_get(proxy.url(path="/echo"))
        before = proxy.memory_kib()
        reply = http_request("POST", proxy.url(path="/echo"), body=body)
        assert reply.json()["sha256" if "sha256" in reply.json() else "body_sha256"] == hashlib.sha256(body).hexdigest()

        def chunks():
            for start in range(0, size, 1 << 16):
                yield body[start:start + (1 << 16)]
        reply = http_request("POST", proxy.url(path="/echo"), body=chunks())  # sent in chunks
        assert reply.json()["sha256" if "sha256" in reply.json() else "body_sha256"] == hashlib.sha256(body).hexdigest()
        for path in (f"/bytes/{size}", f"/chunked/{size}"):
            assert len(http_get(proxy.url(path=path)).body) == size
        assert proxy.has_grown_less(before, kib=4096)


def test_a_slow_reader_pauses_the_upstream(workspace):
    size = 30 << 20
    sent = []

    def serve(connection):
        connection.read_head()
        connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
        for _ in range(size >> 16):
            connection.send(b"x" * (1 << 16))
            sent.append(1)

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        before = proxy.memory_kib()
        client.send(GET).read_until(b"\r\n\r\n")
        wait_until(lambda: len(sent) > 4)
        last = [-1]

        def is_stuck():
            stuck, last[0] = len(sent) == last[0], len(sent)
            return stuck
        wait_until(is_stuck)
        assert len(sent) << 16 < size // 2
        left = size - len(client.received)
        while left > 0:
            left -= len(client.socket.recv(1 << 20))
        assert left == 0
        assert proxy.has_grown_less(before, kib=2048)


def test_chunked_bodies_and_trailers_pass_both_ways(workspace):
    seen = []

    def serve(connection):
        head = connection.read_head()
        seen.append((head, connection.read_until(b"\r\n\r\n")))
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                        "5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 9\r\nContent-Length: 3\r\n\r\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send("3;x=y\r\nxyz\r\n").send("2\r\nuv\r\n0\r\nX-Trail: t\r\nHost: evil\r\n\r\n")
        client.read_until(b"\r\n\r\n")
        assert client.read_until(b"\r\n\r\n") == b"6\r\nhello!\r\n0\r\nX-Sum: 9\r\n\r\n"
    head, body = seen[0]
    assert "Transfer-Encoding: chunked" in head and "Content-Length" not in head
    assert b"X-Trail: t\r\n\r\n" in body and b"evil" not in body and b"x=y" not in body
    assert re.sub(rb"\r\n", b"", re.sub(rb"(^|(?<=\n))[0-9a-f]+\r\n", b"", body.split(b"0\r\nX-Trail")[0])) == b"xyzuv"


def test_a_response_until_close_is_chunked_for_1_1_and_plain_for_1_0(workspace):
    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nsome text")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        with proxy.client() as client:
            status, headers, body = client.send(GET).read_response()
            assert (status, body, headers["transfer-encoding"]) == (200, b"some text", "chunked")
            assert client.send(GET).read_response()[2] == b"some text"
        with proxy.client() as client:
            reply = client.send("GET / HTTP/1.0\r\n\r\n").read_to_end()
            assert reply.endswith(b"\r\n\r\nsome text") and b"chunked" not in reply


def test_http_1_0_clients_are_served_and_may_keep_the_connection(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        with proxy.client() as client:
            assert client.send("GET / HTTP/1.0\r\n\r\n").read_to_end().endswith(b"ok")
        with proxy.client() as client:
            for _ in range(2):
                _, headers, _ = client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").read_response()
                assert headers["connection"] == "keep-alive"


def test_head_and_bodyless_statuses_have_no_body(workspace):
    def serve(connection):
        while True:
            head = connection.read_head()
            if head.startswith("HEAD"):
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
            elif "/204" in head:
                connection.send("HTTP/1.1 204 No Content\r\n\r\n")
            else:
                connection.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"x\"\r\n\r\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        _, headers, _ = client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").read_response(head_only=True)
        assert headers["content-length"] == "1234"
        status, headers, _ = client.send("GET /204 HTTP/1.1\r\nHost: h\r\n\r\n").read_response()
        assert status == 204 and "content-length" not in headers
        status, headers, _ = client.send("GET /304 HTTP/1.1\r\nHost: h\r\n\r\n").read_response()
        assert status == 304 and headers["content-length"] == "99"
        assert len(backend.peers) == 1


def test_100_continue_and_early_hints_are_forwarded(workspace):
    def serve(connection):
        while True:
            head = connection.read_head()
            assert "Expect: 100-continue" in head
            connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            body = connection.read_exactly(5)
            connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body.decode()}")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        status, headers, _ = client.read_response()
        assert status == 103 and headers["link"] == "</a>"
        assert client.read_response()[0] == 100
        assert client.send("hello").read_response()[2] == b"hello"


def test_pipelined_requests_are_answered_in_order(workspace):
    def serve(connection):
        while True:
            path = connection.read_head().split(" ")[1]
            connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(path)}\r\n\r\n{path}")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        client.send("".join(f"GET /{i} HTTP/1.1\r\nHost: h\r\n\r\n" for i in range(200)))
        for i in range(200):
            assert client.read_response()[2] == f"/{i}".encode()
        client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" + GET)
        assert client.read_response()[2] == b"/a"
        assert client.read_response()[2] == b"/"


def test_a_pipelined_request_after_a_body_waits_for_its_turn(workspace):
    def serve(connection):
        while True:
            head = connection.read_head()
            body = connection.read_exactly(5) if head.startswith("POST") else b"none"
            connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body.decode()}")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel").send("lo" + GET)
        assert client.read_response()[2] == b"hello"
        assert client.read_response()[2] == b"none"


def test_a_request_that_comes_while_another_is_served_is_not_forgotten(workspace):
    release = threading.Event()

    def serve(connection):
        for _ in range(2):
            connection.read_head()
            release.wait(20)
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client().send(GET)
        wait_until(lambda: backend.peers)
        client.send(GET)
        release.set()
        assert [client.read_response()[0] for _ in range(2)] == [200, 200]


def test_websocket_upgrades_become_a_tunnel(workspace):
    def serve(connection):
        head = connection.read_head()
        assert "Upgrade: websocket" in head and "Connection: Upgrade" in head
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
        while data := connection.buffer or connection.socket.recv(4096):
            connection.buffer = b""
            connection.send(data.upper())

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        client.send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
        status, headers, _ = client.read_response()
        assert status == 101 and headers["upgrade"] == "websocket" and headers["connection"] == "Upgrade"
        assert client.read_exactly(7) == b"hiEARLY"
        assert client.send("frame").read_exactly(5) == b"FRAME"
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end() == b""
        record = proxy.log()[0]
        assert (record["status"], record["path"], record["protocol"]) == (101, "/ws", "websocket")


def test_other_upgrades_and_connect_are_not_tunnelled(workspace):
    seen = []

    def serve(connection):
        seen.append(connection.read_head())
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        client = proxy.client()
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                    "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        assert client.read_response()[0] == 200
        assert "h2c" not in seen[0] and "HTTP2-Settings" not in seen[0]
        client = proxy.client()
        assert client.send("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n").read_response()[0] == 403


def test_absolute_targets_are_sent_on_in_origin_form_with_their_host(workspace):
    seen = []

    def serve(connection):
        seen.append(connection.read_head())
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        proxy.client().send("GET http://real.example/p?x HTTP/1.1\r\nHost: other\r\n\r\n").read_response()
    assert seen[0].startswith("GET /p?x HTTP/1.1\r\nHost: real.example\r\n") and "other" not in seen[0]


def test_a_published_port_reaches_the_app_from_127_0_0_6(workspace):
    with RawBackend(answer()) as app, ProxyLab(workspace, app_port=app.port, explicit='upstream = ""') as proxy:
        assert http_get(proxy.url("publish")).status == 200
        assert app.peers[0][0] == "127.0.0.6"
        assert proxy.log()[0]["direction"] == "inbound"


def test_explicit_listeners_without_an_upstream_route_by_host(workspace):
    config = '[upstream.payments]\naddress = ["127.0.0.1:{}"]\nhosts = ["payments", "pay.internal"]\n'
    with RawBackend(answer("paid")) as backend, \
            ProxyLab(workspace, config.format(backend.port), explicit='upstream = ""') as proxy:
        for host, status in (("payments", 200), ("PAYMENTS:80", 200), ("pay.internal:8443", 200),
                             ("payments.internal", 502), ("unknown", 502)):
            reply = http_get(proxy.url(), headers={"Host": host})
            assert reply.status == status, host
        assert "no upstream is configured for this host: unknown (NR)" in reply.body.decode()


def test_many_clients_at_once_get_their_own_answers(workspace):
    app = HttpApp()
    with ProxyLab(workspace, upstream(app.port)) as proxy:
        failures = []

        def work(number):
            try:
                with proxy.client() as client:
                    for i in range(30):
                        body = f"{number}-{i}" * (i + 1)
                        client.send(f"POST /echo?{number} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n{body}")
                        status, _, reply = client.read_response()
                        assert status == 200 and hashlib.sha256(body.encode()).hexdigest() in reply.decode()
            except Exception as error:  # noqa: BLE001
                failures.append(error)
        threads = [threading.Thread(target=work, args=(n,)) for n in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
