"""The rules of RFC 9113 and RFC 7541 that a server must hold a client to, one by one, in the order that h2spec has them.

h2spec itself runs where it is installed (proxy_http2); these cases need nothing but python3-h2's frame library, and
say exactly which error code is due where h2spec takes any of several, or a closed connection.
"""
import struct
import time
from dataclasses import dataclass

import pytest
from hyperframe.frame import PingFrame

from support.http2_lab import PREFACE, Http2Client, Response
from support.pillion_testing import HttpApp
from support.proxy_lab import ProxyLab, upstream

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION, UNKNOWN = *range(10), 0xee
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION = 1, 3, 5, 6, 9
WHOLE = END_STREAM | END_HEADERS


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def u32(*values):
    return struct.pack(f">{len(values)}I", *values)


def setting(identifier, value):
    return struct.pack(">HI", identifier, value)


@dataclass
class Ends:
    """GOAWAY with one of these codes, then the connection's end."""
    codes: tuple


@dataclass
class Resets:
    """RST_STREAM on the last stream with one of these codes; the connection lives on."""
    codes: tuple


@dataclass
class Answers:
    """Every stream gets a response with this status."""
    status: int = 200
    body: int = None


ALIVE = "alive"  # the connection goes on: a PING is answered


class Talker(Http2Client):
    """Opens streams by raw frames; remembers which."""

    def block(self, *fields, drop=(), method="GET", path="/bytes/3000"):
        fields = [(b":method", method), (b":scheme", "http"), (b":path", path), (b":authority", "h.test"), *fields]
        return self.encoder.encode([(name, value) for name, value in fields
                                    if (name if isinstance(name, str) else name.decode()) not in drop])

    def heads(self, flags=WHOLE, stream=None, payload=None, **options):
        stream = self.next_stream() if stream is None else stream
        self.responses.setdefault(stream, Response())
        return frame(HEADERS, flags, stream, self.block(**options) if payload is None else payload)

    def next_stream(self):
        stream, self.next_id = self.next_id, self.next_id + 2
        return stream

    def get(self, *fields, flags=WHOLE, drop=(), **options):
        return self.heads(flags, payload=self.block(*fields, drop=drop, **options))

    def post(self, *fields, **options):
        return self.get(*fields, flags=END_HEADERS, method="POST", path="/echo", **options)


def split_head(client, between=b""):
    """A head in three pieces with `between` them."""
    block = client.block()
    third = len(block) // 3
    return (client.heads(END_STREAM, payload=block[:third]) + between + frame(CONTINUATION, 0, 1, block[third:2 * third])
            + frame(CONTINUATION, END_HEADERS, 1, block[2 * third:]))


def literal(name, value, kind=0x00):
    return bytes([kind, len(name)]) + name + bytes([len(value)]) + value


