#!/usr/bin/env python3
"""The supervisor beside supervisord, s6 and runit, in one run: time from the command to five running children,
CPU while idle with ten children (ours also probes them), proportional memory. Prints one table and the overhead of
a bridged service. Needs root; see docs/performance.md."""
import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

CHILD = "echo > {directory}/ready.{number}; exec sleep 100000"


def pillion(directory, count, bin_directory):
    text = '[network]\nmode = "host"\n[service]\nstop_grace = "5s"\n'
    for number in range(count):
        table = "app" if number == 0 else f"sidecar.s{number}"
        command = CHILD.format(directory=directory, number=number)
        text += f'[{table}]\ncommand = ["/bin/sh", "-c", "{command}"]\n'
        text += f'readiness_probe = {{ tcp = {{ port = {PROBED.getsockname()[1]} }}, period = "10s" }}\n'
    path = directory / f"bench-{os.getpid()}.toml"
    path.write_text(text)
    return [f"{bin_directory}/pillion", "run", path]


def supervisord(directory, count, _):
    text = f"[supervisord]\nnodaemon=true\nlogfile={directory}/supervisord.log\npidfile={directory}/pid\n"
    for number in range(count):
        text += f"[program:c{number}]\ncommand=/bin/sh -c '{CHILD.format(directory=directory, number=number)}'\n"
    path = directory / "supervisord.conf"
    path.write_text(text)
    return ["supervisord", "-c", path]


def scan_directory(directory, count):
    for number in range(count):
        service = directory / "scan" / f"c{number}"
        service.mkdir(parents=True)
        (service / "run").write_text("#!/bin/sh\n" + CHILD.format(directory=directory, number=number) + "\n")
        (service / "run").chmod(0o755)
    return directory / "scan"


def s6(directory, count, _):
    return ["s6-svscan", scan_directory(directory, count)]


def runit(directory, count, _):
    return ["runsvdir", scan_directory(directory, count)]


def below(pid):
    """pid and all processes below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(word) for word in task.read_text().split()]
    return found


def is_child(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip() in ("sleep", "sh")


def cpu_seconds(pids):
    """By the scheduler's own count, in nanoseconds: the ticks of /proc/PID/stat are too coarse for who is idle."""
    return sum(int(path.read_text().split()[0]) for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def pss_kib(pids):
    return sum(int(line.split()[1]) for pid in pids
               for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))


