"""Loki, OTLP, HTTP and syslog: what arrives, and that nothing is lost when receivers fail."""
import collections
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from support.http_receiver import HttpReceiver
from support.log_lab import LogLab, line
from support.pillion_testing import free_port, is_debian_mirror_reachable, run, wait_until
from support.protobuf_wire import protobuf_fields

FILE = 'file = "@dir@/app.log"\ntimezone = "utc"'
COUNT = 500
SOON = 'batch = { max_size = "16KiB", max_wait = "20ms" }\nretry = { base = "10ms", max = "100ms" }\n'


@pytest.fixture
def lab(workspace):
    lab = LogLab(workspace)
    lab.path("app.log").write_text("".join(line(n) for n in range(COUNT)))
    return lab


def run_until(lab, condition):
    with lab.start() as logs:
        wait_until(condition, timeout=60)
        assert logs.stop() == 0, logs.output
    return lab.receipt()


def busy_at_first(request):
    return (503, b"") if request.number % 3 == 1 else (204, b"")


def test_loki_gets_every_line_once_in_streams(lab):
    with HttpReceiver(busy_at_first) as loki:
        lab.configure(FILE, SOON + f'loki = {{ url = "{loki.url}/", tenant = "shop", labels = {{ zone = "eu" }} }}')

        def entries():
            return [(stream["stream"], *value) for body in loki.bodies
                    for stream in json.loads(body)["streams"] for value in stream["values"]]
        receipt = run_until(lab, lambda: len(entries()) >= COUNT)
    assert sorted(json.loads(text)["n"] for _, _, text in entries()) == list(range(COUNT))
    labels, time, _ = entries()[0]
    assert labels == {"zone": "eu", "service_name": "lab", "level": "info", "host": socket.gethostname()}
    assert time == "1705329121000000000"
    first = loki.accepted[0]
    assert first.path == "/loki/api/v1/push" and first.headers["X-Scope-OrgID"] == "shop"
    assert receipt["records_delivered"] == COUNT


def test_loki_a_line_that_is_refused_becomes_a_dead_letter(lab):
    def answer(request):
        return (400, b"entry for stream too far behind") if b'\\"n\\":77,' in request.body else (204, b"")

    with HttpReceiver(answer) as loki:
        lab.configure(FILE, SOON + f'loki = {{ url = "{loki.url}", dead_letter = "@dir@/dead" }}')
        receipt = run_until(lab, lambda: lab.path("dead").exists() and
                            sum(body.count(b'\\"n\\":') for body in loki.bodies) >= COUNT - 1)
    letter, = map(json.loads, lab.path("dead").read_text().splitlines())
    assert letter["document"]["n"] == 77 and letter["error"] == "entry for stream too far behind"
    assert receipt["records_delivered"] == COUNT - 1 and receipt["records_dropped"] == 1


def fields_of(message):
    """Protobuf on the wire: {number: [values]}."""
    found = collections.defaultdict(list)
    for number, value in protobuf_fields(message):
        found[number].append(value)
    return found


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_otlp_gets_every_record(lab, encoding):
    def numbers(body):
        if encoding == "json":
            records = [record for logs in json.loads(body)["resourceLogs"] for scope in logs["scopeLogs"]
                       for record in scope["logRecords"]]
            return [int(attribute["value"]["intValue"]) for record in records
                    for attribute in record["attributes"] if attribute["key"] == "n"]
        found = []
        for logs in fields_of(body)[1]:
            for scope_logs in fields_of(logs)[2]:
                for record in fields_of(scope_logs)[2]:
                    pairs = [fields_of(pair) for pair in fields_of(record)[6]]
                    found += [fields_of(pair[2][0])[3][0] for pair in pairs if pair[1] == [b"n"]]
        return found

    def busy(request):
        return (429, b"") if request.number == 1 else (200, b"")

    with HttpReceiver(busy) as collector:
        lab.configure(FILE, SOON + f'otlp = {{ url = "{collector.url}", encoding = "{encoding}", '
                                   'headers = { x-key = "k" } }')
        run_until(lab, lambda: sum(len(numbers(body)) for body in collector.bodies) >= COUNT)
    assert sorted(n for body in collector.bodies for n in numbers(body)) == list(range(COUNT))
    assert {request.path for request in collector.accepted} == {"/v1/logs"}
    headers = collector.accepted[0].headers
    assert headers["x-key"] == "k"
    assert headers["Content-Type"] == ("application/json" if encoding == "json" else "application/x-protobuf")


