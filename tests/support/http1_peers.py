"""The same bytes to several HTTP/1 proxies: what the client got and what the backend behind each one saw.

    with Recorder() as backend, Nginx(workspace, backend.port) as peer:
        outcome = ask(peer.port, backend, b"GET / HTTP/1.1\\r\\n…")     # an Outcome

`ask` sends the bytes, then one request of its own for /last, so that a connection that lives on ends; a connection that
neither answers nor closes for `patience` seconds counts as waiting.
"""
import re
import socket
from dataclasses import dataclass, field

from support.pillion_testing import Program, RawClient, free_port, wait_until
from support.proxy_lab import RawBackend

LAST = b"GET /last HTTP/1.1\r\nHost: last.test\r\nConnection: close\r\n\r\n"


@dataclass
class Outcome:
    statuses: list = field(default_factory=list)  # final ones, /last included
    requests: list = field(default_factory=list)  # complete at the backend: (method, target, body), without /last
    is_waiting: bool = False
    is_last_served: bool = False
    text: bytes = b""

    @property
    def verdict(self):
        """In a word: `refused`, `closed`, `waits`, or `served N` for N requests at the backend."""
        if self.requests:
            return f"served {len(self.requests)}"
        if self.is_waiting:
            return "waits"
        if not self.statuses:
            return "closed"
        return "served 0" if self.is_last_served else "refused"


    @property
    def answer(self):
        """Each final response in a word or two: `200 POST /x 5` as the backend saw it, `400 why` where Pillion refused;
        `waits` when more was waited for. /last is left out."""
        seen, told, reasons = list(self.requests), [], iter(re.findall(rb"\r\n\r\npillion: ([^\n]*) \(", self.text))
        for status in self.statuses:
            if status != 200:
                told.append(f"{status} {next(reasons, b'').decode()}".strip())
            elif seen:
                method, target, body = seen.pop(0)
                told.append(f"200 {method} {target} {len(body)}")
        told += [f"unanswered {method} {target} {len(body)}" for method, target, body in seen]
        return told + ["waits"] * self.is_waiting


class Recorder(RawBackend):
    """A lenient reader of requests: records each complete one and answers 200."""

    def __init__(self):
        self.seen = []
        super().__init__(self._serve_all)

    def _serve_all(self, connection):
        while True:
            head = connection.read_until(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:] if line}
            body = b""
            if "chunked" in fields.get("transfer-encoding", "").lower():
                while size := int(connection.read_until(b"\r\n").split(b";")[0], 16):
                    body += connection.read_exactly(size + 2)[:-2]
                while connection.read_until(b"\r\n") != b"\r\n":
                    pass
            elif "content-length" in fields:
                body = connection.read_exactly(int(fields["content-length"]))
            method, _, rest = lines[0].partition(" ")
            self.seen.append((method, rest.rpartition(" ")[0], body))
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + ("" if method == "HEAD" else "ok"))


def statuses_of(data):
    """Codes of the final responses in `data`; the bodies that our backend and the proxies send hold no status line."""
    return [code for code in map(int, re.findall(rb"HTTP/1\.[01] (\d{3})[ \r]", data)) if code >= 200]


def ask(port, backend, payload, patience=2.0):
    outcome, before = Outcome(), len(backend.seen)
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.settimeout(patience)
        try:
            connection.sendall(payload + LAST)
            while data := connection.recv(65536):
                outcome.text += data
        except TimeoutError:
            outcome.is_waiting = True
        except OSError:
            pass
    outcome.statuses = statuses_of(outcome.text)
    new = backend.seen[before:]
    outcome.is_last_served = any(one[1].endswith("/last") for one in new)
    outcome.requests = [one for one in new if not one[1].endswith("/last")]
    return outcome


def answer_to(port, request, patience=30):
    """What a client makes of the answer to one request that closes: `200 5` (status and bytes of the body), `200 5 cut
    off` when the end did not come, `502 why` where Pillion refused the upstream's answer."""
    with RawClient(port, timeout=patience) as client:
        client.send(request)
        data = b""
        try:
            while part := client.socket.recv(65536):
                data += part
        except OSError:
            pass
    head, _, rest = data.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 1") and not head.startswith(b"HTTP/1.1 101"):
        head, _, rest = rest.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    if refusal := re.match(rb"pillion: ([^\n]*) \(", rest):
        return f"{status} {refusal.group(1).decode()}"
    body, is_whole = rest, True
    if b"transfer-encoding: chunked" in head.lower():
        body, is_whole = b"", False
        while (line := rest.partition(b"\r\n"))[1]:
            size, rest = int(line[0], 16), line[2]
            if size == 0:
                is_whole = True
                break
            body, rest = body + rest[:size], rest[size + 2:]
    elif declared := re.search(rb"(?i)\r\ncontent-length: (\d+)", head):
        is_whole = len(body) == int(declared.group(1)) or status == 304
    return f"{status} {len(body)}" + ("" if is_whole else " cut off")


class Peer:
    """A proxy from Debian, started from a configuration on a free port, stopped by its handle."""

    def __init__(self, directory, argv):
        self.program = Program(argv, directory)
        try:
            wait_until(self._answers, what=argv[0])
        except AssertionError:
            self.program.close()
            raise AssertionError(self.program.output) from None

    def _answers(self):
        assert self.program.is_running(), self.program.output
        with socket.create_connection(("127.0.0.1", self.port), 5):
            return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.stop()


class Nginx(Peer):
    def __init__(self, directory, backend_port):
        self.port = free_port()
        directory = directory / "nginx"
        directory.mkdir()
        (directory / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log; user root;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  large_client_header_buffers 4 64k; lingering_close off;
  upstream backend {{ server 127.0.0.1:{backend_port}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{self.port};
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    }}
  }}
}}
""")
        super().__init__(directory, ["nginx", "-c", directory / "nginx.conf"])


class Haproxy(Peer):
    def __init__(self, directory, backend_port):
        self.port = free_port()
        directory = directory / "haproxy"
        directory.mkdir()
        (directory / "haproxy.cfg").write_text(f"""
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend front
  bind 127.0.0.1:{self.port}
  default_backend back
backend back
  server one 127.0.0.1:{backend_port}
""")
        super().__init__(directory, ["haproxy", "-db", "-f", directory / "haproxy.cfg"])
