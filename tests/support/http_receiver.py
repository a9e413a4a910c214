"""An HTTP server in the test's own process that keeps what it is asked and answers by a function.

    with HttpReceiver(lambda request: (503, b"busy") if request.number == 1 else (200, b"")) as receiver:
        ...                             # something that asks receiver.url
    receiver.requests[0].body           # everything that came, in order
    receiver.accepted[0].headers        # what was answered with less than 300
"""
import gzip
import http.server
import threading


class Request:
    """`number` counts from 1; a body that came as gzip is unpacked; `headers` are looked up in any case."""

    def __init__(self, handler):
        self.number = None
        self.method, self.path, self.headers = handler.command, handler.path, handler.headers
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if handler.headers.get("Content-Encoding") == "gzip":
            self.body = gzip.decompress(self.body)


class HttpReceiver:
    """`answer(request) -> (status, body) or (status, headers, body)` runs in a thread of each connection, beside others;
    who keeps something of its own there does it with `lock`. Any other method than `methods` is answered 501."""

    def __init__(self, answer=lambda request: (200, b""), methods=("POST",)):
        self.answer = answer
        self.requests, self.accepted = [], []
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler(methods))
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def bodies(self):
        return [request.body for request in list(self.accepted)]

    def handler(receiver, methods):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def respond(self):
                request = Request(self)
                with receiver.lock:
                    receiver.requests.append(request)
                    request.number = len(receiver.requests)
                status, *headers, body = receiver.answer(request)
                if status < 300:
                    receiver.accepted.append(request)
                self.send_response(status)
                for key, value in headers[0].items() if headers else ():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        for method in methods:
            setattr(Handler, f"do_{method}", Handler.respond)
        return Handler
