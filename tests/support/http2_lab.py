"""HTTP/2 peers for tests: a client that can say anything, and a backend that does what a test says.

    client = Http2Client(port)                        # h2c by prior knowledge; `tls=context` for ALPN
    reply = client.request("POST", "/p", body=b"x")   # .status, .headers (dict), .body, .trailers, .reset
    client.send(frame)                                # a hyperframe frame, or raw bytes

    with Http2Backend(lambda request: Reply(200, body=b"hi")) as backend: …

The client's streams know nothing of rules: frames go out as they are written. The backend is python3-h2's, which does.
"""
import socket
import threading
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack
from hyperframe.frame import (DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame,
                              WindowUpdateFrame)

from support.proxy_lab import end_listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ENHANCE_YOUR_CALM = 0xb


@dataclass
class Response:
    status: int = 0
    headers: dict = field(default_factory=dict)
    informational: list = field(default_factory=list)
    body: bytes = b""
    trailers: dict = field(default_factory=dict)
    ended: bool = False
    reset: int = None


class Http2Client:
    def __init__(self, port, tls=None, settings=None, window=1 << 24, name="h.test"):
        raw = socket.create_connection(("127.0.0.1", port), 30)
        self.socket = tls.wrap_socket(raw, server_hostname=name) if tls else raw
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer, self.next_id = b"", 1
        self.responses, self.goaways, self.settings, self.pings, self.updates = {}, [], {}, [], 0
        self.is_closed, self.is_refused = False, False  # refused: nothing more is taken, but there may be something to read
        self.acknowledges = True
        self.send(PREFACE, SettingsFrame(0, settings=settings or {SettingsFrame.INITIAL_WINDOW_SIZE: window}))
        self.send(WindowUpdateFrame(0, window_increment=window))

    def send(self, *frames):
        data = b"".join(one if isinstance(one, bytes) else one.serialize() for one in frames)
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_refused = True
        return self

    def head(self, method="GET", path="/", fields=(), authority="h.test", end=True, stream=None):
        """A HEADERS frame for a new stream; `fields` as (name, value) pairs."""
        if stream is None:
            stream, self.next_id = self.next_id, self.next_id + 2
        block = [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority), *fields]
        return HeadersFrame(stream, self.encoder.encode(block), flags=["END_HEADERS"] + (["END_STREAM"] if end else []))

    def open(self, *arguments, **options):
        frame = self.head(*arguments, **options)
        self.responses[frame.stream_id] = Response()
        self.send(frame)
        return frame.stream_id

    def request(self, method="GET", path="/", fields=(), body=None, trailers=None, **options):
        stream = self.open(method, path, fields, end=body is None and not trailers, **options)
        if body is not None or trailers:
            self.send_body(stream, body or b"", trailers)
        return self.wait(stream)

    def send_body(self, stream, body, trailers=None):
        for start in range(0, max(len(body), 1), 16384):
            part = body[start:start + 16384]
            is_last = start + 16384 >= len(body) and not trailers
            self.send(DataFrame(stream, part, flags=["END_STREAM"] if is_last else []))
        if trailers:
            self.send(HeadersFrame(stream, self.encoder.encode(trailers), flags=["END_HEADERS", "END_STREAM"]))

    def wait(self, stream, timeout=30, until=None):
        """Reads until the stream has ended or was reset (or `until(response)`), or the connection closed."""
        deadline = time.monotonic() + timeout
        until = until or (lambda one: one.ended or one.reset is not None)
        response = self.responses[stream]
        while not until(response) and not self.is_closed:
            self.read_one(deadline)
        return response

    def wait_closed(self, timeout=30):
        """Reads to the connection's end; the error codes of the GOAWAYs that came."""
        deadline = time.monotonic() + timeout
        while not self.is_closed:
            self.read_one(deadline)
        return [code for _, code in self.goaways]

    def read_one(self, deadline):
        frame = self.read_frame(deadline)
        if frame is not None:
            self.note(frame)

    def read_frame(self, deadline=None):
        while True:
            if len(self.buffer) >= 9:
                frame, size = Frame.parse_frame_header(memoryview(self.buffer)[:9])
                if len(self.buffer) >= 9 + size:
                    frame.parse_body(memoryview(self.buffer)[9:9 + size])
                    self.buffer = self.buffer[9 + size:]
                    return frame
            self.socket.settimeout(max((deadline or time.monotonic() + 30) - time.monotonic(), 0.01))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise AssertionError("nothing came in time") from None
            except OSError:
                data = b""
            if not data:
                self.is_closed = True
                return None
            self.buffer += data

    def note(self, frame):
        if isinstance(frame, SettingsFrame):
            if "ACK" not in frame.flags:
                self.settings.update(frame.settings)
                if self.acknowledges:
                    self.send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append((frame.last_stream_id, frame.error_code))
        elif isinstance(frame, PingFrame) and "ACK" in frame.flags:
            self.pings.append(bytes(frame.opaque_data))
        elif isinstance(frame, WindowUpdateFrame):
            self.updates += 1
        elif frame.stream_id in self.responses:
            self.note_stream(self.responses[frame.stream_id], frame)
        elif isinstance(frame, HeadersFrame):
            self.decoder.decode(frame.data)

    def note_stream(self, response, frame):
        if isinstance(frame, RstStreamFrame):
            response.reset = frame.error_code
        elif isinstance(frame, HeadersFrame):
            fields = [(str(name), str(value)) for name, value in self.decoder.decode(bytes(frame.data))]
            status = int(dict(fields).get(":status", 0))
            if not status:
                response.trailers = dict(fields)
            elif status < 200:
                response.informational.append((status, dict(fields)))
            else:
                response.status, response.headers = status, dict(fields)
        elif isinstance(frame, DataFrame):
            response.body += bytes(frame.data)
        response.ended = response.ended or "END_STREAM" in frame.flags

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@dataclass
class Request:
    stream: int
    headers: list
    body: bytes = b""
    trailers: dict = field(default_factory=dict)
    reset: int = None

    def __getitem__(self, name):
        return dict(self.headers).get(name)


