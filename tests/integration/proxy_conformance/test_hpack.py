"""Header blocks written in every way that HPACK (RFC 7541) has, by an encoder of the test's own: what the proxy reads
from a client, and from an upstream, is what was meant.

The stories are of the kind that http2jp's hpack-test-case holds (a browser's requests to one site, whose blocks share a
table), and the styles those of the encoders that it collects.
"""
import socket
import threading

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable
from hyperframe.frame import ContinuationFrame, HeadersFrame, SettingsFrame

from support.http2_lab import Http2Client, Response
from support.proxy_lab import BackendConnection, ProxyLab, RawBackend, upstream

STATIC = [tuple(part.decode() for part in entry) for entry in HeaderTable.STATIC_TABLE]
HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
TABLE_BYTES = 4096


def integer(value, bits, first=0):
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    data, value = bytes([first | limit]), value - limit
    while value >= 128:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


class Writer:
    """`indexing`: with, without, never (RFC 7541 §6.2); `names`: by index where there is one, or literal; `huffman`:
    always, never, or whatever is shorter. `sizes`: table sizes to go through, one block after the other."""

    def __init__(self, indexing="with", names="indexed", huffman="shorter", sizes=()):
        self.indexing, self.names, self.huffman = indexing, names, huffman
        self.sizes, self.table, self.limit, self.blocks = list(sizes), [], TABLE_BYTES, 0

    def block(self, fields):
        data = b""
        if self.sizes:
            self.limit = self.sizes[self.blocks % len(self.sizes)]
            self.evict()
            data += integer(self.limit, 5, 0x20)
        self.blocks += 1
        return data + b"".join(self.field(*one) for one in fields)

    def field(self, name, value):
        entries = STATIC + self.table
        if self.indexing == "with" and (name, value) in entries:
            return integer(entries.index((name, value)) + 1, 7, 0x80)
        known = next((i + 1 for i, one in enumerate(entries) if one[0] == name), 0) if self.names == "indexed" else 0
        bits, first = {"with": (6, 0x40), "without": (4, 0x00), "never": (4, 0x10)}[self.indexing]
        if self.indexing == "with":
            self.table.insert(0, (name, value))
            self.evict()
        return integer(known, bits, first) + (b"" if known else self.text(name)) + self.text(value)

    def evict(self):
        while sum(len(name) + len(value) + 32 for name, value in self.table) > self.limit:
            self.table.pop()

    def text(self, text):
        data = text.encode()
        packed = HUFFMAN.encode(data)
        if self.huffman == "always" or (self.huffman == "shorter" and len(packed) < len(data)):
            return integer(len(packed), 7, 0x80) + packed
        return integer(len(data), 7) + data


STYLES = {
    "as encoders do": {},
    "literals only": {"indexing": "without", "names": "literal", "huffman": "never"},
    "literals only, Huffman": {"indexing": "without", "names": "literal", "huffman": "always"},
    "names by the static table": {"indexing": "without", "huffman": "never"},
    "never indexed": {"indexing": "never"},
    "indexed with literal names": {"names": "literal", "huffman": "always"},
    "plain text in the table": {"huffman": "never"},
    "a table that changes its size": {"sizes": [4096, 0, 100, 256, 1024, 60]},
    "no table": {"sizes": [0]},
}


def story(count=40):
    """Requests to one site: much repeats, some is large, and enough is new to push the old out of the table."""
    for i in range(count):
        yield [(":method", ("GET", "POST", "HEAD")[i % 9 // 4]), (":scheme", "http"), (":authority", "shop.test"),
               (":path", f"/images/{'deep/' * (i % 7)}picture-{i * 7919}.png?size={'9' * (i % 130)}"),
               ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) test"), ("accept", "image/png,image/*;q=0.8,*/*;q=0.5"),
               ("accept-encoding", "gzip, deflate"), ("referer", f"http://shop.test/{i // 5}"),
               ("x-visible", "".join(map(chr, range(0x21, 0x7f)))), ("x-empty", ""), ("x-long", str(i) * (i * 20 % 900)),
               ("if-none-match", f'"{i % 3}"'), ("cookie", f"session={'s' * 40}; n={i % 4}")]


def fields_of(head):
    fields = {}
    for line in head.split("\r\n")[1:]:
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name.lower(), []).append(value.strip())
    return fields