def test_http_posts_arrays_of_at_most_max_records_with_a_token(lab):
    lab.path("token").write_text("t0p\n")
    with HttpReceiver(busy_at_first) as receiver:
        lab.configure(FILE, 'batch = { max_records = 7, max_wait = "20ms" }\nretry = { base = "10ms" }\n'
                            f'http = {{ url = "{receiver.url}/in?k=v", body = "json", compress = false, '
                            'auth = { bearer_file = "@dir@/token" } }')

        def records():
            return [record for body in receiver.bodies for record in json.loads(body)]
        run_until(lab, lambda: len(records()) >= COUNT)
    assert sorted(record["n"] for record in records()) == list(range(COUNT))
    assert max(len(json.loads(body)) for body in receiver.bodies) == 7
    first = receiver.accepted[0]
    assert first.path == "/in?k=v" and first.headers["Authorization"] == "Bearer t0p"
    assert "Content-Encoding" not in first.headers


def test_each_output_gets_what_its_filter_wants(lab):
    lab.path("app.log").write_text("".join(
        f"2024-01-15 14:32:01 {'ERROR' if n % 10 == 0 else 'INFO'} n={n} path=/{'healthz' if n % 2 else 'orders'}\n"
        for n in range(COUNT)))
    lab.config.write_text(f'''
[[input]]
file = "{lab.path("app.log")}"
[[output]]
file = {{ path = "{lab.path("errors.json")}" }}
filter = {{ min_level = "warn" }}
[[output]]
file = {{ path = "{lab.path("orders.json")}" }}
filter = {{ exclude = {{ path = "^/healthz" }} }}
[[output]]
file = {{ path = "{lab.path("few.json")}" }}
filter = {{ rate_limit = 5, deduplicate = "1h" }}
''')
    receipt = run_until(lab, lambda: len(lab.records("orders.json")) >= COUNT // 2)
    assert lab.numbers("errors.json") == list(range(0, COUNT, 10))
    assert lab.numbers("orders.json") == list(range(0, COUNT, 2))
    few = len(lab.numbers("few.json"))
    assert 5 <= few < COUNT
    assert receipt["records_read"] == receipt["records_delivered"] == COUNT // 10 + COUNT // 2 + few
    lab.configure(FILE, 'stdout = {}\nfilter = { min_level = "loud" }')
    done = run(["pillion-logs", "--config", lab.config, "--check"], check=78)
    assert 'output 1: filter: min_level: there is no level "loud"' in done.stderr


def test_dead_letters_are_replayed_when_the_receiver_is_mended(lab):
    def refuse_some(request):
        return (400, b"bad") if any(f'"n":{n},'.encode() in request.body for n in (7, 70, 300)) else (200, b"")

    dead = lab.path("dead")
    with HttpReceiver(refuse_some) as receiver:
        lab.configure(FILE, SOON + f'http = {{ url = "{receiver.url}", dead_letter = "{dead}" }}')
        run_until(lab, lambda: sum(body.count(b"\n") for body in receiver.bodies) >= COUNT - 3)
        assert len(dead.read_text().splitlines()) == 3
        done = run(["pillion-logs", "replay", "--config", lab.config, dead], check=1)
        assert done.stdout.startswith("0 sent, 3 refused again")
        assert len(lab.path("dead.refused").read_text().splitlines()) == 3
        receiver.accepted.clear()
        receiver.answer = lambda request: (200, b"")
        done = run(["pillion-logs", "replay", "--config", lab.config, dead], check=0)
        assert done.stdout.startswith("3 sent, 0 refused again, 0 unreadable")
        assert sorted(json.loads(text)["n"] for body in receiver.bodies for text in body.splitlines()) == [7, 70, 300]
        dead.write_text("nonsense\n" + dead.read_text())
        done = run(["pillion-logs", "replay", "--config", lab.config, dead], check=1)
        assert f"{dead}:1: no dead letter" in done.stderr and done.stdout.startswith("3 sent")
    lab.configure(FILE, "stdout = {}")
    done = run(["pillion-logs", "replay", "--config", lab.config, dead], check=78)
    assert "output 1 is none that refuses records" in done.stderr


def test_names_of_opentelemetry(lab):
    lab.path("app.log").write_text("2024-01-15 14:32:01,978 INFO [main] a.B: ready\n")
    lab.configure(FILE, 'file = { path = "@dir@/out.json" }',
                  '[fields]\nnames = "otel"\nrename = { "log.logger" = "logger" }')
    run_until(lab, lambda: lab.records())
    record, = lab.records()
    assert record["body"] == "ready" and record["severity_text"] == "info" and record["thread.name"] == "main"
    assert record["timestamp"] == "2024-01-15T14:32:01.978Z" and record["logger"] == "a.B"
    assert "message" not in record and "@timestamp" not in record


# ---- syslog

class SyslogReceiver:
    """TCP with octet counting; `context` makes it TLS. Closes the first connection after some messages."""

    def __init__(self, context=None, close_after=None):
        self.messages = []
        self.close_after = close_after
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.context:
                    connection = self.context.wrap_socket(connection, server_side=True)
                with connection, connection.makefile("rb") as stream:
                    self.read(stream)
            except OSError:
                pass

    def read(self, stream):
        count = 0
        while True:
            length = b""
            while not length.endswith(b" "):
                byte = stream.read(1)
                if not byte:
                    return
                length += byte
            self.messages.append(stream.read(int(length)).decode())
            count += 1
            if count == self.close_after:
                self.close_after = None
                return

    def numbers(self):
        return [int(message.split(' n="')[1].split('"')[0]) for message in list(self.messages)]


def test_syslog_over_tcp_sends_again_what_a_broken_connection_may_have_lost(lab):
    with SyslogReceiver(close_after=60) as receiver:
        lab.configure(FILE, SOON + f'syslog = {{ address = "127.0.0.1:{receiver.port}", facility = 16 }}')
        receipt = run_until(lab, lambda: set(receiver.numbers()) >= set(range(COUNT)))
    assert receiver.messages[0] == (f"<134>1 2024-01-15T14:32:01Z {socket.gethostname()} lab - - "
                                    f'[fields@32473 n="0" log.file.path="{lab.path("app.log")}"]')
    assert receipt["records_delivered"] == COUNT and receipt["records_pending"] == 0


def test_syslog_over_udp(lab):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        lab.path("app.log").write_text("".join(line(n) for n in range(50)))
        lab.configure(FILE, SOON + 'syslog = { transport = "udp", '
                                   f'address = "localhost:{receiver.getsockname()[1]}" }}')
        with lab.start() as logs:
            messages = [receiver.recv(65536).decode() for _ in range(50)]
            assert logs.stop() == 0, logs.output
    assert all(message.startswith("<14>1 2024-01-15T14:32:01Z ") for message in messages)
    assert ' n="49"' in messages[-1]


def test_syslog_over_tls_only_to_the_receiver_that_is_meant(lab):
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=logs", "-addext", "subjectAltName=DNS:localhost", "-keyout", lab.path("key.pem"),
         "-out", lab.path("cert.pem")], check=0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(lab.path("cert.pem"), lab.path("key.pem"))
    with SyslogReceiver(context) as receiver:
        def configure(host):
            lab.configure(FILE, SOON + f'syslog = {{ address = "{host}:{receiver.port}", '
                                       'tls = { ca_file = "@dir@/cert.pem" } }')
        configure("127.0.0.1")  # the certificate is of another name
        with lab.start(PILLION_DRAIN_SECONDS=2) as logs:
            wait_until(lambda: "IP address mismatch" in logs.stderr)
            assert logs.stop() == 0
        assert not receiver.messages and lab.receipt()["records_delivered"] == 0
        configure("localhost")
        run_until(lab, lambda: set(receiver.numbers()) >= set(range(COUNT)))


