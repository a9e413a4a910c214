"""WebSocket over HTTP/2: extended CONNECT (RFC 8441), to upstreams of both versions."""
import base64
import hashlib
import re

import h2.connection
import h2.events
import h2.settings
from hyperframe.frame import DataFrame, HeadersFrame

from support.http2_lab import Http2Backend, Http2Client, Response
from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, upstream

ENABLE_CONNECT_PROTOCOL = 8


def open_websocket(client, protocol="websocket", end=False):
    stream, client.next_id = client.next_id, client.next_id + 2
    client.responses[stream] = Response()
    block = client.encoder.encode([(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", "/chat?a"),
                                   (":authority", "h.test"), ("sec-websocket-version", "13"), ("sec-websocket-protocol", "p")])
    client.send(HeadersFrame(stream, block, flags=["END_HEADERS"] + (["END_STREAM"] if end else [])))
    return stream


def switching(heads, first=b"", seen=None):
    """An HTTP/1 upstream that takes the upgrade and echoes; `seen` gets what came before it did."""
    def serve(connection):
        head = connection.read_head()
        heads.append(head)
        key = re.search(r"(?im)^sec-websocket-key: (\S+)\r$", head).group(1)
        accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
        if seen is not None:
            connection.socket.settimeout(0.3)
            try:
                seen.append(connection.socket.recv(100))
            except TimeoutError:
                pass
            connection.socket.settimeout(30)
        connection.send(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        f"Sec-WebSocket-Protocol: p\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode() + first)
        while data := connection.socket.recv(65536):
            connection.send(data)
        connection.send(b"bye")
    return serve


def test_it_is_announced_and_becomes_an_upgrade_of_http1(workspace):
    heads = []
    with RawBackend(switching(heads, first=b"hello")) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        stream = open_websocket(client)
        reply = client.wait(stream, until=lambda one: one.body == b"hello")
        assert client.settings[ENABLE_CONNECT_PROTOCOL] == 1
        assert reply.status == 200 and reply.headers["sec-websocket-protocol"] == "p"
        assert "sec-websocket-accept" not in reply.headers and "upgrade" not in reply.headers
        assert heads[0].startswith("GET /chat?a HTTP/1.1\r\n") and "upgrade: websocket\r\n" in heads[0]
        assert "Connection: Upgrade\r\n" in heads[0] and "content-length" not in heads[0].lower()
        large = bytes(range(256)) * 2000
        for start in range(0, len(large), 16000):
            client.send(DataFrame(stream, large[start:start + 16000]))
            client.wait(stream, until=lambda one: len(one.body) >= 5 + min(start + 16000, len(large)))
        assert reply.body[5:] == large
        client.send(DataFrame(stream, b"", flags=["END_STREAM"]))  # half-closed: the rest still comes
        client.wait(stream)
        assert reply.body.endswith(b"bye") and reply.ended
        assert proxy.log()[0]["bytes_received"] == len(large)


def test_what_is_sent_ahead_waits_for_the_switch(workspace):
    heads, seen = [], []
    with RawBackend(switching(heads, seen=seen)) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        stream = open_websocket(client)
        client.send(DataFrame(stream, b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"))
        reply = client.wait(stream, until=lambda one: one.body)
        assert not seen and reply.body.startswith(b"GET /smuggled")


def test_a_refusal_of_the_upstream_travels_and_nothing_sent_ahead_reaches_it(workspace):
    requests = []

    def serve(connection):
        while True:
            requests.append(connection.read_head())
            connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        stream = open_websocket(client)
        client.send(DataFrame(stream, b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"))
        reply = client.wait(stream)
        assert (reply.status, reply.body) == (403, b"no")
        assert client.request().status == 403
        assert not [head for head in requests if "smuggled" in head]


def test_other_protocols_and_plain_connect_are_refused(workspace):
    with RawBackend(switching([])) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        assert client.wait(open_websocket(client, "connect-udp")).status in (400, 403)


def extended_backend(enabled, seen=None):
    def on_event(connection, event):
        if isinstance(event, h2.events.RequestReceived):
            fields = dict(event.headers)
            if seen is not None:
                seen.append(fields)
            connection.send_headers(event.stream_id, [(":status", "200"), ("sec-websocket-protocol", "p")])
        elif isinstance(event, h2.events.DataReceived):
            connection.send_data(event.stream_id, b"echo " + event.data)
        elif isinstance(event, h2.events.StreamEnded):
            connection.end_stream(event.stream_id)
        else:
            return False
        return True

    return Http2Backend(on_event=on_event, settings={h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1} if enabled else None)


def test_it_stays_an_extended_connect_towards_http2(workspace):
    with extended_backend(True) as backend, ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        for _ in range(2):  # the second on a connection whose settings are known
            stream = open_websocket(client)
            client.wait(stream, until=lambda one: one.status)
            assert client.responses[stream].status == 200
            client.send(DataFrame(stream, b"ping"))
            client.wait(stream, until=lambda one: one.body == b"echo ping")
            client.send(DataFrame(stream, b"", flags=["END_STREAM"]))
            assert client.wait(stream).ended


def test_an_http2_upstream_that_does_not_take_it_is_a_502(workspace):
    with extended_backend(False) as backend, ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        for _ in range(2):
            reply = client.wait(open_websocket(client))
            assert reply.status == 502 and b"WebSocket over HTTP/2" in reply.body
        wait_until(lambda: proxy.log(2)[1]["response_code_details"] == "upstream_without_extended_connect", what="the record")


# ---- An HTTP/1 client towards HTTP/2


KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (f"GET /chat?a HTTP/1.1\r\nHost: h.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: p\r\n\r\n")


def test_the_upgrade_of_an_http1_client_becomes_an_extended_connect(workspace):
    seen = []
    with extended_backend(True, seen) as backend, ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy:
        for turn in range(2):
            with proxy.client() as client:
                status, headers, _ = client.send(UPGRADE).read_response()
                assert status == 101 and headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
                assert headers["upgrade"] == "websocket" and headers["connection"] == "Upgrade"
                assert headers["sec-websocket-protocol"] == "p"
                assert client.send(b"ping").read_exactly(9) == b"echo ping"
                client.socket.shutdown(1)
                assert client.read_to_end() == b"echo "  # of the empty frame that ends the stream
            record = proxy.log(turn + 1)[turn]
            assert (record["protocol"], record["status"], record["bytes_received"], record["bytes_sent"]) == ("websocket", 101, 4, 14)
        assert backend.connections == 1 and len(seen) == 2
        assert (seen[0][":method"], seen[0][":protocol"], seen[0][":path"]) == ("CONNECT", "websocket", "/chat?a")
        assert "sec-websocket-key" not in seen[0] and "upgrade" not in seen[0] and seen[0]["sec-websocket-version"] == "13"


def test_what_an_http1_client_sends_ahead_follows_the_101(workspace):
    with extended_backend(True) as backend, ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy, \
            proxy.client() as client:
        assert client.send(UPGRADE + "early").read_response()[0] == 101
        assert client.read_exactly(10) == b"echo early"


def test_a_tunnel_carries_megabytes_both_ways(workspace):
    def on_event(connection, event):
        if isinstance(event, h2.events.RequestReceived):
            connection.send_headers(event.stream_id, [(":status", "200")])
            connection.got = 0
        elif isinstance(event, h2.events.DataReceived):
            connection.got += len(event.data)
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if connection.got == 4 << 20:
                connection.send_data(event.stream_id, b"all")
        else:
            return False
        return True

    settings = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
    with Http2Backend(on_event=on_event, settings=settings) as backend, \
            ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy, proxy.client() as client:
        assert client.send(UPGRADE).read_response()[0] == 101
        client.send(b"x" * (4 << 20))
        assert client.read_exactly(3) == b"all"


def test_a_refused_upgrade_is_an_answer_like_any_other(workspace):
    def on_event(connection, event):
        if isinstance(event, h2.events.RequestReceived):
            connection.send_headers(event.stream_id, [(":status", "403"), ("content-length", "2")])
            connection.send_data(event.stream_id, b"no", end_stream=True)
            return True
        return False

    settings = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
    with Http2Backend(on_event=on_event, settings=settings) as backend, \
            ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy, proxy.client() as client:
        for _ in range(2):  # and the connection lives on
            status, _, body = client.send(UPGRADE).read_response()
            assert status == 403 and body == b"no"


def test_an_http2_upstream_without_extended_connect_is_a_502_for_http1_too(workspace):
    with extended_backend(False) as backend, ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy, \
            proxy.client() as client:
        status, _, body = client.send(UPGRADE).read_response()
        assert status == 502 and b"WebSocket over HTTP/2" in body


def test_an_upstream_that_does_not_answer_an_upgrade_is_a_504(workspace):
    def on_event(_, event):
        return isinstance(event, h2.events.RequestReceived)

    settings = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
    config = 'protocol = "http2"\ntimeouts = { response_headers = "300ms" }'
    with Http2Backend(on_event=on_event, settings=settings) as backend, \
            ProxyLab(workspace, upstream(backend.port, config)) as proxy, proxy.client() as client:
        assert client.send(UPGRADE).read_response()[0] == 504


def test_a_tunnel_that_breaks_is_reset(workspace):
    def on_event(connection, event):
        if isinstance(event, h2.events.RequestReceived):
            connection.send_headers(event.stream_id, [(":status", "200")])
        elif isinstance(event, h2.events.DataReceived):
            connection.reset_stream(event.stream_id, 2)
        else:
            return False
        return True

    settings = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
    with Http2Backend(on_event=on_event, settings=settings) as backend, \
            ProxyLab(workspace, upstream(backend.port, 'protocol = "http2"')) as proxy, proxy.client() as client:
        assert client.send(UPGRADE).read_response()[0] == 101
        client.send(b"x")
        assert client.is_closed_by_peer()
        assert proxy.log(1)[0]["response_flags"] == "UC"