@pytest.mark.parametrize("style", STYLES)
def test_a_clients_requests_arrive_as_they_were_meant(workspace, style):
    heads = []

    def serve(connection):
        while True:
            heads.append(connection.read_head())
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    writer = Writer(**STYLES[style])
    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy, \
            Http2Client(proxy.ports["explicit"]) as client:
        for number, fields in enumerate(story()):
            stream, client.next_id = client.next_id, client.next_id + 2
            client.responses[stream] = Response()
            is_refused = number % 10 == 7
            if is_refused:  # a malformed request; its block still belongs to the table
                fields = [*fields, ("connection", f"close-{number}"), ("x-behind", "b")]
            block = writer.block(fields)
            half = len(block) // 2 if number % 3 == 0 else len(block)
            client.send(HeadersFrame(stream, block[:half], flags=["END_STREAM"] + ["END_HEADERS"] * (half == len(block))))
            if half < len(block):
                client.send(ContinuationFrame(stream, block[half:], flags=["END_HEADERS"]))
            reply = client.wait(stream)
            if is_refused:
                assert reply.reset == 1
                continue
            assert reply.status == 200, (number, reply, client.goaways)
            wanted, got = dict(fields), fields_of(heads[-1])
            assert heads[-1].split(" ")[:2] == [wanted[":method"], wanted[":path"]]
            assert got["host"] == ["shop.test"]
            for name, value in fields:
                assert name.startswith(":") or got[name] == [value], (number, name)


@pytest.mark.parametrize("style", STYLES)
def test_an_upstreams_responses_arrive_as_they_were_meant(workspace, style):
    answers = [[(":status", ("200", "404", "500", "299")[i % 4]), ("content-type", "text/plain"), ("x-number", str(i)),
                ("etag", f'"{i % 3}"'), ("set-cookie", f"a={i % 5}"), ("set-cookie", "b=2"), ("x-long", "v" * (i * 37 % 1000)),
                ("x-odd", " !\"#$%&'()*+~".strip())] for i in range(40)]

    def serve(raw):
        connection = BackendConnection(raw)
        connection.read_exactly(24)
        writer = Writer(**STYLES[style])
        connection.send(SettingsFrame(0).serialize())
        stream, number = 0, 0
        while True:
            head = connection.read_exactly(9)
            connection.read_exactly(int.from_bytes(head[:3], "big"))
            if head[3] == 1:
                stream = int.from_bytes(head[5:9], "big")
                connection.send(HeadersFrame(stream, writer.block(answers[number]), flags=["END_HEADERS", "END_STREAM"]).serialize())
                number += 1
            elif head[3] == 4 and not head[4] & 1:
                connection.send(SettingsFrame(0, flags=["ACK"]).serialize())

    def accept():
        raw, _ = listener.accept()
        with raw:
            raw.settimeout(30)
            try:
                serve(raw)
            except (EOFError, OSError):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        with ProxyLab(workspace, upstream(listener.getsockname()[1], 'protocol = "http2"')) as proxy, proxy.client() as client:
            for number, fields in enumerate(answers):
                head = client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_until(b"\r\n\r\n").decode()
                assert head.split(" ")[1] == fields[0][1], number
                got = fields_of(head)
                assert got["set-cookie"] == [f"a={number % 5}", "b=2"]
                for name, value in fields:
                    assert name in (":status", "set-cookie") or got[name] == [value], (number, name)
                if "transfer-encoding" in got:
                    client.read_until(b"0\r\n\r\n")
