"""Runs inside the virtual machine, as root, with the package installed. Prints `ok NAME` or `not ok NAME: why`."""
import json
import os
import subprocess
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
command = ["/usr/bin/python3", "/payload/guest/guest_app.py"]
user = "nobody"
ports = [{ name = "http", port = 8080, protocol = "http" }]
readiness_probe = { http = { path = "/healthz" }, period = "1s", timeout = "5s" }
limits = { cpu = "500m", memory = "128MiB", pids = 64 }
[adapter.hungry]
command = ["/usr/bin/python3", "/payload/guest/hungry.py"]
limits = { memory = "48MiB" }
[sidecar.proxy]
use = "proxy"
limits = { memory = "64MiB" }
"""


def run(*argv, check=True, timeout=120):
    result = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {result.returncode}: {result.stdout}{result.stderr}")
    return result


def status():
    return json.loads(run("pillion", "status", "web", "--json").stdout)


def child(name):
    return next(item for item in status()["children"] if item["name"] == name)


def wait_until(condition, what, timeout=90):
    deadline = time.monotonic() + timeout
    while True:
        try:
            if value := condition():
                return value
        except (OSError, ValueError, AssertionError):
            pass
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.3)


def get(path, timeout=60):
    with urllib.request.urlopen(f"http://127.0.0.1:8080{path}", timeout=timeout) as response:
        return response.read().decode(), dict(response.headers)


def cgroup_of(pid):
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return CGROUPS / next(line for line in lines if line.startswith("0::")).removeprefix("0::/")


def test_the_unit_becomes_active_by_notification():
    Path("/etc/pillion/web.toml").write_text(SERVICE)
    started = run("systemctl", "start", UNIT, check=False)
    if started.returncode != 0:
        journal = run("journalctl", "-u", UNIT, "--no-pager", "-n", "40", check=False).stdout
        raise AssertionError(f"{started.stderr} {journal}")
    assert run("systemctl", "is-active", UNIT).stdout.strip() == "active"
    assert status()["ready"] is True


def test_a_published_port_answers_through_the_proxy():
    body, headers = get("/healthz")
    assert body == "ok\n"
    assert any(name.lower() == "x-request-id" for name in headers), headers


def test_limits_are_in_the_childs_own_cgroup():
    group = cgroup_of(child("app")["pid"])
    assert "pillion@web" in str(group), group
    assert (group / "memory.max").read_text().strip() == str(128 << 20)
    assert (group / "pids.max").read_text().strip() == "64"
    quota, period = (group / "cpu.max").read_text().split()
    assert int(quota) * 2 == int(period), (quota, period)


def test_the_cpu_quota_holds():
    usage = cgroup_of(child("app")["pid"]) / "cpu.stat"

    def used():
        return int(usage.read_text().split()[1]) / 1e6

    before, started = used(), time.monotonic()
    get("/burn?seconds=4")
    share = (used() - before) / (time.monotonic() - started)
    assert 0.2 < share < 0.7, f"used {share:.2f} of a CPU with a limit of 0.5"


def test_the_pids_limit_holds():
    body, _ = get("/forks?count=100")
    assert 10 < int(body) < 64, body


def test_memory_kills_the_greedy_helper_and_not_the_app():
    app, hungry = child("app"), child("hungry")
    Path("/run/eat").touch()
    wait_until(lambda: child("hungry")["generation"] > hungry["generation"], "the helper to be killed")
    Path("/run/eat").unlink()
    after = child("app")
    assert after["pid"] == app["pid"] and after["restarts"] == 0
    assert get("/healthz")[0] == "ok\n"
    wait_until(lambda: child("hungry")["state"] == "running", "the helper to run again")
    text = json.dumps(child("hungry")) + run("journalctl", "-u", UNIT, "--no-pager").stdout
    assert "oom" in text.lower() or "memory limit" in text.lower()


def test_a_killed_supervisor_costs_nobody_anything():
    before = status()
    supervisor = before["supervisor_pid"]
    os.kill(supervisor, 9)
    wait_until(lambda: status()["supervisor_pid"] != supervisor and status()["ready"], "a new supervisor")
    pids = {item["name"]: item["pid"] for item in before["children"]}
    assert {item["name"]: item["pid"] for item in status()["children"]} == pids
    assert run("systemctl", "is-active", UNIT).stdout.strip() == "active"


def test_systemctl_stop_drains_and_leaves_nothing():
    run("systemctl", "stop", UNIT)
    state = run("systemctl", "show", UNIT, "-p", "ActiveState,Result").stdout
    assert "inactive" in state and "success" in state, state
    journal = run("journalctl", "-u", UNIT, "--no-pager").stdout
    assert "requests" in journal and "aborted" in journal, journal[-2000:]
    assert not list(CGROUPS.rglob("*pillion@web*")), "cgroups were left"
    assert "pil" not in run("ip", "-br", "link").stdout
    assert "pillion" not in run("nft", "list", "tables").stdout
    assert not Path("/run/netns/pillion-web").exists()


def main():
    for name, test in list(globals().items()):
        if not name.startswith("test_"):
            continue
        try:
            test()
            print(f"ok {name.removeprefix('test_')}", flush=True)
        except Exception as error:  # noqa: BLE001  (every failure is reported, on one line)
            where = traceback.extract_tb(error.__traceback__)[-1].lineno
            text = " ".join(f"line {where}: {error!r}".split())
            print(f"not ok {name.removeprefix('test_')}: {text[:1500]}", flush=True)


main()
