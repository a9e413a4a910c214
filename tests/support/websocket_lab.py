"""WebSocket clients that send exactly the bytes given, over HTTP/1.1 and over HTTP/2, and an echo server.

    with EchoServer() as server: …                       # python3-websockets; `server.port`
    talk(Http1Socket(port), [frame(TEXT, b"hi"), close], awaited=1)   # every byte that the server sent until its end
    frames(data)                                         # [(first byte, payload)…]

A client masks its frames with a fixed key, so that a conversation can be repeated to the byte.
"""
import asyncio
import socket
import threading

from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame

from support.http2_lab import Http2Client, Response

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x37\xfa\x21\x3d"


def frame(opcode, payload=b"", fin=True, reserved=0):
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    key = int.from_bytes(KEY * (size // 4 + 1), "big") >> 8 * (len(KEY) * (size // 4 + 1) - size)
    return head + KEY + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def frames(data):
    """What a server sent, cut into frames; a part of one at the end is an AssertionError."""
    found = []
    while data:
        size, at = data[1], 2
        assert size < 128, "a server masked a frame"
        if size >= 126:
            count = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2:2 + count], "big"), 2 + count
        assert len(data) >= at + size, "the connection ended within a frame"
        found.append((data[0], data[at:at + size]))
        data = data[at + size:]
    return found


def count_messages(data):
    """How many whole messages the frames in `data` make so far."""
    count, at = 0, 0
    while len(data) >= at + 2:
        size, begin = data[at + 1], at + 2
        if size >= 126:
            begin += 2 if size == 126 else 8
            size = int.from_bytes(data[at + 2:begin], "big")
        if len(data) < begin + size:
            break
        count += data[at] & 0x88 == 0x80
        at = begin + size
    return count


class Http1Socket:
    def __init__(self, port, extensions=None):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        asked = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        self.socket.sendall(f"GET /echo HTTP/1.1\r\nHost: ws.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            f"Sec-WebSocket-Version: 13\r\n{asked}"
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.socket.recv(65536)
            assert part, data
            data += part
        self.head, _, self.received = data.partition(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            while data := self.socket.recv(1 << 18):
                self.received += data
        except ConnectionResetError:
            pass  # the server ended it with our bytes unread

    def send(self, data):
        self.socket.sendall(data)

    def wait_messages(self, count):
        while count_messages(self.received) < count and self.reader.is_alive():
            self.reader.join(0.002)

    def finish(self):
        """Everything that the server sent, once it ended the connection."""
        self.reader.join(30)
        assert not self.reader.is_alive(), f"the server did not end; so far {self.received[:200]!r}"
        self.socket.close()
        return self.received


class Http2Socket(Http2Client):
    """RFC 8441, one stream; keeps to the windows that it is given."""

    def __init__(self, port, extensions=None):
        self.credit = {0: 65535}
        super().__init__(port)
        self.stream, self.next_id = self.next_id, self.next_id + 2
        response = self.responses[self.stream] = Response()
        asked = [("sec-websocket-extensions", extensions)] if extensions else []
        block = self.encoder.encode([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                                     (":path", "/echo"), (":authority", "ws.test"), ("sec-websocket-version", "13"), *asked])
        super().send(HeadersFrame(self.stream, block, flags=["END_HEADERS"]))
        self.wait(self.stream, until=lambda one: one.status or one.reset is not None)
        assert response.status == 200, response

    def note(self, received):
        if isinstance(received, WindowUpdateFrame):
            self.credit[received.stream_id] = self.credit.get(received.stream_id, 0) + received.window_increment
        super().note(received)

    def room(self):
        own = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65535) + self.credit.get(self.stream, 0)
        return min(own, self.credit[0], 16384)

    def is_over(self):
        response = self.responses[self.stream]
        return response.ended or response.reset is not None or self.is_closed or self.is_refused

    def send(self, *parts):
        if not isinstance(parts[0], bytes) or not hasattr(self, "stream"):
            return super().send(*parts)
        data = parts[0]
        while data:
            while self.room() <= 0 and not self.is_over():
                self.wait(self.stream, until=lambda _: self.room() > 0 or self.is_over())
            if self.is_over():
                raise BrokenPipeError
            size = self.room()
            super().send(DataFrame(self.stream, data[:size]))
            self.credit[self.stream] = self.credit.get(self.stream, 0) - len(data[:size])
            self.credit[0] -= len(data[:size])
            data = data[size:]
        return self

    def wait_messages(self, count):
        self.wait(self.stream, until=lambda one: self.is_over() or count_messages(one.body) >= count)

    def finish(self):
        self.wait(self.stream)
        self.close()
        return self.responses[self.stream].body


def talk(client, parts, awaited=0):
    """Sends `parts` one after the other, the last once `awaited` messages came back; an echo that is under way when the
    close comes may be lost. The server may have ended before all are sent."""
    try:
        for part in parts[:-1]:
            client.send(part)
        client.wait_messages(awaited)
        client.send(parts[-1])
    except (BrokenPipeError, ConnectionResetError):
        pass
    return client.finish()


class EchoServer:
    """Sends every message back. Its own thread and loop."""

    def __init__(self):
        import websockets.server  # the scenario skips itself where python3-websockets is missing

        self.loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def echo(connection, *_):
            async for message in connection:
                await connection.send(message)

        async def serve():
            server = await websockets.server.serve(echo, "127.0.0.1", 0, max_size=1 << 25, ping_interval=None,
                                                   close_timeout=5)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await self.stopping.wait()
            server.close()
            await server.wait_closed()

        async def main():
            self.stopping = asyncio.Event()
            await serve()

        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(main()), daemon=True)
        self.thread.start()
        assert ready.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(30)
        self.loop.close()
