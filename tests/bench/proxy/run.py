#!/usr/bin/python3
"""Measures pillion-proxy beside haproxy, nginx and nghttpx, row by row: one backend, one load, one proxy at a time.

Usage: run.py --bin DIR [--rows NAME,…] [--only NAME,…] [--seconds 2] [--rounds 3] [--json] [--markdown]
Everyone does the same work: keep-alive on both sides, one worker, a JSON access log to a file, a request id made and
sent on, Via added. The proxy is pinned to the last CPU; nginx as backend and the load share the others. The contenders
take turns, round after round, and the median of each figure is printed, with the ratio of ours to the best peer.
Where the load's CPU is the limit, requests per second say little: CPU per request decides.
"""
import argparse
import json
import os
import re
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers import CONTENDERS, Bench, Pair, free_port, installed, start_backend

# Figures: name → (title, unit of the table, whether less is better).
FIGURES = {
    "rps": ("requests/s", "{:.0f}", False), "cpu": ("CPU ms/1000", "{:.2f}", True), "p50": ("p50 µs", "{:.0f}", True),
    "p99": ("p99 µs", "{:.0f}", True), "cpu_each": ("CPU ms each", "{:.3f}", True), "cpu_gib": ("CPU s/GiB", "{:.3f}", True),
    "mib": ("PSS MiB", "{:.1f}", True), "kib_each": ("KiB each", "{:.2f}", True), "added50": ("added p50 µs", "{:.0f}", True),
    "added99": ("added p99 µs", "{:.0f}", True),
}


@dataclass
class Row:
    title: str
    front: str
    back: str
    load: str
    figures: tuple
    body: int = 128
    connections: int = 64
    streams: int = 1
    rate: int = 0
    without: tuple = ()  # peers that cannot do it


ROWS = {
    "http1": Row("HTTP/1.1, 64 connections", "http1", "http1", "wrk", ("rps", "cpu", "p50", "p99", "mib")),
    "single": Row("HTTP/1.1, 1 connection", "http1", "http1", "wrk", ("added50", "added99", "cpu"), connections=1),
    "tls": Row("TLS 1.3, keep-alive, 64 connections", "tls", "http1", "wrk", ("rps", "cpu", "p50", "p99")),
    "handshake": Row("TLS 1.3 handshakes", "tls", "http1", "handshakes", ("cpu_each",)),
    "handshake-mtls": Row("TLS 1.3 handshakes with client certificate", "mtls", "http1", "handshakes", ("cpu_each",)),
    "handshake-resumed": Row("TLS 1.3 handshakes, resumed", "tls", "http1", "resumptions", ("cpu_each",), without=("nginx-buffered",)),
    "h2": Row("HTTP/2 over TLS, 8 × 32 streams, to HTTP/1.1", "h2", "http1", "h2load", ("rps", "cpu"), connections=8, streams=32),
    "h2c": Row("HTTP/2 in plain text, 8 × 32 streams, to HTTP/1.1", "h2c", "http1", "h2load", ("rps", "cpu"), connections=8, streams=32),
    "grpc": Row("gRPC unary, HTTP/2 on both sides, 8 × 32 streams", "h2c", "h2c", "grpc", ("rps", "cpu"), connections=8, streams=32),
    "body64k": Row("bodies of 64 KiB", "http1", "http1", "wrk", ("cpu_gib", "rps"), body=64 << 10, connections=16),
    "body1m": Row("bodies of 1 MiB", "http1", "http1", "wrk", ("cpu_gib", "rps"), body=1 << 20, connections=16),
    "tcp": Row("TCP relay, 4 × 256 MiB", "tcp", "tcp", "downloads", ("cpu_gib",), body=256 << 20, connections=4, without=("nghttpx", "nginx-buffered")),
    "hops1000": Row("two hops with mTLS, 1,000 requests/s", "http1", "mtls", "paced", ("added50", "added99", "cpu"), connections=10, rate=1000, without=("nghttpx", "nginx-buffered")),
    "hops5000": Row("two hops with mTLS, 5,000 requests/s", "http1", "mtls", "paced", ("added50", "added99", "cpu"), connections=10, rate=5000, without=("nghttpx", "nginx-buffered")),
    "idle": Row("idle, nothing served yet", "http1", "http1", "nothing", ("mib",), without=("nginx-buffered",)),
    "idle-connections": Row("5,000 idle connections", "http1", "http1", "idle", ("kib_each",), connections=5000, without=("nginx-buffered",)),
    "idle-tls": Row("2,000 idle connections with TLS", "tls", "http1", "idle", ("kib_each",), connections=2000, without=("nginx-buffered",)),
}


def to_microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


def scheme_of(front):
    return "https" if front in ("tls", "mtls", "h2") else "http"


