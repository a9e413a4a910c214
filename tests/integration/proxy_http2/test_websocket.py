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


def extended_backend(enabled):
    def on_event(connection, event):
        if isinstance(event, h2.events.RequestReceived):
            fields = dict(event.headers)
            connection.tunnels = getattr(connection, "tunnels", []) + [fields]
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
