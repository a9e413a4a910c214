"""Runs inside the virtual machine, as root, with the package installed. Prints `ok NAME` or `not ok NAME: why`.

One service serves all cases, in the order of this file. Those named test_second_boot_* run after a reboot."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
UNIT = "pillion@web.service"
SERVICE = """
[service]
stop_grace = "20s"
[network]
publish = ["8080"]
[app]
command = ["/usr/bin/python3", "-S", "-E", "/payload/guest/guest_app.py"]
user = "nobody"
ports = [{ name = "http", port = 8080, protocol = "http" }]
readiness_probe = { http = { path = "/healthz" }, period = "1s", timeout = "20s" }
limits = { cpu = "500m", memory = "128MiB", pids = 64 }
[adapter.hungry]
command = ["/usr/bin/python3", "-S", "-E", "/payload/guest/hungry.py"]
limits = { memory = "48MiB", swap = "0B" }
[adapter.deaf]
command = ["/usr/bin/python3", "-S", "-E", "/payload/guest/deaf.py"]
[adapter.still]
command = ["/bin/sleep", "infinity"]
requests = { cpu = "250m", memory = "8MiB", memory_min = "4MiB" }
[adapter.still.limits]
cpuset = "1"
memory_high = "32MiB"
[[adapter.still.limits.io]]
device = "/usr"
read_bandwidth = "1MiB"
[sidecar.proxy]
use = "proxy"
limits = { memory = "64MiB" }
"""


def run(*argv, check=True, timeout=300):
    result = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {result.returncode}: {result.stdout}{result.stderr}")
    return result


def status():
    return json.loads(run("pillion", "status", "web", "--json").stdout)


def child(name):
    return next(item for item in status()["children"] if item["name"] == name)


def is_renewed(before):
    """Whether another generation than `before` runs."""
    now = child(before["name"])
    return now["generation"] > before["generation"] and now["state"] == "running"


def processes():
    return {item["name"]: (item["pid"], item["restarts"]) for item in status()["children"]}


def unit(name):
    return run("systemctl", "show", UNIT, "-p", name, "--value").stdout.strip()


def is_active():
    return run("systemctl", "is-active", UNIT, check=False).stdout.strip() == "active"


def wait_until(condition, what, timeout=180):
    deadline = time.monotonic() + timeout
    while True:
        seen = None
        try:
            if value := condition():
                return value
        except (OSError, ValueError, AssertionError) as error:
            seen = repr(error)
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}; last seen: {seen}"
        time.sleep(0.2)


def get(path, timeout=120):
    with urllib.request.urlopen(f"http://127.0.0.1:8080{path}", timeout=timeout) as response:
        return response.read().decode(), dict(response.headers)


def cgroup_of(pid):
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return CGROUPS / next(line for line in lines if line.startswith("0::")).removeprefix("0::/")


def limits_of(group):
    return {name: (group / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")}


class Load:
    """Requests one after the other in a thread of its own until told to end; how many, and what failed."""

    def __init__(self):
        self.count, self.failures, self.is_over = 0, [], False
        self.thread = threading.Thread(target=self.work)

    def work(self):
        while not self.is_over:
            try:
                get("/healthz")
                self.count += 1
            except Exception as error:  # noqa: BLE001  (reported by the test)
                self.failures.append(repr(error))
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.count > 2, "requests to flow")
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()


def test_the_unit_becomes_active_by_notification():
    Path("/etc/pillion/web.toml").write_text(SERVICE)
    started = run("systemctl", "start", UNIT, check=False)
    if started.returncode != 0:
        journal = run("journalctl", "-u", UNIT, "--no-pager", "-n", "40", check=False).stdout
        raise AssertionError(f"{started.stderr} {journal}")
    assert is_active() and status()["ready"] is True
    assert unit("StatusText") == "running"
    # The machine is fresh; whatever else it could not do would be told here.
    assert [text for text in status()["warnings"] if "ip_forward" not in text] == []


def test_a_published_port_answers_through_the_proxy():
    body, headers = get("/healthz")
    assert body == "ok\n"
    assert any(name.lower() == "x-request-id" for name in headers), headers


def test_children_have_groups_of_their_own_below_the_delegated_unit():
    group = cgroup_of(child("app")["pid"])
    assert UNIT in group.parts, group
    wanted = {"memory.max": str(128 << 20), "pids.max": "64", "cpu.max": "50000 100000"}
    assert limits_of(group) == wanted
    assert (group / "memory.oom.group").read_text().strip() == "1"
    still = {name: (cgroup_of(child("still")["pid"]) / name).read_text().strip() for name in (
        "cpu.weight", "memory.low", "memory.min", "memory.high", "cpuset.cpus")}
    assert still == {"cpu.weight": "25", "memory.low": str(8 << 20), "memory.min": str(4 << 20),
                     "memory.high": str(32 << 20), "cpuset.cpus": "1"}
    whole_unit = Path(f"{CGROUPS}{unit('ControlGroup')}")
    assert (whole_unit / "cgroup.procs").read_text() == "", "a process is in the unit's own group"
    # When the machine itself lacks memory, who keeps the others goes last.
    scores = {pid: int(Path(f"/proc/{pid}/oom_score_adj").read_text())
              for pid in (unit("MainPID"), status()["supervisor_pid"], *(pid for pid, _ in processes().values()))}
    assert list(scores.values()) == [-900, -900, 0, 0, 0, 0, 0], scores
    assert len({cgroup_of(pid) for pid, _ in processes().values()}) == 5
    # systemd goes through its units' groups again; what is delegated it leaves alone.
    run("systemctl", "daemon-reload")
    run("systemctl", "set-property", "--runtime", UNIT, "CPUWeight=200")
    assert (whole_unit / "cpu.weight").read_text().strip() == "200"
    assert limits_of(group) == wanted


def cpu_share(group, seconds):
    """Of one CPU, used by the app that wants two of them."""
    def used():
        return int((group / "cpu.stat").read_text().split()[1]) / 1e6

    before, started = used(), time.monotonic()
    get(f"/burn?{seconds}")
    return (used() - before) / (time.monotonic() - started)


def test_the_cpu_quota_holds_and_throttling_is_told():
    share = cpu_share(cgroup_of(child("app")["pid"]), 3)
    assert 0.2 < share < 0.7, f"used {share:.2f} of a CPU with a limit of 0.5"
    samples = dict(line.rsplit(" ", 1) for line in run("pillion", "metrics", "web").stdout.splitlines()
                   if line.startswith("pillion_child_") and 'child="app"' in line)

    def value(name, *labels):
        return next(float(number) for sample, number in samples.items()
                    if sample.startswith(name + "{") and all(label in sample for label in labels))

    assert value("pillion_child_cpu_throttled_periods_total") > 5
    assert value("pillion_child_cpu_throttled_seconds_total") > 0.5
    if Path("/proc/pressure/cpu").exists():
        assert value("pillion_child_pressure_waiting_seconds_total", 'resource="cpu"') > 0.5


def test_the_pids_limit_holds():
    body, _ = get("/forks?100")
    assert 10 < int(body) < 64, body


def test_memory_kills_the_greedy_helper_alone_and_the_reason_is_told():
    before, hungry = processes(), child("hungry")
    Path("/run/eat").touch()
    wait_until(lambda: child("hungry")["generation"] > hungry["generation"], "the helper to be killed")
    Path("/run/eat").unlink()
    wait_until(lambda: is_renewed(hungry), "the helper to run again")
    assert {name: process for name, process in processes().items() if name != "hungry"} == {
        name: process for name, process in before.items() if name != "hungry"}
    assert get("/healthz")[0] == "ok\n"
    last = child("hungry")["last_exit"]
    assert last["oom"] and last["signal"] == 9, last
    for sentence in (last["detail"], run("pillion", "why", "web", "hungry").stdout,
                     run("journalctl", "-u", UNIT, "--no-pager").stdout):
        assert "limits.memory = 48MiB of this child was reached" in sentence, sentence[-2000:]
        assert "the kernel killed python3 (pid " in sentence, sentence[-2000:]


def test_a_disk_is_read_no_faster_than_the_limit():
    began = time.monotonic()
    run("pillion", "exec", "--cgroup", "web", "still", "--", "/bin/dd", "if=/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
        "of=/dev/null", "bs=256k", "count=12", "iflag=direct")
    seconds = time.monotonic() - began
    assert seconds > 1.9, f"3 MiB in {seconds:.1f} s with a limit of 1 MiB/s"


def test_limits_change_under_a_running_child():
    app = child("app")
    group = cgroup_of(app["pid"])
    run("pillion", "resize", "web/app", "--cpu-max", "200m", "--memory-max", "96MiB", "--pids-max", "40")
    assert limits_of(group) == {"memory.max": str(96 << 20), "pids.max": "40", "cpu.max": "20000 100000"}
    share = cpu_share(group, 2)
    assert share < 0.4, f"used {share:.2f} of a CPU with a limit of 0.2"
    refused = run("pillion", "resize", "web/app", "--memory-max", "1MiB", check=False)
    assert refused.returncode != 0 and "memory" in refused.stderr, refused.stderr
    run("pillion", "resize", "web/app", "--reset")
    assert limits_of(group) == {"memory.max": str(128 << 20), "pids.max": "64", "cpu.max": "50000 100000"}
    assert (child("app")["pid"], child("app")["restarts"]) == (app["pid"], app["restarts"])


def test_cgroup_kill_ends_what_a_helper_leaves_behind():
    """A daemon in a session of its own, deaf to TERM: no signal to a group of processes would find it."""
    deaf = child("deaf")
    group = cgroup_of(deaf["pid"])
    assert (group / "cgroup.kill").exists()
    members = wait_until(lambda: len(pids := (group / "cgroup.procs").read_text().split()) == 2 and pids, "its daemon")
    os.kill(deaf["pid"], signal.SIGKILL)
    wait_until(lambda: is_renewed(deaf), "the helper to run again")
    assert not [pid for pid in members if Path(f"/proc/{pid}").exists()]


def test_a_frozen_helper_is_killed_and_comes_back():
    still = child("still")
    group = cgroup_of(still["pid"])
    (group / "cgroup.freeze").write_text("1")
    wait_until(lambda: "frozen 1" in (group / "cgroup.events").read_text(), "the freezer")
    run("pillion", "stop", "web", "still", "--grace", "1s")
    assert not Path(f"/proc/{still['pid']}").exists()
    run("pillion", "start", "web", "still")
    wait_until(lambda: is_renewed(still), "the helper to run again")


def test_a_killed_supervisor_costs_nobody_anything():
    before, supervisor = processes(), status()["supervisor_pid"]
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: status()["supervisor_pid"] != supervisor and status()["ready"], "a new supervisor")
    assert processes() == before
    assert is_active()


def test_a_package_upgrade_under_load_restarts_no_child_and_fails_no_request():
    before, supervisor, keeper = processes(), status()["supervisor_pid"], unit("MainPID")
    program = os.readlink(f"/proc/{keeper}/exe")
    with Load() as load:
        run("dpkg", "-i", str(next(Path("/payload").glob("*.deb"))), timeout=600)
        wait_until(lambda: status()["supervisor_pid"] != supervisor and status()["ready"], "the new supervisor")
        done = load.count
        wait_until(lambda: load.count > done + 2, "requests after it")
    assert not load.failures, load.failures[:3]
    assert processes() == before
    assert unit("MainPID") == keeper and is_active()
    for pid in (keeper, status()["supervisor_pid"]):
        assert not os.readlink(f"/proc/{pid}/exe").endswith("(deleted)"), "the old program still runs"
    assert os.readlink(f"/proc/{keeper}/exe") == program


def test_a_keeper_that_hangs_is_ended_by_systemds_watchdog_and_all_comes_back():
    drop_in = Path(f"/run/systemd/system/{UNIT}.d/watchdog.conf")
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text("[Service]\nWatchdogSec=10\nTimeoutAbortSec=2\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    keeper, pids = int(unit("MainPID")), [pid for pid, _ in processes().values()]
    groups = [cgroup_of(pid) for pid in pids]
    os.kill(keeper, signal.SIGSTOP)
    wait_until(lambda: int(unit("MainPID")) not in (0, keeper) and is_active(), "systemd to start it again")
    assert "watchdog" in run("journalctl", "-u", UNIT, "--no-pager").stdout.lower()
    assert not [pid for pid, group in zip(pids, groups) if Path(f"/proc/{pid}").exists() and cgroup_of(pid) == group
                and pid not in [now for now, _ in processes().values()]]
    assert get("/healthz")[0] == "ok\n"


def test_systemctl_stop_drains_and_leaves_nothing():
    late = []
    request = threading.Thread(target=lambda: late.append(get("/wait?4")[0]))
    request.start()
    time.sleep(1)
    run("systemctl", "stop", UNIT)
    request.join()
    assert late == ["ok\n"], "the request that was under way was not answered"
    assert (unit("ActiveState"), unit("Result")) == ("inactive", "success")
    journal = run("journalctl", "-u", UNIT, "--no-pager").stdout
    assert re.search(r"requests +0 aborted, [1-9]\d* finished", journal), journal[-3000:]
    assert not list(CGROUPS.rglob(f"*{UNIT}*")), "cgroups were left"
    assert "pil" not in run("ip", "-br", "link").stdout
    assert "pillion" not in run("nft", "list", "tables").stdout
    assert not Path("/run/netns/pillion-web").exists()


def test_an_enabled_unit_is_started_and_left_to_the_reboot():
    run("systemctl", "enable", "--quiet", UNIT)
    run("systemctl", "start", UNIT)
    assert status()["ready"] is True


def test_second_boot_runs_it_again_and_knows_how_it_was_stopped():
    wait_until(is_active, "the unit")
    assert status()["ready"] is True
    assert get("/healthz")[0] == "ok\n"
    assert {item["generation"] for item in status()["children"]} == {1}
    stop = [line for line in run("pillion", "metrics", "web").stdout.splitlines()
            if line.startswith("pillion_service_last_stop_killed_children{")]
    assert [line.rsplit(" ", 1)[1] for line in stop] == ["0"], stop


PROXY = """
access_log = { path = "/tmp/overload/access.log", flush_interval = "50ms" }
explicit = [{ listen = "127.0.0.1:7000", upstream = "b", protocol = "http" }]
outbound = { listen = "127.0.0.1:17001" }
health = { listen = "127.0.0.1:17021" }
prometheus = { listen = "127.0.0.1:17090" }
admin = { listen = "127.0.0.1:17099" }
[inbound]
listen = "127.0.0.1:17006"
[upstream.b]
address = ["127.0.0.1:7001"]
"""


def pour(connection):
    """Answers with 8 MiB, as far as they are taken."""
    with connection, contextlib.suppress(OSError):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n")
        for _ in range(128):
            connection.sendall(bytes(65536))


def serve_large(listener):
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        threading.Thread(target=pour, args=(connection,), daemon=True).start()


def ask_without_reading():
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.settimeout(60)
    try:
        one.connect(("127.0.0.1", 7000))
        one.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    except OSError:
        pass  # refused: the proxy protects itself
    return one


def test_second_boot_slow_readers_do_not_get_the_proxy_killed():
    """As many as it takes, with a limit that counts what the kernel holds for their sockets, too."""
    Path("/tmp/overload").mkdir()
    Path("/tmp/overload/proxy.toml").write_text(PROXY)
    group = CGROUPS / "overload"
    group.mkdir()
    (group / "memory.max").write_text(str(64 << 20))
    (group / "memory.swap.max").write_text("0")
    with socket.create_server(("127.0.0.1", 7001), backlog=512) as listener:
        threading.Thread(target=serve_large, args=(listener,), daemon=True).start()
        proxy = subprocess.Popen(["pillion-proxy", "--config", "/tmp/overload/proxy.toml"],
                                 preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
        try:
            wait_until(lambda: b"LIVE" in urllib.request.urlopen("http://127.0.0.1:17099/ready").read(), "the proxy")
            log = Path("/tmp/overload/access.log")
            swarm = []

            def has_ended_some():
                swarm.extend(ask_without_reading() for _ in range(20 if len(swarm) < 600 else 0))
                return log.exists() and '"overload"' in log.read_text()

            wait_until(has_ended_some, "exchanges that were ended")
            time.sleep(5)
            peak = int((group / "memory.peak").read_text()) >> 20 if (group / "memory.peak").exists() else None
            print(f"# memory.peak {peak} MiB", flush=True)
            assert "oom_kill 0" in (group / "memory.events").read_text() and proxy.poll() is None
            for one in swarm:
                one.close()
            wait_until(lambda: urllib.request.urlopen("http://127.0.0.1:7000/", timeout=20).status == 200, "service as usual", 60)
        finally:
            proxy.kill()
            proxy.wait()
    wait_until(lambda: group.rmdir() is None, "the group to be empty")


def main():
    is_second_boot = sys.argv[1] == "second_boot"
    for name, test in list(globals().items()):
        if not name.startswith("test_") or name.startswith("test_second_boot_") != is_second_boot:
            continue
        began = time.monotonic()
        try:
            test()
            print(f"ok {name.removeprefix('test_')}", flush=True)
        except Exception as error:  # noqa: BLE001  (every failure is reported, on one line)
            where = traceback.extract_tb(error.__traceback__)
            line = [frame.lineno for frame in where if frame.name == name][-1]
            text = " ".join(f"line {line}: {error!r}".split())
            print(f"not ok {name.removeprefix('test_')}: {text[:3000]}", flush=True)
        print(f"# {time.monotonic() - began:.1f} s", flush=True)


main()
