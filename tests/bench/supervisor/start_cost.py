#!/usr/bin/env python3
"""What starting a child costs in CPU time: in the child itself until its program runs, and in supervisor and keeper, by the
difference between few and many children; with the default hardening, without any, and with more. CPU time, because it
says the same on a busy machine. Needs root; see docs/performance.md."""
import argparse
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

NONE = ("{ private_tmp = false, private_devices = false, read_only_system = false, hide_processes = false, seccomp = false, "
        "landlock = false, no_new_privileges = false }")
CASES = {"default": "{}", "none": NONE, "pid_namespace": '{ pid_namespace = "child" }', "seccomp only": NONE.replace(
    "seccomp = false", "seccomp = true"), "landlock only": NONE.replace("landlock = false", "landlock = true"),
    "private_tmp only": NONE.replace("private_tmp = false", "private_tmp = true"),
    "private_devices only": NONE.replace("private_devices = false", "private_devices = true"),
    "read_only_system only": NONE.replace("read_only_system = false", "read_only_system = true")}
CHILD = "echo > {directory}/ready.{number}; exec sleep 100000"


def cpu_ms(pid):
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def children_of(pid):
    return [int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in task.read_text().split()]


def name_of(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def wait_for(directory, count):
    deadline = time.monotonic() + 60
    while not all((directory / f"ready.{number}").exists() for number in range(count)):
        if time.monotonic() > deadline:
            raise RuntimeError("the children do not start")
        time.sleep(0.005)
    time.sleep(0.2)


def start(binaries, count, hardening):
    """CPU of the children's median, and of keeper and supervisor together, once all children run."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/run") as name:
        directory = Path(name)
        text = '[network]\nmode = "host"\n'
        for number in range(count):
            table = "app" if number == 0 else f"sidecar.s{number}"
            command = CHILD.format(directory=directory, number=number)
            text += f'[{table}]\ncommand = ["/bin/sh", "-c", "{command}"]\nhardening = {hardening}\n'
        file = directory / f"bench-{os.getpid()}.toml"
        file.write_text(text)
        env = {**os.environ, "PILLION_RUNTIME_DIR": f"{directory}/run", "PILLION_STATE_DIR": f"{directory}/state",
               "PILLION_LOG_DIR": f"{directory}/log"}
        keeper = subprocess.Popen([f"{binaries}/pillion", "run", file], env=env, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(directory, count)
            below = children_of(keeper.pid)
            programs = [cpu_ms(pid) for pid in below if name_of(pid) == "sleep"]
            own = [pid for pid in below if name_of(pid) != "sleep"] + [keeper.pid]
            return statistics.median(programs), sum(map(cpu_ms, own))
        finally:
            keeper.send_signal(signal.SIGTERM)
            keeper.wait(30)


def bare():
    with tempfile.TemporaryDirectory(dir="/run") as name:
        directory = Path(name)
        child = subprocess.Popen(["/bin/sh", "-c", CHILD.format(directory=directory, number=0)])
        wait_for(directory, 1)
        spent = cpu_ms(child.pid)
        child.kill()
        child.wait()
        return spent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="directory of our programs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=5)
    parser.add_argument("--many", type=int, default=20)
    options = parser.parse_args()
    alone = statistics.median(bare() for _ in range(options.rounds * 3))
    print("| hardening | ms in the child over fork and exec | ms per child in supervisor, keeper and init |\n|---|---|---|")
    for name, hardening in CASES.items():
        few = [start(options.bin, options.few, hardening) for _ in range(options.rounds)]
        many = [start(options.bin, options.many, hardening) for _ in range(options.rounds)]
        child = statistics.median(each[0] for each in few + many) - alone
        own = (statistics.median(each[1] for each in many) - statistics.median(each[1] for each in few))
        print(f"| {name} | {child:.2f} | {own / (options.many - options.few):.2f} |", flush=True)
    print(f"\nfork and exec alone: {alone:.2f} ms")


if __name__ == "__main__":
    main()
