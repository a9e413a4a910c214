"""Running pillion-metrics by itself: a configuration, what it shows, statsd clients, a receiver of pushes.

    lab = MetricsLab(workspace)
    with lab.start('[[input]]\\nstatsd = { udp = "127.0.0.1:@port:statsd@" }'):
        lab.udp("hits:1|c")
        lab.wait_for("hits_total", 1)
"""
import gzip
import http.server
import re
import socket
import threading

from support.pillion_testing import Program, free_port, http_get, run, wait_until

SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
OPEN = {"Accept": "application/openmetrics-text; version=1.0.0"}


def parse(text):
    """{(name, ((label, value), …)): number} of all samples."""
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = SAMPLE.match(line).groups()
            key = (name, tuple(sorted(LABEL.findall(labels or ""))))
            assert key not in samples, f"twice: {line}"
            samples[key] = float(value)
    return samples


class MetricsLab:
    def __init__(self, workspace):
        self.directory = workspace
        self.config = workspace / "metrics.toml"
        self.ports = {}
        self.notify_path = str(workspace / "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.notify_path)
        self.notify.setblocking(False)
        self.messages = []

    def port(self, key):
        if key not in self.ports:
            self.ports[key] = free_port()
        return self.ports[key]

    def fill_in(self, text):
        text = text.replace("@dir@", str(self.directory))
        return re.sub(r"@port:(\w+)@", lambda match: str(self.port(match.group(1))), text)

    def configure(self, text):
        self.config.write_text(self.fill_in(f'listen = "127.0.0.1:@port:metrics@"\n{text}\n'))

    def start(self, text, wait_ready=True, **env):
        self.configure(text)
        environment = {"PILLION_SERVICE": "lab", "NOTIFY_SOCKET": self.notify_path, "PILLION_LOG_FORMAT": "text",
                       "PILLION_LOG_LEVEL": "debug", **env}
        program = Program(["pillion-metrics", "--config", self.config], self.directory, env=environment)
        if wait_ready:
            wait_until(lambda: "READY=1" in self.drain_messages() or not program.is_running(), what="ready")
            assert program.is_running(), program.output
        return program

    def drain_messages(self):
        while True:
            try:
                self.messages += self.notify.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.messages

    def receipt(self):
        line = next(m for m in self.drain_messages() if m.startswith("X_PILLION_RECEIPT="))
        return {key: int(value) for key, value in (pair.split("=") for pair in line.split("=", 1)[1].split())}

    # ---- What it shows

    def get(self, path="/metrics", headers=None):
        return http_get(f"http://127.0.0.1:{self.port('metrics')}{path}", headers=headers)

    def text(self, headers=None):
        reply = self.get(headers=headers)
        assert reply.status == 200
        return reply.body.decode()

    def samples(self):
        return parse(self.text())

    def value(self, name, /, **labels):
        """The one sample of that name with (at least) these labels; None when there is none."""
        found = [value for (each, pairs), value in self.samples().items()
                 if each == name and labels.items() <= dict(pairs).items()]
        assert len(found) < 2, f"{name}{labels} is not one series: {found}"
        return found[0] if found else None

    def wait_for(self, name, value=None, /, **labels):
        """Waits until there is such a sample, with that value when one is given; returns the value."""
        def look():
            seen = self.value(name, **labels)
            return seen is not None and (value is None or seen == value) and (seen,)
        return wait_until(look, what=f"{name}{labels} = {value}")[0]

    def wait_until_gone(self, name):
        wait_until(lambda: not any(each == name for each, _ in self.samples()), what=f"{name} to go")

    def wait_until_up(self, source):
        self.wait_for("pillion_metrics_source_up", 1, source=source)

    def check_formats(self):
        """promtool has nothing against the text, and the OpenMetrics document is whole."""
        path = self.directory / "exposition.txt"
        path.write_text(self.text())
        checked = run(["/bin/sh", "-c", f"promtool check metrics < {path}"])
        assert checked.returncode == 0, checked.stdout + checked.stderr
        reply = self.get(headers=OPEN)
        assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert reply.body.endswith(b"\n# EOF\n") and reply.body.count(b"# EOF") == 1
        parse(reply.body.decode())

    # ---- Statsd clients

    def udp(self, *lines, key="statsd"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto("\n".join(lines).encode(), ("127.0.0.1", self.port(key)))

    def unix(self, *lines, path="statsd.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto("\n".join(lines).encode(), str(self.directory / path))


class HttpSource:
    """A server on 127.0.0.1 that answers what `pages` says: {path: bytes, or callable(handler) -> bytes}."""

    def __init__(self, pages):
        self.pages = pages
        self.requests = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def handler(source):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                self.body = self.rfile.read(length)
                if self.headers.get("Content-Encoding") == "gzip":
                    self.body = gzip.decompress(self.body)
                source.requests.append((self.path, dict(self.headers), self.body))
                page = source.pages.get(self.path)
                status, headers = 200, {}
                if callable(page):
                    page = page(self)
                if isinstance(page, tuple):
                    status, headers, page = page
                if page is None:
                    status, page = 404, b"no such page\n"
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            do_GET = do_POST = answer

        return Handler
