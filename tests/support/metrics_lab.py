"""Running pillion-metrics by itself: a configuration, what it shows, statsd clients, a receiver of pushes.

    lab = MetricsLab(workspace)
    with lab.start('[[input]]\\nstatsd = { udp = "127.0.0.1:@port:statsd@" }'):
        lab.udp("hits:1|c")
        lab.wait_for("hits_total", 1)
"""
import re
import socket

from support.adapter_lab import AdapterLab
from support.http_receiver import HttpReceiver
from support.pillion_testing import free_port, http_get, run, wait_until

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


class MetricsLab(AdapterLab):
    def __init__(self, workspace):
        super().__init__("metrics", workspace)
        self.ports = {}

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
        return self.run(wait_ready, **env)

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


def serve_pages(pages):
    """A server that answers what `pages` says: {path: bytes, or callable(request) -> an answer of HttpReceiver's or
    bytes}."""
    def answer(request):
        page = pages.get(request.path)
        page = page(request) if callable(page) else page
        if page is None:
            return 404, b"no such page\n"
        return page if isinstance(page, tuple) else (200, page)
    return HttpReceiver(answer, ("GET", "POST"))