@dataclass
class Reply:
    status: int = 200
    headers: tuple = ()
    body: bytes = b""
    trailers: tuple = ()


class Http2Backend:
    """Calls respond(request) once a request is complete; a Reply is sent, None means that nothing is.

    `on_event(connection, event)` sees python3-h2's events first, and takes over when it returns True. What it leaves
    in the connection's send buffer is sent.
    """

    def __init__(self, respond=None, tls=None, on_event=None, settings=None):
        self.respond = respond or (lambda request: Reply(body=b"ok"))
        self.on_event, self.tls, self.settings = on_event, tls, settings
        self.requests, self.connections, self.errors, self.sent = [], 0, [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, raw):
        raw.settimeout(30)
        try:
            with (self.tls.wrap_socket(raw, server_side=True) if self.tls else raw) as connection:
                self._serve(connection)
        except (OSError, h2.exceptions.ProtocolError):
            pass  # python3-h2 says so of frames behind its own GOAWAY, too
        except Exception as error:  # noqa: BLE001  (seen by the test)
            self.errors.append(error)

    def _serve(self, connection):
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        if self.settings:
            state.local_settings.update(self.settings)
            state.local_settings.acknowledge()
        state.initiate_connection()
        state.increment_flow_control_window(1 << 20)
        state.socket, state.pending, open_requests = connection, {}, {}
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if self.on_event is None or not self.on_event(state, event):
                    self._handle(state, open_requests, event)
            self._pump(state)
            connection.sendall(state.data_to_send())

    def _handle(self, state, open_requests, event):
        if isinstance(event, h2.events.RequestReceived):
            request = Request(event.stream_id, event.headers)
            open_requests[event.stream_id] = request
            self.requests.append(request)
        elif getattr(event, "stream_id", None) not in open_requests:
            pass  # the test took it over
        elif isinstance(event, h2.events.DataReceived):
            open_requests[event.stream_id].body += event.data
            if event.flow_controlled_length:
                state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            open_requests[event.stream_id].trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            open_requests[event.stream_id].reset = int(event.error_code)
            state.pending.pop(event.stream_id, None)
        elif isinstance(event, h2.events.StreamEnded):
            reply = self.respond(open_requests[event.stream_id])
            if reply is not None:
                self.send_reply(state, event.stream_id, reply)

    def send_reply(self, state, stream, reply):
        is_empty = not reply.body and not reply.trailers
        state.send_headers(stream, [(":status", str(reply.status)), *reply.headers], end_stream=is_empty)
        if not is_empty:
            state.pending[stream] = [memoryview(reply.body), reply.trailers]

    def _pump(self, state):
        """Sends what the windows let through."""
        for stream, waiting in list(state.pending.items()):
            body, trailers = waiting
            while len(body):
                size = min(len(body), state.local_flow_control_window(stream), state.max_outbound_frame_size)
                if size <= 0:
                    break
                state.send_data(stream, bytes(body[:size]), end_stream=size == len(body) and not trailers)
                self.sent += size
                body = body[size:]
            waiting[0] = body
            if not len(body):
                if trailers:
                    state.send_headers(stream, list(trailers), end_stream=True)
                del state.pending[stream]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_listener(self.listener)
        assert not self.errors, self.errors
