#!/usr/bin/python3
"""Measures the network of a service, in one run: how long each mode takes to build and to take down, and what a call from
the app to the outside costs, beside plain loopback and beside a bare veth pair with address translation.

Usage: run.py --bin DIR [--rounds 5] [--seconds 2] [--set-ups 50] [--only set-up|calls] [--json]
Outside is nginx in a network namespace of its own, joined to this machine by a veth pair. Calls are made by wrk with
one connection (median latency) and with 16 (requests per second, and MB/s with bodies of 1 MiB); the paths take turns,
round after round, and the best of each figure is printed: what else the machine does can only slow a call. Needs root,
wrk, nginx, nft. See docs/performance.md.
"""
import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

OUTSIDE, PORT = "198.18.77.2", 8088  # 198.18.0.0/15 is for benchmarks (RFC 2544)
APP = 10001
NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  access_log off; keepalive_requests 100000000; tcp_nodelay on; sendfile on;
  server {{ listen {port} backlog=4096; root {directory}; location /small {{ return 200 "0123456789"; }} }}
}}
"""
SERVICE = """
[network]
mode = "{mode}"
[app]
command = ["/bin/sleep", "100000"]
user = "{app}:{app}"
[network.intercept]
inbound = false
outbound = true
[sidecar.proxy]
use = "proxy"
[sidecar.proxy.config.access_log]
enabled = false
"""


def run(command, **options):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **options).stdout


class Outside:
    """A machine elsewhere, as far as routing goes."""

    def __init__(self, stack):
        self.name = f"bench-outside-{os.getpid()}"
        self.link = f"bo{os.getpid()}"
        run(["ip", "netns", "add", self.name])
        stack.callback(run, ["ip", "netns", "delete", self.name])
        run(["ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name])
        run(["ip", "address", "add", "198.18.77.1/24", "dev", self.link])
        run(["ip", "link", "set", self.link, "up"])
        for words in (["address", "add", f"{OUTSIDE}/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                      ["link", "set", "lo", "up"]):
            run(["ip", "-n", self.name, *words])
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        os.chmod(directory, 0o755)
        (Path(directory) / "large").write_bytes(os.urandom(1 << 20))
        (Path(directory) / "nginx.conf").write_text("user root;\n" + NGINX.format(directory=directory, port=PORT))
        nginx = subprocess.Popen(["ip", "netns", "exec", self.name, "nginx", "-p", directory, "-c",
                                  f"{directory}/nginx.conf"], stdin=subprocess.DEVNULL)
        stack.callback(end, nginx)
        wait_for(lambda: urllib.request.urlopen(f"http://{OUTSIDE}:{PORT}/small", timeout=1).status == 200)


def end(process, signo=signal.SIGTERM):
    process.send_signal(signo)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            sys.exit("bench-netns: a part of the lab did not start")
        time.sleep(0.02)


class BarePair:
    """A namespace with a veth pair and masquerading, and nothing else."""

    def __init__(self, stack):
        self.name = f"bench-bare-{os.getpid()}"
        link, table = f"bb{os.getpid()}", f"bench_{os.getpid()}"
        run(["ip", "netns", "add", self.name])
        stack.callback(run, ["ip", "netns", "delete", self.name])
        run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.name])
        run(["ip", "address", "add", "198.18.78.1/24", "dev", link])
        run(["ip", "link", "set", link, "up"])
        for words in (["address", "add", "198.18.78.2/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                      ["route", "add", "default", "via", "198.18.78.1"]):
            run(["ip", "-n", self.name, *words])
        run(["nft", f"table ip {table} {{ chain nat {{ type nat hook postrouting priority 100; "
             "ip saddr 198.18.78.2 masquerade; }; }"])
        stack.callback(run, ["nft", "delete", "table", "ip", table])
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def prefix(self):
        return ["ip", "netns", "exec", self.name]


class Service:
    """A running service; calls are made as its app."""

    def __init__(self, mode, options, stack):
        self.directory = stack.enter_context(tempfile.TemporaryDirectory())
        self.name = f"bench-{mode}-{os.getpid()}"
        self.pillion = f"{options.bin}/pillion"
        path = Path(self.directory) / f"{self.name}.toml"
        path.write_text(SERVICE.format(mode=mode, app=APP))
        process = subprocess.Popen([self.pillion, "run", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        stack.callback(end, process)
        wait_for(lambda: self.status().get("ready"), 60)

    def status(self):
        answer = subprocess.run([self.pillion, "status", self.name, "--json"], capture_output=True, text=True, check=False)
        return json.loads(answer.stdout) if answer.returncode == 0 else {}

    def prefix(self):
        return [self.pillion, "exec", self.name, "app", "--"]


def load(prefix, connections, seconds, target):
    """wrk's figures: requests per second, MB per second, median latency in microseconds."""
    text = run([*prefix, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", target])
    assert "Non-2xx" not in text, text
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    size, unit = re.search(r"Transfer/sec:\s+([\d.]+)(\w+)", text).groups()
    delay, scale = re.search(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
    return {"rate": rate, "megabytes": float(size) * {"KB": 1e-3, "MB": 1, "GB": 1e3}.get(unit, 1e-6),
            "latency": float(delay) * {"us": 1, "ms": 1e3, "s": 1e6}[scale]}


def measure_calls(options):
    with contextlib.ExitStack() as stack:
        outside = Outside(stack)
        address = f"http://{OUTSIDE}:{PORT}"
        paths = {
            "loopback": (["ip", "netns", "exec", outside.name], f"http://127.0.0.1:{PORT}"),
            "direct (veth)": ([], address),
            "bare veth + NAT": (BarePair(stack).prefix(), address),
            "host + proxy": (Service("host", options, stack).prefix(), address),
            "bridged + proxy": (Service("bridged", options, stack).prefix(), address),
            "sealed + proxy": (Service("sealed", options, stack).prefix(), address),
        }
        seen = {name: {"latency": [], "rate": [], "megabytes": []} for name in paths}
        for _ in range(options.rounds):
            for name, (prefix, base) in paths.items():
                seen[name]["latency"].append(load(prefix, 1, options.seconds, base + "/small")["latency"])
                seen[name]["rate"].append(load(prefix, 16, options.seconds, base + "/small")["rate"])
                seen[name]["megabytes"].append(load(prefix, 16, options.seconds, base + "/large")["megabytes"])
        best = {"latency": min, "rate": max, "megabytes": max}
        return {name: {key: best[key](values) for key, values in figures.items()} for name, figures in seen.items()}


def timed(command, document):
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], input=document, check=True, capture_output=True, text=True)
    return (time.perf_counter() - began) * 1000


def processes_only(options):
    """What starting a process that does nothing costs here."""
    return statistics.median(timed([f"{options.bin}/pillion-netns", "--version"], "") for _ in range(options.set_ups))


def iproute_set_up():
    """The same namespace and pair by ip(8), one command after the other."""
    name, link = f"bench-ip-{os.getpid()}", f"bi{os.getpid()}"
    began = time.perf_counter()
    for words in (["netns", "add", name], ["-n", name, "link", "set", "lo", "up"],
                  ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name],
                  ["address", "add", "198.18.79.1/30", "dev", link], ["link", "set", link, "up"],
                  ["-n", name, "address", "add", "198.18.79.2/30", "dev", "eth0"],
                  ["-n", name, "link", "set", "eth0", "up"],
                  ["-n", name, "route", "add", "default", "via", "198.18.79.1"]):
        run(["ip", *words])
    built = time.perf_counter()
    run(["ip", "link", "delete", link])
    run(["ip", "netns", "delete", name])
    return (built - began) * 1000, (time.perf_counter() - built) * 1000