CASES = {
    # Streams (RFC 9113 §5.1)
    "idle: DATA": (lambda c: frame(DATA, END_STREAM, 1, b"x"), Ends((PROTOCOL, CLOSED))),
    "idle: RST_STREAM": (lambda c: frame(RESET, 0, 1, u32(8)), Ends((PROTOCOL,))),
    "idle: WINDOW_UPDATE": (lambda c: frame(WINDOW, 0, 1, u32(100)), Ends((PROTOCOL,))),
    "idle: CONTINUATION": (lambda c: frame(CONTINUATION, END_HEADERS, 1, c.block()), Ends((PROTOCOL,))),
    "idle: PRIORITY": (lambda c: frame(PRIORITY, 0, 1, u32(0) + b"\x0f") + c.get(), Answers()),
    "half-closed: DATA": (lambda c: c.get(path="/delay/1") + frame(DATA, END_STREAM, 1, b"x"), Ends((CLOSED,))),
    "half-closed: HEADERS": (lambda c: c.get(path="/delay/1") + frame(HEADERS, WHOLE, 1, c.block()), Ends((CLOSED,))),
    "half-closed: CONTINUATION": (lambda c: c.get(path="/delay/1") + frame(CONTINUATION, END_HEADERS, 1, c.block()), Ends((PROTOCOL, CLOSED))),
    "half-closed: WINDOW_UPDATE, PRIORITY": (lambda c: c.get() + frame(WINDOW, 0, 1, u32(100)) + frame(PRIORITY, 0, 1, u32(0) + b"\1"), Answers()),
    "half-closed: RST_STREAM": (lambda c: c.get(path="/delay/1") + frame(RESET, 0, 1, u32(8)), ALIVE),
    "reset: DATA is ignored or refused": (lambda c: c.post() + frame(RESET, 0, 1, u32(8)) + frame(DATA, END_STREAM, 1, b"x"), (ALIVE, Ends((CLOSED,)))),
    "reset: HEADERS": (lambda c: c.post() + frame(RESET, 0, 1, u32(8)) + frame(HEADERS, WHOLE, 1, c.block()), (ALIVE, Ends((CLOSED,)))),
    "reset: CONTINUATION": (lambda c: c.post() + frame(RESET, 0, 1, u32(8)) + frame(CONTINUATION, END_HEADERS, 1, c.block()), Ends((PROTOCOL, CLOSED))),
    "an even stream": (lambda c: c.heads(stream=2), Ends((PROTOCOL,))),
    "a lower stream": (lambda c: c.heads(stream=5) + c.heads(stream=3), Ends((PROTOCOL, CLOSED))),
    "HEADERS depends on itself": (lambda c: c.heads(WHOLE | PRIORITIZED, payload=u32(1) + b"\xff" + c.block()), Ends((PROTOCOL,))),
    "PRIORITY depends on itself": (lambda c: frame(PRIORITY, 0, 1, u32(1) + b"\xff"), Ends((PROTOCOL,))),
    # Frames (§4)
    "a frame of an unknown type": (lambda c: frame(UNKNOWN, 0xff, 0, bytes(8)) + c.get(), Answers()),
    "an undefined flag": (lambda c: frame(PING, 0x16, 0, bytes(8)) + c.get(), Answers()),
    "the reserved bit": (lambda c: frame(PING, 0, 1 << 31, bytes(8)) + c.get(), Answers()),
    "DATA of 16,384 bytes": (lambda c: c.post() + frame(DATA, END_STREAM, 1, bytes(16384)), Answers()),
    "DATA of 16,385 bytes": (lambda c: c.post() + frame(DATA, END_STREAM, 1, bytes(16385)), Ends((SIZE,))),
    "HEADERS of 16,385 bytes": (lambda c: c.heads(payload=bytes(16385)), Ends((SIZE,))),
    "an extension frame within a head": (lambda c: split_head(c, between=frame(UNKNOWN, 0, 0, b"x")), Ends((PROTOCOL,))),
    "PRIORITY within a head": (lambda c: split_head(c, between=frame(PRIORITY, 0, 1, u32(0) + b"\1")), Ends((PROTOCOL,))),
    "HEADERS of another stream within a head": (lambda c: split_head(c, between=frame(HEADERS, WHOLE, 3, b"\x82")), Ends((PROTOCOL,))),
    "DATA within a head": (lambda c: split_head(c, between=frame(DATA, 0, 1, b"x")), Ends((PROTOCOL,))),
    # DATA (§6.1)
    "DATA": (lambda c: c.post() + frame(DATA, END_STREAM, 1, b"body"), Answers()),
    "several DATA": (lambda c: c.post() + frame(DATA, 0, 1, b"body") + frame(DATA, 0, 1) + frame(DATA, END_STREAM, 1, b"more"), Answers()),
    "padded DATA": (lambda c: c.post() + frame(DATA, END_STREAM | PADDED, 1, b"\6body" + bytes(6)), Answers()),
    "DATA on stream 0": (lambda c: c.post() + frame(DATA, END_STREAM, 0, b"body"), Ends((PROTOCOL,))),
    "DATA with more padding than payload": (lambda c: c.post() + frame(DATA, END_STREAM | PADDED, 1, b"\6body"), Ends((PROTOCOL,))),
    "padded DATA without a pad length": (lambda c: c.post() + frame(DATA, END_STREAM | PADDED, 1), Ends((SIZE, PROTOCOL))),
    # HEADERS (§6.2)
    "padded HEADERS": (lambda c: c.heads(WHOLE | PADDED, payload=b"\5" + c.block() + bytes(5)), Answers()),
    "HEADERS with priority": (lambda c: c.heads(WHOLE | PRIORITIZED, payload=u32(0) + b"\xff" + c.block()), Answers()),
    "HEADERS with all of it": (lambda c: c.heads(WHOLE | PRIORITIZED | PADDED, payload=b"\3" + u32(1 << 31) + b"\0" + c.block() + bytes(3)), Answers()),
    "HEADERS on stream 0": (lambda c: frame(HEADERS, WHOLE, 0, c.block()), Ends((PROTOCOL,))),
    "HEADERS with more padding than payload": (lambda c: c.heads(WHOLE | PADDED, payload=b"\xff" + c.block()), Ends((PROTOCOL,))),
    "HEADERS with half a priority": (lambda c: c.heads(WHOLE | PRIORITIZED, payload=b"\0\0"), Ends((SIZE,))),
    # PRIORITY (§6.3)
    "PRIORITY of each weight": (lambda c: b"".join(frame(PRIORITY, 0, 9, u32(0) + bytes([w])) for w in (0, 1, 255)) + c.get(), Answers()),
    "PRIORITY, exclusive": (lambda c: frame(PRIORITY, 0, 3, u32(1 << 31 | 1) + b"\1") + c.get(), Answers()),
    "PRIORITY on stream 0": (lambda c: frame(PRIORITY, 0, 0, u32(1) + b"\1"), Ends((PROTOCOL,))),
    "PRIORITY of four bytes": (lambda c: frame(PRIORITY, 0, 1, u32(0)), Ends((SIZE,))),
    # RST_STREAM (§6.4)
    "RST_STREAM": (lambda c: c.post() + frame(RESET, 0, 1, u32(8)), ALIVE),
    "RST_STREAM on stream 0": (lambda c: frame(RESET, 0, 0, u32(8)), Ends((PROTOCOL,))),
    "RST_STREAM of three bytes": (lambda c: c.post() + frame(RESET, 0, 1, b"\0\0\0"), Ends((SIZE,))),
    "RST_STREAM with an unknown code": (lambda c: c.post() + frame(RESET, 0, 1, u32(0xff)) + c.get(), ALIVE),
    # SETTINGS (§6.5)
    "SETTINGS": (lambda c: frame(SETTINGS, 0, 0, setting(3, 100)) + c.get(), Answers()),
    "an unknown setting": (lambda c: frame(SETTINGS, 0, 0, setting(0xff, 1)) + c.get(), Answers()),
    "SETTINGS acknowledged with a payload": (lambda c: frame(SETTINGS, ACK, 0, setting(3, 1)), Ends((SIZE,))),
    "SETTINGS on a stream": (lambda c: frame(SETTINGS, 0, 1, setting(3, 1)), Ends((PROTOCOL,))),
    "SETTINGS of five bytes": (lambda c: frame(SETTINGS, 0, 0, bytes(5)), Ends((SIZE,))),
    "ENABLE_PUSH 2": (lambda c: frame(SETTINGS, 0, 0, setting(2, 2)), Ends((PROTOCOL,))),
    "INITIAL_WINDOW_SIZE 2^31": (lambda c: frame(SETTINGS, 0, 0, setting(4, 1 << 31)), Ends((FLOW,))),
    "MAX_FRAME_SIZE 16,383": (lambda c: frame(SETTINGS, 0, 0, setting(5, 16383)), Ends((PROTOCOL,))),
    "MAX_FRAME_SIZE 2^24": (lambda c: frame(SETTINGS, 0, 0, setting(5, 1 << 24)), Ends((PROTOCOL,))),
    "the last of two values counts": (lambda c: frame(SETTINGS, 0, 0, setting(4, 100) + setting(4, 1000)) + c.get(), Answers(body=1000)),
    # PUSH_PROMISE (§6.6, §8.4)
    "PUSH_PROMISE from a client": (lambda c: c.post() + frame(PUSH, END_HEADERS, 1, u32(2) + c.block()), Ends((PROTOCOL,))),
    # PING (§6.7)
    "PING acknowledged unasked": (lambda c: frame(PING, ACK, 0, bytes(8)), ALIVE),
    "PING on a stream": (lambda c: frame(PING, 0, 1, bytes(8)), Ends((PROTOCOL,))),
    "PING of six bytes": (lambda c: frame(PING, 0, 0, bytes(6)), Ends((SIZE,))),
    # GOAWAY (§6.8)
    "GOAWAY on a stream": (lambda c: frame(GOAWAY, 0, 1, u32(0, 0)), Ends((PROTOCOL,))),
    "GOAWAY of four bytes": (lambda c: frame(GOAWAY, 0, 0, u32(0)), Ends((SIZE,))),
    "GOAWAY with an unknown code, and the answer still comes": (lambda c: c.get() + frame(GOAWAY, 0, 0, u32(0, 0xff)), Answers()),
    # WINDOW_UPDATE (§6.9)
    "WINDOW_UPDATE": (lambda c: c.get() + frame(WINDOW, 0, 0, u32(1)) + frame(WINDOW, 0, 1, u32(1)), Answers()),
    "WINDOW_UPDATE by 0": (lambda c: frame(WINDOW, 0, 0, u32(0)), Ends((PROTOCOL,))),
    "WINDOW_UPDATE of a stream by 0": (lambda c: c.post() + frame(WINDOW, 0, 1, u32(0)), (Resets((PROTOCOL,)), Ends((PROTOCOL,)))),
    "WINDOW_UPDATE of three bytes": (lambda c: frame(WINDOW, 0, 0, bytes(3)), Ends((SIZE,))),
    "the connection's window above 2^31-1": (lambda c: frame(WINDOW, 0, 0, u32(2**31 - 1)) * 2, Ends((FLOW,))),
    "a stream's window above 2^31-1": (lambda c: c.post() + frame(WINDOW, 0, 1, u32(2**31 - 1)) * 2, Resets((FLOW,))),
    "a window of one byte": (lambda c: frame(SETTINGS, 0, 0, setting(4, 1)) + c.get(), Answers(body=1)),
    "a window that grows later": (lambda c: frame(SETTINGS, 0, 0, setting(4, 1)) + c.get() + frame(SETTINGS, 0, 0, setting(4, 3000)), Answers(body=3000)),
    "a window that becomes negative": (lambda c: frame(SETTINGS, 0, 0, setting(4, 500)) + c.get() + frame(SETTINGS, 0, 0, setting(4, 20))
                                       + frame(WINDOW, 0, 1, u32(3000)), Answers(body=3000)),
    # CONTINUATION (§6.10)
    "CONTINUATION, twice": (lambda c: split_head(c), Answers()),
    "CONTINUATION on stream 0": (lambda c: c.heads(END_STREAM) + frame(CONTINUATION, END_HEADERS, 0, b""), Ends((PROTOCOL,))),
    "CONTINUATION behind a whole head": (lambda c: c.post() + frame(CONTINUATION, END_HEADERS, 1, c.block()), Ends((PROTOCOL,))),
    "CONTINUATION behind the last one": (lambda c: c.heads(END_STREAM) + frame(CONTINUATION, END_HEADERS, 1) * 2, Ends((PROTOCOL,))),
    "CONTINUATION behind DATA": (lambda c: c.post() + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, END_HEADERS, 1), Ends((PROTOCOL,))),
    # Requests (§8)
    "GET, HEAD and POST": (lambda c: c.get() + c.get(method="HEAD") + c.post() + frame(DATA, END_STREAM, 5, b"x"), Answers()),
    "trailers": (lambda c: c.post() + frame(DATA, 0, 1, b"x") + frame(HEADERS, WHOLE, 1, c.encoder.encode([("x-t", "1")])), Answers()),
    "a second head without END_STREAM": (lambda c: c.post() + frame(HEADERS, END_HEADERS, 1, c.encoder.encode([("x-t", "1")])), Resets((PROTOCOL,))),
    "a pseudo-header field in trailers": (lambda c: c.post() + frame(DATA, 0, 1, b"x") + frame(HEADERS, WHOLE, 1, c.encoder.encode([(":method", "GET")])), Resets((PROTOCOL,))),
    "a name in capitals": (lambda c: c.get((b"X-TEST", "1")), Resets((PROTOCOL,))),
    "an unknown pseudo-header field": (lambda c: c.get((":test", "1")), Resets((PROTOCOL,))),
    "a pseudo-header field of responses": (lambda c: c.get((":status", "200")), Resets((PROTOCOL,))),
    "a pseudo-header field behind a field": (lambda c: c.get(("x", "1"), (":path", "/"), drop=[":path"]), Resets((PROTOCOL,))),
    "a connection-specific field": (lambda c: c.get(("connection", "keep-alive")), Resets((PROTOCOL,))),
    "keep-alive, proxy-connection, transfer-encoding, upgrade": (
        lambda c: b"".join(c.get(one) for one in (("keep-alive", "1"), ("proxy-connection", "x"), ("transfer-encoding", "chunked"), ("upgrade", "h"))),
        Resets((PROTOCOL,))),
    "TE other than trailers": (lambda c: c.get(("te", "trailers, deflate")), Resets((PROTOCOL,))),
    "TE: trailers": (lambda c: c.get(("te", "trailers")), Answers()),
    "an empty path": (lambda c: c.get((":path", ""), drop=[":path"]), Resets((PROTOCOL,))),
    "no method": (lambda c: c.get(drop=[":method"]), Resets((PROTOCOL,))),
    "no scheme": (lambda c: c.get(drop=[":scheme"]), Resets((PROTOCOL,))),
    "no path": (lambda c: c.get(drop=[":path"]), Resets((PROTOCOL,))),
    "two methods": (lambda c: c.heads(payload=c.encoder.encode([(":method", "GET")]) + c.block()), Resets((PROTOCOL,))),
    "two schemes": (lambda c: c.heads(payload=c.encoder.encode([(":scheme", "http")]) + c.block()), Resets((PROTOCOL,))),
    "two paths": (lambda c: c.heads(payload=c.encoder.encode([(":path", "/")]) + c.block()), Resets((PROTOCOL,))),
    "a content-length that is not the DATA's": (lambda c: c.post(("content-length", "1")) + frame(DATA, END_STREAM, 1, b"test"), Resets((PROTOCOL,))),
    "a content-length that is not the sum": (lambda c: c.post(("content-length", "1")) + frame(DATA, 0, 1, b"t") + frame(DATA, END_STREAM, 1, b"est"), Resets((PROTOCOL,))),
    "a content-length without DATA": (lambda c: c.get(("content-length", "1")), Resets((PROTOCOL,))),
    # HPACK (RFC 7541)
    "index 0": (lambda c: c.heads(payload=b"\x80"), Ends((COMPRESSION,))),
    "an index beyond the tables": (lambda c: c.heads(payload=c.block() + b"\xff\x00"), Ends((COMPRESSION,))),
    "a name's index beyond the tables": (lambda c: c.heads(payload=c.block() + b"\x7f\x7f\1a"), Ends((COMPRESSION,))),
    "a literal cut off": (lambda c: c.heads(payload=c.block() + b"\x40\x05ab"), Ends((COMPRESSION,))),
    "an integer without end": (lambda c: c.heads(payload=c.block() + b"\x3f" + b"\xff" * 20), Ends((COMPRESSION,))),
    "a table size above ours": (lambda c: c.heads(payload=b"\x3f\xe2\x1f" + c.block()), Ends((COMPRESSION,))),
    "a table size behind a field": (lambda c: c.heads(payload=c.block() + b"\x20"), Ends((COMPRESSION,))),
    "table sizes in front": (lambda c: c.heads(payload=b"\x20\x3f\xe1\x1f" + c.block()), Answers()),
    "Huffman with eight bits of padding": (lambda c: c.heads(payload=c.block() + b"\0\1x\x82\x1f\xff"), Ends((COMPRESSION,))),
    "Huffman padded with zeros": (lambda c: c.heads(payload=c.block() + b"\0\1x\x81\x18"), Ends((COMPRESSION,))),
    "Huffman with the end symbol": (lambda c: c.heads(payload=c.block() + b"\0\1x\x84\xff\xff\xff\xff"), Ends((COMPRESSION,))),
    "each kind of literal": (lambda c: c.heads(payload=c.block() + literal(b"a", b"1") + literal(b"b", b"2", 0x10) + literal(b"c", b"3", 0x40)
                                               + b"\x0f\x2b\1u" + b"\x1f\x2b\1u"), Answers()),
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with HttpApp() as app, ProxyLab(tmp_path_factory.mktemp("rules"), upstream(app.port), explicit_protocol="http2") as one:
        yield one