class Load:
    """One run of a row's load against a peer; each method returns figures."""

    def __init__(self, bench, row, options):
        self.bench, self.row, self.options = bench, row, options

    def run(self, *command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                              preexec_fn=lambda: os.sched_setaffinity(0, self.bench.load_cpus))
        if done.returncode != 0:
            raise SystemExit(f"{command[0]} failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
        return done.stdout

    def measure(self, peer, front):
        return {"name": peer.name, "errors": "", **getattr(self, self.row.load)(peer, front)}

    def per_request(self, used, requests):
        gib = requests * self.row.body / (1 << 30)
        return {"cpu": used / max(requests, 1) * 1e6, "cpu_gib": used / max(gib, 1e-9)}

    def wrk(self, peer, front):
        def load(seconds):
            return self.run("wrk", "-t1", f"-c{self.row.connections}", f"-d{seconds}s", "--latency", f"{scheme_of(front)}://127.0.0.1:{peer.port}/")
        load(1)
        before = peer.cpu_seconds()
        text = load(self.options.seconds)
        used = peer.cpu_seconds() - before
        requests = int(re.search(r"(\d+) requests in", text).group(1))
        errors = re.search(r"(Socket errors|Non-2xx).*", text)
        percentile = {key: to_microseconds(re.search(rf"^\s+{key}%\s+(\S+)", text, re.M).group(1)) for key in (50, 99)}
        return {"rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), "p50": percentile[50], "p99": percentile[99],
                "added50": percentile[50], "added99": percentile[99], "mib": peer.proportional_mib(),
                "errors": errors.group(0) if errors else "", **self.per_request(used, requests)}

    def h2load(self, peer, front, *extra):
        def load(seconds):
            return self.run("h2load", "-t1", f"-c{self.row.connections}", f"-m{self.row.streams}", "-D", seconds, *extra,
                            f"{scheme_of(front)}://127.0.0.1:{peer.port}/bench.Service/Call")
        load(1)
        before = peer.cpu_seconds()
        text = load(self.options.seconds)
        used = peer.cpu_seconds() - before
        succeeded, failed = re.search(r"requests: .* (\d+) succeeded, (\d+) failed", text).groups()
        return {"rps": float(re.search(r"finished in .*?, ([\d.]+) req/s", text).group(1)),
                "errors": f"{failed} failed" if int(failed) else "", **self.per_request(used, int(succeeded))}

    def grpc(self, peer, front):
        message = self.bench.directory / "message"
        message.write_bytes(b"\x00\x00\x00\x00\x64" + b"m" * 100)
        return self.h2load(peer, front, "-d", message, "-H", "content-type: application/grpc", "-H", "te: trailers")

    def handshakes(self, peer, front, mode="-new"):
        keys = self.bench.certificates
        client = ["-cert", keys.certificate, "-key", keys.key] if front == "mtls" else []
        if front == "http1":
            return {}
        before = peer.cpu_seconds()
        text = self.run("openssl", "s_time", "-connect", f"127.0.0.1:{peer.port}", mode, "-time", self.options.seconds, "-tls1_3", *client,
                        "-www", "/")
        used = peer.cpu_seconds() - before
        # Two lines of this form with both modes; the last is of what was asked for.
        count = int(re.findall(r"(\d+) connections in [\d.]+ real seconds", text)[-1])
        return {"cpu_each": used / max(count, 1) * 1e3}

    def resumptions(self, peer, front):
        return self.handshakes(peer, front, "-reuse")

    def downloads(self, peer, _front):
        before = peer.cpu_seconds()
        command = f"for i in {' '.join(map(str, range(self.row.connections)))}; do curl -sf -o /dev/null http://127.0.0.1:{peer.port}/ & done; wait"
        self.run("sh", "-c", command)
        used = peer.cpu_seconds() - before
        return {"cpu_gib": used / (self.row.connections * self.row.body / (1 << 30))}

    def paced(self, peer, front):
        log = self.bench.directory / "paced.log"
        log.unlink(missing_ok=True)
        before = peer.cpu_seconds()
        self.run("h2load", "--h1", "-t1", f"-c{self.row.connections}", f"--rps={self.row.rate / self.row.connections}", "-D", self.options.seconds,
                 f"--log-file={log}", f"{scheme_of(front)}://127.0.0.1:{peer.port}/")
        used = peer.cpu_seconds() - before
        times = sorted(int(line.split()[2]) for line in log.read_text().splitlines() if int(line.split()[1]) < 400)
        return {"added50": times[len(times) // 2], "added99": times[len(times) * 99 // 100], **self.per_request(used, len(times))}

    def nothing(self, peer, _front):
        time.sleep(1)  # whatever they still do after their ports are open
        return {"mib": peer.proportional_mib()}

    def idle(self, peer, front):
        """Connections that made one request each and stay."""
        if peer.name == "(no proxy)":
            return {}
        context = ssl.create_default_context(cafile=str(self.bench.certificates.authority))
        context.check_hostname = False
        kept = []

        def connect(count):
            for _ in range(count):
                one = socket.create_connection(("127.0.0.1", peer.port), 10)
                kept.append(context.wrap_socket(one, server_hostname="bench.test") if scheme_of(front) == "https" else one)
                kept[-1].sendall(b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n")
                data = b""
                while b"x" * self.row.body not in data:
                    data += kept[-1].recv(65536)
        try:
            connect(50)  # so that code which only now is needed does not count
            time.sleep(1)
            before = peer.proportional_mib()
            connect(self.row.connections)
            return {"kib_each": (peer.proportional_mib() - before) * 1024 / self.row.connections}
        finally:
            for one in kept:
                one.close()


# ---- Rounds and tables --------------------------------------------------------------------------


def start_contender(name, bench, row, backend):
    if row.back != "mtls":
        return CONTENDERS[name](bench, row, backend, free_port())
    far = CONTENDERS[name](bench, Row("", "mtls", "http1", "", ()), backend, free_port())
    return Pair(CONTENDERS[name](bench, Row("", "http1", "mtls", "", ()), far.port, free_port()), far)


def run_row(bench, row, options):
    load = Load(bench, row, options)
    # Without load there is no backend either: nginx beside nginx would share half of its pages.
    backend = start_backend(bench, row.body, "h2c" if row.back == "h2c" else "http1") if row.load != "nothing" else None
    backend_port = backend.port if backend else free_port()
    plain = {"h2": "h2c", "tls": "http1", "mtls": "http1"}.get(row.front, row.front)
    results = {}
    try:
        for _ in range(options.rounds):
            direct = {}
            if backend and (row.front in ("h2", "h2c")) == (row.back == "h2c"):
                direct = load.measure(backend, plain)
                results.setdefault(backend.name, []).append(direct)
            for name in options.only:
                if name in row.without:
                    continue
                peer = start_contender(name, bench, row, backend_port)
                try:
                    result = load.measure(peer, row.front)
                finally:
                    peer.stop()
                for key in ("added50", "added99"):
                    if key in result and key in direct:
                        result[key] = max(result[key] - direct[key], 1)
                results.setdefault(name, []).append(result)
                for log in bench.directory.glob("*.log"):
                    log.unlink()
    finally:
        if backend:
            backend.stop()
    return [median_of(rows, row) for rows in results.values()]


def median_of(rows, row):
    merged = {"name": rows[0]["name"], "errors": " ".join(sorted({one["errors"] for one in rows if one["errors"]}))}
    for key in row.figures:
        values = [one[key] for one in rows if key in one]
        if values:
            merged[key] = statistics.median(values)
    return merged


def ratios_of(rows, row):
    """Ours ÷ the best peer, by figure: (ratio, peer)."""
    ours = next((one for one in rows if one["name"] == "pillion-proxy"), {})
    ratios = {}
    for key in row.figures:
        peers = [one for one in rows if one["name"] not in ("pillion-proxy", "(no proxy)") and key in one and not one["errors"]]
        if key not in ours or not peers:
            continue
        best = (min if FIGURES[key][2] else max)(peers, key=lambda one: one[key])
        ratios[key] = (ours[key] / max(best[key], 1e-9), best["name"])
    return ratios


def print_table(row, rows, ratios):
    print(f"\n{row.title}")
    print(f"{'':16}" + "".join(f"{FIGURES[key][0]:>14}" for key in row.figures))
    for one in rows:
        cells = "".join(f"{FIGURES[key][1].format(one[key]) if key in one else '–':>14}" for key in row.figures)
        print(f"{one['name']:16}{cells}  {one['errors']}")
    print("ours / best:    " + "".join(f"{ratios[key][0]:>14.2f}" if key in ratios else f"{'–':>14}" for key in row.figures), flush=True)


def print_markdown(everything):
    """The table of docs/performance.md: every figure of every row beside the best peer's."""
    print("| row | | ours | best peer | ratio |\n|---|---|---|---|---|")
    for key, result in everything.items():
        named = {one["name"]: one for one in result["rows"]}
        for position, (figure, (ratio, best)) in enumerate(result["ratios"].items()):
            title, form, _ = FIGURES[figure]
            ours, theirs = form.format(named["pillion-proxy"][figure]), form.format(named[best][figure])
            print(f"| {ROWS[key].title if position == 0 else ''} | {title} | {ours} | {theirs} ({best}) | {ratio:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, type=Path)
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS))
    parser.add_argument("--only", type=lambda text: text.split(","), default=None)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="at the end, the table of docs/performance.md")
    options = parser.parse_args()
    options.only = [name for name in installed() if not options.only or name in options.only]
    missing = [tool for tool in ("wrk", "nginx", "h2load", "curl", "openssl") if not shutil.which(tool)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (make bench installs them)")
    if unknown := [name for name in options.rows if name not in ROWS]:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    cpus = sorted(os.sched_getaffinity(0))
    everything = {}
    with tempfile.TemporaryDirectory(prefix="pillion-bench-") as name:
        bench = Bench(Path(name), options.bin, {cpus[-1]}, set(cpus[:-1]) or {cpus[-1]})
        for key in options.rows:
            rows = run_row(bench, ROWS[key], options)
            ratios = ratios_of(rows, ROWS[key])
            everything[key] = {"rows": rows, "ratios": ratios}
            if not options.json:
                print_table(ROWS[key], rows, ratios)
    if options.json:
        print(json.dumps(everything, indent=2))
    if options.markdown:
        print_markdown(everything)
    return 0


if __name__ == "__main__":
    sys.exit(main())