def measure_set_up(options):
    program = f"{options.bin}/pillion-netns"
    figures = {}
    for mode, backend in (("bridged", "nftables"), ("bridged", "iptables"), ("sealed", "nftables"), ("host", "nftables")):
        wanted = {"service": f"bench-{os.getpid()}", "mode": mode,
                  "intercept": {"inbound_ports": [8080], "backend": backend, "only_uids": [APP] if mode == "host" else []}}
        document = json.dumps(wanted)
        times = {"create": [], "capture": [], "remove": []}
        for _ in range(options.set_ups):
            for command, values in times.items():
                values.append(timed([program, command], document))
        label = mode if backend == "nftables" else f"{mode}, iptables"
        figures[label] = {command: statistics.median(values) for command, values in times.items()}
    pairs = [iproute_set_up() for _ in range(options.set_ups)]
    figures["ip(8), no rules"] = {"create": statistics.median(pair[0] for pair in pairs), "capture": 0.0,
                                  "remove": statistics.median(pair[1] for pair in pairs)}
    return figures


def print_set_up(figures, process):
    print(f"\nBuilding and taking down, ms (median; starting a process alone: {process:.1f})\n")
    print("| | create | capture | set-up | remove |\n|---|---|---|---|---|")
    for name, row in figures.items():
        print(f"| {name} | {row['create']:.1f} | {row['capture']:.1f} | {row['create'] + row['capture']:.1f} "
              f"| {row['remove']:.1f} |")


def print_calls(figures):
    base = figures["direct (veth)"]["latency"]
    hop = figures["host + proxy"]["latency"]
    print("\nCalls from the app to the outside\n")
    print("| path | latency p50, µs | above the wire, µs | beside host + proxy | requests/s | MB/s |\n|---|---|---|---|---|---|")
    for name, row in figures.items():
        print(f"| {name} | {row['latency']:.0f} | {row['latency'] - base:+.0f} | {row['latency'] / hop:.2f} "
              f"| {row['rate']:.0f} | {row['megabytes']:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="directory of our programs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--set-ups", type=int, default=50)
    parser.add_argument("--only", choices=["set-up", "calls"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {}
    if options.only != "calls":
        result["process"], result["set_up"] = processes_only(options), measure_set_up(options)
        if not options.json:
            print_set_up(result["set_up"], result["process"])
    if options.only != "set-up":
        result["calls"] = measure_calls(options)
        if not options.json:
            print_calls(result["calls"])
    if options.json:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