@pytest.fixture
def rsyslogd(lab):
    """Debian's rsyslogd, unpacked into the workspace: installing it would start it on this machine."""
    if shutil.which("rsyslogd"):
        return [shutil.which("rsyslogd")], {}
    if not is_debian_mirror_reachable():
        pytest.skip("rsyslogd is not installed and Debian's mirror cannot be reached")
    packages, unpacked = lab.path("packages"), lab.path("unpacked")
    packages.mkdir()
    run(["apt-get", "-q", "download", "rsyslog", "libestr0", "libfastjson4", "liblognorm5"], cwd=packages,
        timeout=120, check=0)
    for package in packages.glob("*.deb"):
        run(["dpkg", "-x", package, unpacked], check=0)
    libraries = ":".join(map(str, unpacked.glob("usr/lib/*-linux-gnu")))
    modules = next(unpacked.glob("usr/lib/*/rsyslog"))
    return [str(unpacked / "usr/sbin/rsyslogd"), "-M", str(modules)], {"LD_LIBRARY_PATH": libraries}


def test_a_real_rsyslog_understands_it(lab, rsyslogd):
    command, env = rsyslogd
    port, out = free_port(), lab.path("rsyslog.out")
    lab.path("rsyslog.conf").write_text(f'''
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="t" type="string" string="%pri% %timereported:::date-rfc3339% %app-name% %structured-data%|%msg%\\n")
action(type="omfile" file="{out}" template="t")
''')
    lab.path("app.log").write_text("2024-01-15 14:32:01 ERROR out of stock sku=A-1 note=\"a]b\"\n")
    daemon = subprocess.Popen([*command, "-n", "-iNONE", "-f", str(lab.path("rsyslog.conf"))],
                              env={**os.environ, **env}, stderr=subprocess.PIPE)
    try:
        lab.configure(FILE, SOON + f'syslog = {{ address = "127.0.0.1:{port}" }}')
        run_until(lab, lambda: out.exists() and out.read_text().endswith("\n"))
    finally:
        daemon.terminate()
        daemon.communicate(timeout=30)
    assert out.read_text().startswith('11 2024-01-15T14:32:01Z lab [fields@32473 sku="A-1" note="a\\]b"')
    assert out.read_text().rstrip().endswith("|out of stock")
