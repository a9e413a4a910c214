#!/usr/bin/python3
"""Measures pillion-proxy beside haproxy, nginx and nghttpx: one backend, one load generator, one proxy at a time.

Usage: run.py --bin DIR [--seconds 4] [--rounds 3] [--connections 64] [--body 128] [--only NAME,…] [--json]
Everyone does the same work: HTTP/1.1 with keep-alive on both sides, one worker, a JSON access log to a file, a request
id made and sent on, Via added. The proxy is pinned to the last CPU; nginx as backend and wrk share the others. The
contenders take turns, round after round, and the median of each figure is printed, with the ratio of ours to the
best peer. Where the load's CPU is the limit, requests per second say little: CPU per request decides.
"""
import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_SECONDS_MAX = 10
NGINX_LOG = ("log_format access escape=json '{\"timestamp\":\"$time_iso8601\",\"method\":\"$request_method\",\"path\":\"$request_uri\","
             "\"authority\":\"$host\",\"status\":$status,\"protocol\":\"$server_protocol\",\"bytes_sent\":$body_bytes_sent,"
             "\"duration\":$request_time,\"upstream_duration\":\"$upstream_response_time\",\"upstream\":\"$upstream_addr\","
             "\"downstream\":\"$remote_addr:$remote_port\",\"request_id\":\"$request_id\"}';")
HAPROXY_LOG = ("{\\\"timestamp\\\":\\\"%t\\\",\\\"method\\\":\\\"%HM\\\",\\\"path\\\":\\\"%HU\\\",\\\"status\\\":%ST,\\\"protocol\\\":\\\"%HV\\\","
               "\\\"bytes_sent\\\":%B,\\\"duration_ms\\\":%Ta,\\\"upstream_ms\\\":%Tr,\\\"upstream\\\":\\\"%si:%sp\\\","
               "\\\"downstream\\\":\\\"%ci:%cp\\\",\\\"request_id\\\":\\\"%ID\\\",\\\"flags\\\":\\\"%tsc\\\"}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def nginx_file(directory, port, location, http=""):
    return f"""
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  {http}
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  keepalive_requests 100000000; tcp_nodelay on;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ {location} }}
  }}
}}
"""


class Peer:
    """A running proxy (or the backend): its process, its port, and what it used."""

    def __init__(self, name, command, port, cpus, output=subprocess.DEVNULL):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE,
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
        # schedstat counts nanoseconds, /proc/PID/stat only ticks; all threads count.
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def proportional_mib(self):
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) / 1024

    def stop(self):
        self.process.terminate()
        try:
            return self.process.communicate(timeout=10)[1].decode(errors="replace")[-2000:]
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()[1].decode(errors="replace")[-2000:]


def start_pillion(directory, options, port, backend, cpus):
    file = directory / f"proxy-{port}.toml"
    own = [free_port() for _ in range(5)]
    file.write_text(f"""
access_log = {{ path = "{directory}/pillion.log" }}
explicit = [{{ listen = "127.0.0.1:{port}", upstream = "backend" }}]
inbound = {{ listen = "127.0.0.1:{own[0]}" }}
outbound = {{ listen = "127.0.0.1:{own[1]}" }}
health = {{ listen = "127.0.0.1:{own[2]}" }}
prometheus = {{ listen = "127.0.0.1:{own[3]}" }}
admin = {{ listen = "127.0.0.1:{own[4]}" }}
drain = {{ minimum = "0s" }}
[upstream.backend]
address = ["127.0.0.1:{backend}"]
""")
    return Peer("pillion-proxy", [str(options.bin / "pillion-proxy"), "--config", str(file)], port, cpus)


def start_haproxy(directory, _, port, backend, cpus):
    file = directory / f"haproxy-{port}.cfg"
    file.write_text(f"""
global
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "{HAPROXY_LOG}"
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:{port}
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
  default_backend out
backend out
  server one 127.0.0.1:{backend}
""")
    with open(directory / "haproxy.log", "ab") as log:
        return Peer("haproxy", ["haproxy", "-db", "-f", str(file)], port, cpus, log)


def start_nginx(directory, name, port, backend, cpus, log_options):
    place = directory / f"{name}-{port}"
    place.mkdir()
    http = (f"{NGINX_LOG} access_log {directory}/{name}.log access{log_options}; upstream backend {{ server 127.0.0.1:{backend}; "
            "keepalive 256; keepalive_requests 100000000; }")
    location = ("proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host; "
                "proxy_set_header X-Request-ID $request_id; proxy_set_header Via '1.1 nginx'; add_header Via '1.1 nginx'; "
                "add_header X-Request-ID $request_id;")
    (place / "nginx.conf").write_text(nginx_file(place, port, location, http))
    return Peer(name, ["nginx", "-c", str(place / "nginx.conf"), "-e", str(place / "error.log")], port, cpus)


def start_nghttpx(directory, _, port, backend, cpus):
    log = ('{"timestamp":"$time_iso8601","method":"$method","path":"$path","authority":"$http_host","status":$status,'
           '"protocol":"$protocol","bytes_sent":$body_bytes_sent,"duration":$request_time,"upstream":"$backend_host:$backend_port",'
           '"downstream":"$remote_addr:$remote_port"}')
    file = directory / f"nghttpx-{port}.conf"
    file.write_text(f"frontend=127.0.0.1,{port};no-tls\nbackend=127.0.0.1,{backend}\nworkers=1\nsingle-process=yes\n"
                    f"accesslog-file={directory}/nghttpx.log\nerrorlog-file={directory}/nghttpx.err\naccesslog-format={log}\n")
    return Peer("nghttpx", ["nghttpx", f"--conf={file}"], port, cpus)