def is_alive(client):
    client.pings.clear()
    client.send(PingFrame(0, b"are you?"))
    deadline = time.monotonic() + 30
    while b"are you?" not in client.pings and not client.is_closed:
        client.read_one(deadline)
    return b"are you?" in client.pings


def fault_of(client, outcome):
    """What is not as `outcome` says, or None."""
    if outcome == ALIVE:
        return None if is_alive(client) else f"ended with {client.goaways}"
    if isinstance(outcome, Ends):
        client.wait_closed()
        codes = {code for _, code in client.goaways}
        return None if codes and codes <= set(outcome.codes) else f"GOAWAY {client.goaways}"
    for stream, response in client.responses.items():
        is_enough = outcome.body is not None if isinstance(outcome, Answers) else False
        client.wait(stream, until=lambda one: one.ended or one.reset is not None or (is_enough and len(one.body) >= outcome.body))
        if isinstance(outcome, Resets) and response.reset not in outcome.codes:
            return f"stream {stream}: {response}, GOAWAY {client.goaways}"
        if isinstance(outcome, Answers) and response.status != outcome.status:
            return f"stream {stream}: {response}, GOAWAY {client.goaways}"
        if is_enough and (not is_alive(client) or len(response.body) != outcome.body):
            return f"{len(response.body)} bytes"
    if not client.responses:
        return "no stream was opened"
    if any(code for _, code in client.goaways):
        return f"GOAWAY {client.goaways}"
    return None if client.has_said_goodbye or is_alive(client) else "it ended"


