"""An HTTP app with controllable behaviour: in a test's own process, or as the app of a service.

As a program (`python3 http_app.py --port 8080 [--address 0.0.0.0] [--not-ready-until FILE]`) it answers:
  /healthz            200, or 503 while the file of --not-ready-until is absent
  /echo               what it was sent, as JSON: method, path, headers, length and sha256 of the body
  /status/N           status N
  /delay/SECONDS      200 after that many seconds
  /bytes/N            N bytes with Content-Length;  /chunked/N  the same in chunks
  /close              closes the connection without answering
  /call?url=URL       makes that request itself (as an app calls its upstream) and returns {status, headers, body}
  /env                its environment as JSON;  /identity  pid, uid, gid, peer address of this request
  /allocate?mib=N     keeps N MiB (for memory limits)
  /append?file=F&line=L  appends a line to a file
SIGTERM ends it after the requests in flight; --ignore-sigterm makes it deaf.

In a test: `app = HttpApp()`; `app.port`; `app.requests` lists what came, as (method, path, headers, length);
`app.respond = lambda request: (status, headers, body)` overrides the routes above.
"""
import argparse
import hashlib
import http.client
import http.server
import json
import os
import signal
import socketserver
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

CHUNK = 65536
_kept_memory = []


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _read_body(self):
        digest, length = hashlib.sha256(), 0
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                digest.update(self.rfile.read(size))
                length += size
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left > 0 and (data := self.rfile.read(min(CHUNK, left))):
                digest.update(data)
                length += len(data)
                left -= len(data)
        self.body_length, self.body_sha256 = length, digest.hexdigest()

    def _send(self, status, body=b"", headers=None):
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if not any(key.lower() == "content-length" for key in headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_json(self, value, status=200):
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _handle(self):
        self._read_body()
        app = self.server.app
        app.requests.append((self.command, self.path, dict(self.headers), self.body_length))
        if app.respond:
            status, headers, body = app.respond(self)
            return self._send(status, body, headers)
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        words = parts.path.strip("/").split("/")
        route = getattr(self, f"_route_{words[0]}", None)
        if route is None:
            return self._send_json({"error": "no such path"}, 404)
        return route(words[1:], query)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _handle

    def _route_healthz(self, _words, _query):
        gate = self.server.app.not_ready_until
        ready = gate is None or os.path.exists(gate)
        self._send(200 if ready else 503, b"ok\n" if ready else b"not yet\n")

    def _route_echo(self, _words, _query):
        self._send_json({"method": self.command, "path": self.path, "headers": dict(self.headers),
                         "length": self.body_length, "sha256": self.body_sha256})

    def _route_status(self, words, _query):
        self._send(int(words[0]), f"status {words[0]}\n".encode())

    def _route_delay(self, words, _query):
        time.sleep(float(words[0]))
        self._send(200, b"late\n")

    def _route_bytes(self, words, _query):
        left = int(words[0])
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        while left > 0:
            left -= self.wfile.write(b"x" * min(CHUNK, left))

    def _route_chunked(self, words, _query):
        left = int(words[0])
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while left > 0:
            size = min(CHUNK, left)
            self.wfile.write(b"%x\r\n" % size + b"x" * size + b"\r\n")
            left -= size
        self.wfile.write(b"0\r\n\r\n")

    def _route_close(self, _words, _query):
        self.close_connection = True

    def _route_call(self, _words, query):
        try:
            with urllib.request.urlopen(query["url"], timeout=30) as response:
                self._send_json({"status": response.status, "headers": dict(response.headers),
                                 "body": response.read().decode(errors="replace")})
        except urllib.error.HTTPError as error:
            self._send_json({"status": error.code, "headers": dict(error.headers),
                             "body": error.read().decode(errors="replace")})
        except (OSError, http.client.HTTPException) as error:
            self._send_json({"status": 0, "headers": {}, "body": str(error)})

    def _route_env(self, _words, _query):
        self._send_json(dict(os.environ))

    def _route_identity(self, _words, _query):
        self._send_json({"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid(),
                         "peer": self.client_address[0]})

    def _route_allocate(self, _words, query):
        _kept_memory.append(b"x" * (int(query["mib"]) << 20))
        self._send(200, b"kept\n")

    def _route_append(self, _words, query):
        with open(query["file"], "a", encoding="utf-8") as file:
            file.write(query["line"] + "\n")
        self._send(200, b"written\n")


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = True

    def handle_error(self, _request, _address):
        """A peer that goes away is normal here; anything else is worth seeing."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            super().handle_error(_request, _address)


class HttpApp:
    """The server above, on a thread of this process. Close it, or use `with`."""

    def __init__(self, address="127.0.0.1", port=0, not_ready_until=None):
        self.requests = []
        self.respond = None
        self.not_ready_until = not_ready_until
        self._server = _Server((address, port), _Handler)
        self._server.app = self
        self.port = self._server.server_address[1]
        self.url = f"http://{address}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--not-ready-until")
    parser.add_argument("--ignore-sigterm", action="store_true")
    arguments = parser.parse_args()
    # Blocked in every thread and taken by sigwait: a Python handler of a main thread that waits for a
    # lock is now and then not run, and the app then looks like one that ignores the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    app = HttpApp(arguments.address, arguments.port, arguments.not_ready_until)
    app.requests = _Discard()
    print(f"listening on {arguments.address}:{app.port}", flush=True)
    signal.sigwait({signal.SIGTERM})
    while arguments.ignore_sigterm:
        signal.sigwait({signal.SIGTERM})
    app.close()


class _Discard:
    """Stands in for the request list of a long-running program, which nobody reads."""

    def append(self, _item):
        pass


if __name__ == "__main__":
    main()
