"""HTTP/2 and HTTP/1 in every mix: heads, bodies, trailers, flow control, and what goes wrong upstream."""
import hashlib
import itertools
import subprocess

import h2.events
import pytest
from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from support.http2_lab import Http2Backend, Http2Client, Reply
from support.pillion_testing import HttpApp, http_request, wait_until
from support.proxy_lab import ProxyLab, RawBackend, upstream
from support.tls_lab import Authority, TlsBackend

CURL = {"1.1": "--http1.1", "2": "--http2-prior-knowledge"}
HTTP2 = 'protocol = "http2"'


def curl(*arguments, data=None):
    done = subprocess.run(["curl", "-sS", "--max-time", "60", *arguments], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def echo(request):
    return Reply(body=request.body + hashlib.sha256(request.body).hexdigest().encode())


def http1_echo(request):
    """For HttpApp: the body's digest, and 1 MiB more."""
    return 200, {}, request.body_sha256.encode() + b"y" * (1 << 20)


def http2_digest(request):
    return Reply(body=hashlib.sha256(request.body).hexdigest().encode() + b"y" * (1 << 20))


@pytest.mark.parametrize("downstream, upstream_version", itertools.product(("1.1", "2"), ("1.1", "2")))
def test_bodies_of_a_megabyte_pass_in_every_mix_of_versions(workspace, downstream, upstream_version):
    body = bytes(range(256)) * 4096
    digest = hashlib.sha256(body).hexdigest().encode()
    expected = digest + b"y" * (1 << 20)
    if upstream_version == "2":
        with Http2Backend(http2_digest) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy:
            assert curl(CURL[downstream], "--data-binary", "@-", proxy.url(), data=body) == expected
            assert curl(CURL[downstream], "-T", "-", proxy.url(path="/x"), data=body) == expected  # without a length
            records = proxy.log(2)
    else:
        app = HttpApp()
        app.respond = http1_echo
        with ProxyLab(workspace, upstream(app.port)) as proxy:
            assert curl(CURL[downstream], "--data-binary", "@-", proxy.url(), data=body) == expected
            assert curl(CURL[downstream], "-T", "-", proxy.url(path="/x"), data=body) == expected
            records = proxy.log(2)
    assert {one["protocol"] for one in records} == {"HTTP/" + downstream.replace("2", "2")}
    assert all(one["bytes_received"] == len(body) and one["bytes_sent"] == len(expected) for one in records)


@pytest.mark.parametrize("headers", [(), (("content-length", "0"),)], ids=["no length", "length 0"])
@pytest.mark.parametrize("method, status", [("GET", 200), ("POST", 201), ("GET", 404), ("GET", 204), ("HEAD", 200), ("GET", 304)])
def test_a_response_that_ends_with_its_head_ends_for_every_client(workspace, method, status, headers):
    """Without a length, HTTP/1 would wait for the end of the connection."""
    with Http2Backend(lambda request: Reply(status, headers)) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy:
        with proxy.client() as client:
            for _ in range(2):
                client.send(f"{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
                got, fields, _ = client.read_response(head_only=method == "HEAD")
                assert got == status and (method == "HEAD" or status in (204, 304) or fields["content-length"] == "0")
        with proxy.client() as client:
            assert client.send(f"{method} / HTTP/1.0\r\n\r\n").read_to_end().startswith(b"HTTP/1.1 %d " % status)
        with Http2Client(proxy.ports["explicit"]) as client:
            reply = client.request(method)
            assert (reply.status, reply.ended, reply.body) == (status, True, b"")
            wanted = None if status == 204 else dict(headers).get("content-length")  # RFC 9110 §8.6: not in a 204
            assert reply.headers.get("content-length") == wanted


def test_a_request_head_becomes_http1_and_back(workspace):
    seen = []

    def serve(connection):
        while True:
            seen.append(connection.read_head())
            connection.send("HTTP/1.1 200 Fine\r\nX-Answer: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
                            "Content-Length: 2\r\n\r\nok")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        reply = client.request("GET", "/p?q=1", [("cookie", "a=1"), ("x-one", "1"), ("cookie", "b=2"), ("te", "trailers")],
                               authority="shop.example")
        assert (reply.status, reply.body) == (200, b"ok")
        assert reply.headers["x-answer"] == "1" and reply.headers["via"] == "1.1 pillion"
        assert reply.headers["content-length"] == "2" and len(reply.headers["x-request-id"]) == 36
        assert not {"connection", "x-hop", "keep-alive"} & set(reply.headers)
        lines = seen[0].split("\r\n")
        assert lines[0] == "GET /p?q=1 HTTP/1.1" and "host: shop.example" in lines and "cookie: a=1; b=2" in lines
        assert any(line.startswith("Via: 2 pillion (") for line in lines)
        assert client.request("HEAD", "/").body == b""
        record = proxy.log()[0]
        assert record["protocol"] == "HTTP/2" and record["authority"] == "shop.example"


def test_a_request_head_becomes_http2(workspace):
    with Http2Backend() as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy:
        reply = http_request("POST", proxy.url(path="/a?b"), body=b"hello",
                             headers={"X-Mixed-Case": "1", "Connection": "X-Drop", "X-Drop": "1", "Host": "shop.example"})
        assert (reply.status, reply.body) == (200, b"ok")
        request = backend.requests[0]
        assert [request[name] for name in (":method", ":path", ":authority", ":scheme")] == ["POST", "/a?b", "shop.example", "http"]
        assert request["x-mixed-case"] == "1" and request["x-drop"] is None and request["connection"] is None
        assert request["content-length"] == "5" and request.body == b"hello" and request["via"].startswith("1.1 pillion (")
        assert request["host"] is None and len(request["x-request-id"]) == 36


def test_trailers_travel_both_ways(workspace):
    def respond(request):
        return Reply(body=b"data", trailers=(("x-sum", request.trailers.get("x-in", "none")), ("authorization", "no")))

    with Http2Backend(respond) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy:
        with Http2Client(proxy.ports["explicit"]) as client:
            reply = client.request("POST", body=b"abc", trailers=[("x-in", "42"), ("content-length", "3")])
            assert reply.body == b"data" and reply.trailers == {"x-sum": "42"}
        client = proxy.client()
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-In: 7\r\n\r\n")
        head = client.read_until(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert client.read_until(b"0\r\n") and client.read_until(b"\r\n\r\n") == b"x-sum: 7\r\n\r\n"


def test_interim_responses_travel(workspace):
    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        reply = client.request()
        assert reply.status == 200 and [(status, fields["link"]) for status, fields in reply.informational] == [(103, "</a>")]


def test_streams_share_one_connection_and_do_not_wait_for_each_other(workspace):
    def respond(request):
        return None if request[":path"] == "/never" else Reply(body=request[":path"].encode())

    with Http2Backend(respond) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        stuck = client.open("GET", "/never")
        streams = [client.open("GET", f"/{i}") for i in range(50)]
        for i, stream in enumerate(streams):
            assert client.wait(stream).body == f"/{i}".encode()
        assert not client.responses[stuck].ended and backend.connections == 1


def test_a_client_that_does_not_read_stops_the_upstream_and_costs_no_memory(workspace):
    size = 30 << 20
    with Http2Backend(lambda request: Reply(body=b"z" * size)) as backend, \
            ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy:
        http_request("GET", proxy.url(path="/warm"))
        before, sent_before = proxy.memory_kib(), backend.sent
        with Http2Client(proxy.ports["explicit"], settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1000}) as client:
            stream = client.open()
            client.wait(stream, until=lambda one: len(one.body) == 1000)
            wait_until(lambda: backend.sent > sent_before, what="the upstream's data")
            assert backend.sent - sent_before < 2 << 20
            client.send(WindowUpdateFrame(stream, window_increment=size))
            client.wait(stream, until=lambda one: len(one.body) > 5 << 20 or one.ended)
        assert proxy.has_grown_less(before, kib=6 << 10)


def test_an_upstream_that_does_not_read_stops_the_client(workspace):
    def on_event(connection, event):
        return isinstance(event, h2.events.DataReceived)  # never acknowledged: its window stays shut

    with Http2Backend(on_event=on_event) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        stream = client.open("POST", end=False)
        body = b"z" * 16384
        for _ in range(4):  # the window of a stream is 64 KiB: more would be an error of the client's
            client.send(DataFrame(stream, body[:16383]))
        reply = client.request("GET", "/other")
        assert reply.status == 200 and client.responses[stream].reset is None
        assert backend.requests[0].reset is None


def test_the_early_answer_of_an_upstream_ends_the_request(workspace):
    def on_event(connection, event):
        if isinstance(event, h2.events.RequestReceived):
            connection.send_headers(event.stream_id, [(":status", "413")], end_stream=True)
        return True

    with Http2Backend(on_event=on_event) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        stream = client.open("POST", end=False)
        reply = client.wait(stream, until=lambda one: one.reset is not None)
        assert (reply.status, reply.reset) == (413, 0)


def test_a_refused_stream_is_tried_again_and_a_reset_one_is_a_502(workspace):
    refused = []

    def on_event(connection, event):
        if isinstance(event, h2.events.RequestReceived) and not refused:
            refused.append(event.stream_id)
            connection.reset_stream(event.stream_id, 0x7)
            return True
        if isinstance(event, h2.events.RequestReceived) and dict(event.headers)[":path"] == "/reset":
            connection.reset_stream(event.stream_id, 0x2)
            return True
        return False

    with Http2Backend(on_event=on_event) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        assert client.request("POST").status == 200 and proxy.log()[0]["attempts"] == 2
        reply = client.request("POST", "/reset", body=b"x")
        assert reply.status == 502 and b"INTERNAL_ERROR" in reply.body and proxy.log(2)[1]["response_flags"] == "UC"


def test_requests_above_the_last_stream_of_a_goaway_are_made_elsewhere(workspace):
    gone = []

    def on_event(connection, event):
        if isinstance(event, h2.events.RequestReceived) and not gone:
            gone.append(event.stream_id)
            connection.close_connection(last_stream_id=0)
            return True
        return bool(gone) and len(gone) == 1 and isinstance(event, h2.events.StreamEnded) and not gone.append(0)

    with Http2Backend(on_event=on_event) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        assert client.request("POST").status == 200
        assert backend.connections == 2


def test_a_client_that_cancels_cancels_upstream(workspace):
    with Http2Backend(lambda request: None) as backend, ProxyLab(workspace, upstream(backend.port, HTTP2)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        stream = client.open()
        wait_until(lambda: backend.requests, what="the request")
        client.send(RstStreamFrame(stream, error_code=8))
        wait_until(lambda: backend.requests[0].reset == 8, what="the reset upstream")
        assert proxy.log()[0]["response_flags"] == "DC"


def test_an_upstream_that_dies_within_a_response_resets_the_stream(workspace):
    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        reply = client.request()
        assert (reply.status, reply.body, reply.reset, reply.ended) == (200, b"half", 2, False)
        assert proxy.log()[0]["response_flags"] == "UC"


def test_http2_is_agreed_on_by_alpn_on_both_sides(workspace):
    authority = Authority(workspace / "ca")
    own = authority.issue("orders", uris=["spiffe://prod/orders"], dns=["orders.test"])
    server = authority.issue("stock", dns=["stock.test"])
    table = upstream("@backend@", HTTP2 + '\n[upstream.b.tls]\nserver_name = "stock.test"\n')
    with Http2Backend(tls=server.server_context(alpn=["h2"])) as backend:
        config = own.table() + table.replace("@backend@", str(backend.port))
        with ProxyLab(workspace, config) as proxy:
            reply = http_request("GET", proxy.url())
            assert reply.status == 200, reply.body
            assert backend.requests[0][":scheme"] == "https"
    with TlsBackend(server.server_context(alpn=["http/1.1"]), lambda connection: None) as backend, \
            ProxyLab(workspace, own.table() + table.replace("@backend@", str(backend.port))) as proxy:
        reply = http_request("GET", proxy.url())
        assert reply.status == 502 and b"ALPN" in reply.body or b"alpn" in reply.body, reply.body


def test_a_published_port_serves_http2_over_tls_and_http1_beside_it(workspace):
    authority = Authority(workspace / "ca")
    own = authority.issue("orders", dns=["orders.test"])
    app = HttpApp()
    config = own.table() + upstream(app.port)
    with TlsLab(workspace, config, app_port=app.port) as proxy:
        url = f"https://orders.test:{proxy.ports['publish']}/echo"
        for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
            out = curl(flag, "--cacert", str(own.bundle), "--resolve", f"orders.test:{proxy.ports['publish']}:127.0.0.1",
                       "-o", "/dev/null", "-w", "%{http_version} %{response_code}", url)
            assert out.decode() == f"{version} 200"


class TlsLab(ProxyLab):
    def write(self, config):
        if "mutual_tls" not in self.text:
            self.text = self.text.replace("[inbound]\n", '[inbound]\nmutual_tls = "strict"\nrequire_client_certificate = false\n')
        super().write(config)