@pytest.mark.parametrize("name", CASES)
def test_the_rule_is_kept(proxy, name):
    frames, outcome = CASES[name]
    with Talker(proxy.ports["explicit"], window=(1 << 20)) as client:
        client.has_said_goodbye = "GOAWAY" in name  # then the proxy may end it once all is answered
        client.send(frames(client))
        if isinstance(outcome, tuple):  # where the RFC leaves the choice
            outcome = outcome[0 if is_alive(client) and not client.goaways else 1]
        fault = fault_of(client, outcome)
        assert fault is None, fault
    with Http2Client(proxy.ports["explicit"]) as other:
        assert other.request(path="/bytes/1").status == 200


def test_a_preface_that_is_none_ends_the_connection(proxy):
    with proxy.client() as client:
        client.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
        data = client.read_to_end()
        assert not data.startswith(b"HTTP/1") and data[3:4] != bytes([HEADERS])
    with proxy.client() as client:  # SETTINGS must follow
        client.send(PREFACE + frame(PING, 0, 0, bytes(8)))
        assert bytes([GOAWAY]) in client.read_to_end()


def test_the_first_thing_sent_is_settings_and_ours_are_acknowledged(proxy):
    with proxy.client() as client:
        assert client.send(PREFACE + frame(SETTINGS)).read_exactly(9)[3] == SETTINGS
    with Http2Client(proxy.ports["explicit"]) as client:
        client.send(frame(SETTINGS, 0, 0, setting(3, 5)))
        assert is_alive(client)