class Running:
    def __init__(self, make, count, bin_directory):
        self.directory = Path(tempfile.mkdtemp(prefix="bench-", dir="/run"))
        env = {**os.environ, "PILLION_RUNTIME_DIR": str(self.directory / "run"),
               "PILLION_STATE_DIR": str(self.directory / "state"), "PILLION_LOG_DIR": str(self.directory / "log")}
        argv = make(self.directory, count, bin_directory)
        ready = [self.directory / f"ready.{number}" for number in range(count)]
        began = time.perf_counter()
        self.process = subprocess.Popen([str(word) for word in argv], env=env, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        while not all(path.exists() for path in ready):
            if time.perf_counter() - began > 60 or self.process.poll() is not None:
                raise RuntimeError(f"{argv[0]} did not start its children")
            time.sleep(0.0005)
        self.milliseconds = (time.perf_counter() - began) * 1000

    def close(self):
        pids = below(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in pids[1:]:  # s6 and runit leave children behind; these are ours
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.directory, ignore_errors=True)


def bare(count):
    """fork and exec of the same children, by nobody."""
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        began = time.perf_counter()
        processes = [subprocess.Popen(["/bin/sh", "-c", CHILD.format(directory=directory, number=number)])
                     for number in range(count)]
        while not all(os.path.exists(f"{directory}/ready.{number}") for number in range(count)):
            time.sleep(0.0005)
        milliseconds = (time.perf_counter() - began) * 1000
        for process in processes:
            process.kill()
            process.wait()
    return milliseconds


def measure(make, options):
    starts = []
    for _ in range(options.rounds):
        running = Running(make, 5, options.bin)
        starts.append(running.milliseconds)
        running.close()
    running = Running(make, 10, options.bin)
    try:
        time.sleep(2)
        own = [pid for pid in below(running.process.pid) if not is_child(pid)]
        before, began = cpu_seconds(own), time.monotonic()
        time.sleep(options.idle_seconds)
        share = (cpu_seconds(own) - before) / (time.monotonic() - began) * 100
        return statistics.median(starts), share, pss_kib(own) / 1024
    finally:
        running.close()


ALONE = """
[service]
stop_grace = "5s"
[network]
mode = "host"
[app]
command = ["/bin/sleep", "100000"]
"""
BRIDGED = """
[service]
stop_grace = "5s"
[volume.logs]
path = "/var/log/bench"
[volume.secrets]
path = "/run/secrets"
tmpfs = "1MiB"
[app]
command = ["/bin/sleep", "100000"]
mounts = ["logs", "secrets:ro"]
[adapter.logs]
use = "logs"
mounts = ["logs:ro"]
[[adapter.logs.config.input]]
file = "/var/log/bench/app.log"
[ambassador.vault]
use = "secrets"
mounts = ["secrets"]
[[ambassador.vault.config.file]]
path = "/run/secrets/password"
source = "file"
secret = "{directory}/password"
[sidecar.proxy]
use = "proxy"
[sidecar.other]
command = ["/bin/sleep", "100000"]
user = "nobody"
"""


def until_ready(text, options):
    """Milliseconds from the command to READY=1, told as systemd is told."""
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir="/run"))
    directory.chmod(0o755)
    (directory / "password").write_text("secret")
    path = directory / f"bench-{os.getpid()}.toml"
    path.write_text(text.replace("{directory}", str(directory)))
    env = {**os.environ, "PILLION_RUNTIME_DIR": str(directory / "run"), "PILLION_STATE_DIR": str(directory / "state"),
           "PILLION_LOG_DIR": str(directory / "log"), "NOTIFY_SOCKET": str(directory / "notify")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as parent:
        parent.bind(str(directory / "notify"))
        parent.settimeout(60)
        began = time.perf_counter()
        with open(directory / "output", "wb") as output:
            process = subprocess.Popen([f"{options.bin}/pillion", "run", path], env=env, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output)
        try:
            while b"READY=1" not in parent.recv(4096):
                pass
            return (time.perf_counter() - began) * 1000
        except TimeoutError:
            raise RuntimeError((directory / "output").read_text()) from None
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(directory, ignore_errors=True)


def print_bridged(options):
    alone, full = [], []
    for _ in range(options.rounds):  # in turn, so that both bear what else the machine does
        alone.append(until_ready(ALONE, options))
        full.append(until_ready(BRIDGED, options))
    base, whole = statistics.median(alone), statistics.median(full)
    print(f"\n| until READY=1 | ms | ratio |\n|---|---|---|\n| an app alone, host mode | {base:.0f} | 1.0 |\n"
          f"| bridged, with four helpers | {whole:.0f} | {whole / base:.1f} |\n\noverhead {whole - base:.0f} ms")


def print_peers(options):
    base = statistics.median(bare(5) for _ in range(options.rounds))
    print(f"| | ms to 5 children | idle CPU % | PSS MiB |\n|---|---|---|---|\n| fork and exec alone | {base:.1f} | – | – |")
    for make, program in ((pillion, f"{options.bin}/pillion"), (s6, "s6-svscan"), (runit, "runsvdir"),
                          (supervisord, "supervisord")):
        if shutil.which(program) is None:
            print(f"| {make.__name__} | not installed | | |")
            continue
        start, share, pss = measure(make, options)
        print(f"| {make.__name__} | {start:.1f} | {share:.3f} | {pss:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="directory of our programs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle-seconds", type=int, default=60)
    parser.add_argument("--only", choices=["peers", "bridged"])
    options = parser.parse_args()
    if options.only != "bridged":
        print_peers(options)
    if options.only != "peers":
        print_bridged(options)


PROBED = socket.create_server(("127.0.0.1", 0), backlog=4096)

if __name__ == "__main__":
    main()
