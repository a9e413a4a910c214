#!/usr/bin/env python3
"""What pillion-metrics costs: statsd samples per CPU-second by Unix datagrams and UDP (datagrams of 1,400 bytes, 1,000
series with three tags, a third of them timers), memory idle and with 10,000 series, time of a scrape. Prints a table;
see docs/performance.md.

    tests/bench/metrics/run.py [--bin build/release/bin] [--samples 5000000]
"""
import argparse
import os
import random
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = '''listen = "127.0.0.1:{port}"
max_series = 20000
[[input]]
[input.statsd]
udp = "127.0.0.1:{udp}"
socket = "{directory}/statsd.sock"
'''


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def datagrams(series, count=512, size=1400):
    """Datagrams of whole lines; returns them with the number of samples of each."""
    rng, made = random.Random(1), []
    for _ in range(count):
        lines, length = [], 0
        while True:
            n = rng.randrange(series)
            kind = ("c", "g", "ms")[n % 3]
            line = f"shop.orders.handled{n % 50}:{rng.randrange(1000)}|{kind}|#region:eu-{n % 7},queue:q{n},code:200"
            if length + len(line) > size:
                break
            lines.append(line)
            length += len(line) + 1
        made.append(("\n".join(lines).encode(), len(lines)))
    return made


class Adapter:
    def __init__(self, program, directory):
        self.directory, self.port, self.udp = directory, free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
        config = directory / "metrics.toml"
        config.write_text(CONFIG.format(port=self.port, udp=self.udp, directory=directory))
        self.process = subprocess.Popen([program, "--config", config], stderr=subprocess.DEVNULL)
        while True:
            try:
                self.get("/ready")
                return
            except OSError:
                time.sleep(0.01)

    def get(self, path="/metrics"):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30).read().decode()

    def own(self, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.get().splitlines() if line.startswith(name))

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self):
        """Private and proportional set size in MiB."""
        facts = dict(line.split(":") for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()[1:])
        kib = {key: int(value.split()[0]) for key, value in facts.items()}
        return (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024, kib["Pss"] / 1024

    def close(self):
        self.process.terminate()
        self.process.wait()


def load(adapter, wanted, series, is_udp):
    """Samples a CPU-second, the share that was lost, and seconds."""
    batch = datagrams(series)
    client = socket.socket(socket.AF_INET if is_udp else socket.AF_UNIX, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", adapter.udp) if is_udp else str(adapter.directory / "statsd.sock"))
    before, cpu, began, sent = adapter.own("pillion_metrics_statsd_samples_total"), adapter.cpu(), time.monotonic(), 0
    while sent < wanted:
        for datagram, samples in batch:
            client.send(datagram)
            sent += samples
    client.close()
    seen = -1
    while True:  # until nothing more comes
        now = adapter.own("pillion_metrics_statsd_samples_total") - before
        if now == seen:
            break
        seen = now
        time.sleep(0.05)
    return seen / (adapter.cpu() - cpu), 1 - seen / sent, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--samples", type=int, default=5_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        adapter = Adapter(Path(arguments.bin) / "pillion-metrics", Path(directory))
        try:
            print("idle: private {:.1f} MiB, proportional {:.1f} MiB".format(*adapter.memory()))
            for name, is_udp in (("Unix datagrams", False), ("UDP", True)):
                rate, lost, seconds = load(adapter, arguments.samples, 1000, is_udp)
                print(f"{name}: {rate / 1e6:.2f} M samples a CPU-second, {lost:.1%} lost, {seconds:.1f} s")
            print("1,000 series: private {:.1f} MiB, proportional {:.1f} MiB".format(*adapter.memory()))
            load(adapter, 200_000, 10_000, False)
            began = time.monotonic()
            size = len(adapter.get())
            print(f"scrape of {adapter.own('pillion_metrics_series '):.0f} series: {size / 1e6:.1f} MB in "
                  f"{(time.monotonic() - began) * 500:.0f} ms")
            print("private {:.1f} MiB, proportional {:.1f} MiB".format(*adapter.memory()))
        finally:
            adapter.close()


if __name__ == "__main__":
    main()
