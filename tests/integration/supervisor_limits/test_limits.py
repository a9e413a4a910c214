"""CPU, memory and pids limits in the kernel, on whatever cgroup version this machine has."""
from pathlib import Path

import pytest

from support.pillion_testing import requires_root, wait_until

pytestmark = requires_root


def leaf_files(service, child, names):
    """The content of the first of `names` that exists in the child's cgroups."""
    for directory in Path("/sys/fs/cgroup").rglob(f"pillion-{service.name}/{child}.1"):
        for name in names:
            if (directory / name).exists():
                return (directory / name).read_text().strip()
    return None


def test_limits_arrive_in_the_kernel(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        limits = { cpu = "500m", memory = "48MiB", pids = 17 }
''')
    service.start()
    if service.status()["warnings"]:
        pytest.skip(f"this machine lacks controllers: {service.status()['warnings']}")
    assert leaf_files(service, "app", ["memory.max", "memory.limit_in_bytes"]) == str(48 << 20)
    assert leaf_files(service, "app", ["pids.max"]) == "17"
    assert leaf_files(service, "app", ["cpu.max", "cpu.cfs_quota_us"]).split()[0] == "50000"
    child = service.child("app")
    assert child["memory_limit_bytes"] == 48 << 20
    assert child["cpu_limit"] == 0.5
    pid = str(child["pid"])
    for procs in Path("/sys/fs/cgroup").rglob(f"pillion-{service.name}/app.1/cgroup.procs"):
        assert pid in procs.read_text().split(), procs


def test_a_helper_beyond_its_memory_is_killed_alone_and_the_reason_is_told(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        limits = { memory = "32MiB" }
        [sidecar.hungry]
        command = ["/usr/bin/python3", "-c", "import time; time.sleep(0.2); x = bytearray(256 << 20); time.sleep(1000)"]
        limits = { memory = "24MiB" }
        backoff = { base = "30s", max = "60s" }
''')
    service.start(wait=False)
    killed = service.wait_for(
        lambda: (child := service.child("hungry")) and child.get("last_exit", {}).get("oom") and child,
        what="hungry to be killed for its memory")
    assert killed["last_exit"]["code"] == 137
    app = service.child("app")
    assert (app["state"], app["restarts"]) == ("running", 0)


def test_a_fork_bomb_stays_within_its_pids_limit(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all; wait"]
        limits = { pids = 5 }
        restart = "never"
''')
    service.start(wait=False)
    service.wait_for(lambda: "fork" in service.log("app"), what="fork to be refused")
    assert "all" not in [line.split(" ", 3)[3] for line in service.log("app").splitlines()]
