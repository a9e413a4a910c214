#!/usr/bin/python3
"""Measures pillion-proxy beside haproxy and nginx: one backend, one load generator, one proxy at a time.

Usage: run.py --bin DIR [--seconds 5] [--connections 32] [--json]
Each proxy forwards 127.0.0.1 → nginx with keep-alive on both sides and one worker, pinned to the last CPU; the
backend and wrk share the others. Prints requests per second, latencies, CPU per request and memory, and the ratio
to each peer. Figures of a busy machine are noise: look at the ratios of one run, on a quiet one.
"""
import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_SECONDS_MAX = 10
BODY = "x" * 1024


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def nginx_file(directory, port, location, access_log):
    return f"""
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {access_log};
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  keepalive_requests 10000000;
  upstream backend {{ server 127.0.0.1:{location if isinstance(location, int) else 1}; keepalive 256;
                      keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ {"proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection '';"
                   if isinstance(location, int) else location} }}
  }}
}}
"""


class Peer:
    """A running proxy (or the backend): its process, its port, and what it used."""

    def __init__(self, name, command, port, cpus):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{name} did not start:\n{self.stop()}") from None
                time.sleep(0.05)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) / 1024

    def stop(self):
        self.process.terminate()
        try:
            return self.process.communicate(timeout=10)[1].decode(errors="replace")[-2000:]
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()[1].decode(errors="replace")[-2000:]


def start_pillion(directory, programs, port, backend, cpus):
    file = directory / "proxy.toml"
    admin = [free_port() for _ in range(3)]
    file.write_text(f"""
access_log = {{ path = "{directory}/pillion.log" }}
explicit = [{{ listen = "127.0.0.1:{port}", upstream = "backend" }}]
inbound = {{ listen = "127.0.0.1:{free_port()}" }}
outbound = {{ listen = "127.0.0.1:{free_port()}" }}
health = {{ listen = "127.0.0.1:{admin[0]}" }}
prometheus = {{ listen = "127.0.0.1:{admin[1]}" }}
admin = {{ listen = "127.0.0.1:{admin[2]}" }}
[upstream.backend]
address = ["127.0.0.1:{backend}"]
""")
    return Peer("pillion-proxy", [str(programs / "pillion-proxy"), "--config", str(file)], port, cpus)


def start_haproxy(directory, port, backend, cpus):
    file = directory / "haproxy.cfg"
    file.write_text(f"""
global
  nbthread 1
  log {directory}/none local0
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:{port}
  unique-id-format %{{+X}}o%ci:%cp_%fi:%fp_%Ts_%rt
  unique-id-header X-Request-ID
  default_backend out
backend out
  server one 127.0.0.1:{backend}
""")
    return Peer("haproxy", ["haproxy", "-db", "-f", str(file)], port, cpus)


def start_nginx(directory, name, port, location, cpus, access_log="off"):
    (directory / name).mkdir()
    file = directory / name / "nginx.conf"
    file.write_text(nginx_file(directory / name, port, location, access_log))
    return Peer(name, ["nginx", "-c", str(file), "-e", str(directory / name / "error.log")], port, cpus)


def to_microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


def measure(peer, options, cpus):
    """One wrk run against a peer, as a dictionary."""
    command = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "--latency",
               f"http://127.0.0.1:{peer.port}/"]
    subprocess.run([*command[:3], "-d1s", command[-1]], capture_output=True, check=True)
    before = peer.cpu_seconds()
    result = subprocess.run(command, capture_output=True, text=True, check=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    used = peer.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", result.stdout).group(1))
    errors = re.search(r"(Socket errors|Non-2xx).*", result.stdout)
    percentile = {key: to_microseconds(re.search(rf"{key}%\s+(\S+)", result.stdout).group(1)) for key in (50, 99)}
    return {"name": peer.name, "requests_per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", result.stdout).group(1)),
            "p50_us": percentile[50], "p99_us": percentile[99], "cpu_us_per_request": used / max(requests, 1) * 1e6,
            "resident_mib": peer.resident_mib(), "errors": errors.group(0) if errors else ""}


def print_table(rows):
    print(f"{'':16}{'requests/s':>12}{'p50 us':>10}{'p99 us':>10}{'cpu us/req':>12}{'MiB':>8}")
    for row in rows:
        print(f"{row['name']:16}{row['requests_per_second']:12.0f}{row['p50_us']:10.0f}{row['p99_us']:10.0f}"
              f"{row['cpu_us_per_request']:12.1f}{row['resident_mib']:8.1f}  {row['errors']}")
    ours = next(row for row in rows if row["name"] == "pillion-proxy")
    for row in rows:
        if row["name"] in ("haproxy", "nginx"):
            print(f"pillion-proxy / {row['name']}: {ours['requests_per_second'] / row['requests_per_second']:.2f} x "
                  f"requests per second, {ours['cpu_us_per_request'] / row['cpu_us_per_request']:.2f} x CPU")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, type=Path)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missing = [tool for tool in ("wrk", "haproxy", "nginx") if not shutil.which(tool)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (make bench installs them)")
    cpus = sorted(os.sched_getaffinity(0))
    ours, rest = {cpus[-1]}, set(cpus[:-1]) or {cpus[-1]}
    rows = []
    with tempfile.TemporaryDirectory(prefix="pillion-bench-") as name:
        directory = Path(name)
        backend = start_nginx(directory, "backend", free_port(), f'return 200 "{BODY}";', rest)
        starts = [lambda port: start_pillion(directory, options.bin, port, backend.port, ours),
                  lambda port: start_haproxy(directory, port, backend.port, ours),
                  lambda port: start_nginx(directory, "nginx", port, backend.port, ours, f"{directory}/access.log")]
        try:
            rows.append(measure(backend, options, rest))
            for start in starts:
                peer = start(free_port())
                try:
                    rows.append(measure(peer, options, rest))
                finally:
                    peer.stop()
        finally:
            backend.stop()
    rows[0]["name"] = "(no proxy)"
    print(json.dumps(rows, indent=2) if options.json else "", end="")
    if not options.json:
        print_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