CONTENDERS = {
    "pillion-proxy": start_pillion,
    "haproxy": start_haproxy,
    "nginx": lambda directory, _, port, backend, cpus: start_nginx(directory, "nginx", port, backend, cpus, ""),
    "nginx-buffered": lambda directory, _, port, backend, cpus: start_nginx(
        directory, "nginx-buffered", port, backend, cpus, " buffer=64k flush=1s"),
    "nghttpx": start_nghttpx,  # makes no request id
}


def to_microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


def measure(peer, options, cpus):
    """One wrk run against a peer, as a dictionary."""
    def load(seconds):
        command = ["wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{peer.port}/"]
        return subprocess.run(command, capture_output=True, text=True, check=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, cpus)).stdout
    load(1)
    before = peer.cpu_seconds()
    result = load(options.seconds)
    used = peer.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", result).group(1))
    errors = re.search(r"(Socket errors|Non-2xx).*", result)
    percentile = {key: to_microseconds(re.search(rf"^\s+{key}%\s+(\S+)", result, re.M).group(1)) for key in (50, 99)}
    return {"name": peer.name, "requests_per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", result).group(1)),
            "p50_us": percentile[50], "p99_us": percentile[99], "cpu_ms_per_1000": used / max(requests, 1) * 1e6,
            "pss_mib": peer.proportional_mib(), "errors": errors.group(0) if errors else ""}


def median_of(rows):
    merged = dict(rows[0])
    for key in ("requests_per_second", "p50_us", "p99_us", "cpu_ms_per_1000", "pss_mib"):
        merged[key] = statistics.median(row[key] for row in rows)
    merged["errors"] = " ".join(sorted({row["errors"] for row in rows if row["errors"]}))
    return merged


def print_table(rows, options):
    print(f"{options.connections} connections, body of {options.body} bytes, median of {options.rounds} rounds of {options.seconds} s")
    print(f"{'':16}{'requests/s':>12}{'CPU ms/1000':>13}{'p50 us':>10}{'p99 us':>10}{'PSS MiB':>9}")
    for row in rows:
        print(f"{row['name']:16}{row['requests_per_second']:12.0f}{row['cpu_ms_per_1000']:13.2f}{row['p50_us']:10.0f}"
              f"{row['p99_us']:10.0f}{row['pss_mib']:9.1f}  {row['errors']}")
    peers = [row for row in rows if row["name"] not in ("pillion-proxy", "(no proxy)")]
    ours = next((row for row in rows if row["name"] == "pillion-proxy"), None)
    if not peers or not ours:
        return
    cpu = min(peers, key=lambda row: row["cpu_ms_per_1000"])
    speed = max(peers, key=lambda row: row["requests_per_second"])
    if options.body >= 1 << 16:
        gib = {row["name"]: row["cpu_ms_per_1000"] / 1e6 / options.body * (1 << 30) for row in rows}
        print("CPU seconds per GiB: " + ", ".join(f"{name} {value:.2f}" for name, value in gib.items() if name != "(no proxy)"))
    print(f"ours / best peer: CPU per request {ours['cpu_ms_per_1000'] / cpu['cpu_ms_per_1000']:.2f} ({cpu['name']}), "
          f"requests/s {ours['requests_per_second'] / speed['requests_per_second']:.2f} ({speed['name']})")


def run_rounds(options, directory, proxy_cpus, load_cpus):
    place = directory / "backend"
    place.mkdir()
    port = free_port()
    location = f'return 200 "{"x" * options.body}";'
    if options.body > 2048:  # more than a word of nginx's configuration holds
        (place / "body.txt").write_text("x" * options.body)
        location = f"root {place}; try_files /body.txt =404;"
    (place / "nginx.conf").write_text(nginx_file(place, port, location, "access_log off; sendfile on;"))
    backend = Peer("(no proxy)", ["nginx", "-c", str(place / "nginx.conf"), "-e", str(place / "error.log")], port, load_cpus)
    results = {}
    try:
        for _ in range(options.rounds):
            results.setdefault(backend.name, []).append(measure(backend, options, load_cpus))
            for name in options.only:
                peer = CONTENDERS[name](directory, options, free_port(), backend.port, proxy_cpus)
                try:
                    results.setdefault(name, []).append(measure(peer, options, load_cpus))
                finally:
                    peer.stop()
                for log in directory.glob("*.log"):
                    log.unlink()
    finally:
        backend.stop()
    return [median_of(rows) for rows in results.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, type=Path)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--body", type=int, default=128)
    parser.add_argument("--only", type=lambda text: text.split(","), default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    installed = [name for name in CONTENDERS if name == "pillion-proxy" or shutil.which(name.split("-")[0])]
    options.only = [name for name in installed if not options.only or name in options.only]
    missing = [tool for tool in ("wrk", "nginx") if not shutil.which(tool)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (make bench installs them)")
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="pillion-bench-") as name:
        rows = run_rounds(options, Path(name), {cpus[-1]}, set(cpus[:-1]) or {cpus[-1]})
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
