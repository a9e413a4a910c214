"""CPU, cpuset and I/O limits measured, and what is said where the machine lacks one."""
import json
import os
import time
from pathlib import Path

import pytest

from support.pillion_testing import requires_root, wait_until

pytestmark = requires_root


def leaf(service, child, *names):
    """The first of the files that exists in any hierarchy of the child's first generation."""
    for directory in Path("/sys/fs/cgroup").rglob(f"pillion-{service.name}/{child}.1"):
        for name in names:
            if (directory / name).exists():
                return directory / name
    return None


def cpu_seconds(service, child):
    return service.child(child)["cpu_seconds"]


def warned(service, key):
    return any(key in warning for warning in service.status()["warnings"])


def test_the_cpu_quota_holds(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "while :; do :; done"]
        limits = { cpu = "200m" }
''')
    service.start()
    if warned(service, "limits.cpu"):
        pytest.skip("no cpu controller here")
    start, before = time.monotonic(), cpu_seconds(service, "app")
    wait_until(lambda: cpu_seconds(service, "app") - before > 0.25, what="a quarter second of CPU")
    used, elapsed = cpu_seconds(service, "app") - before, time.monotonic() - start
    # One period of 20 ms may be counted too early; a busy machine only makes the share smaller.
    assert used / elapsed < 0.3, f"used {used:.2f} s in {elapsed:.2f} s with a limit of 0.2"


def test_a_cpuset_confines_every_thread(services):
    last = max(os.sched_getaffinity(0))
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "grep Cpus_allowed_list /proc/self/status; sleep 1000"]
        limits = {{ cpuset = "{last}", memory_nodes = "0" }}
''')
    service.start()
    if warned(service, "limits.cpuset"):
        pytest.skip("no cpuset controller here")
    service.wait_for(lambda: "Cpus_allowed_list" in service.log("app"), what="the app's line")
    assert service.log("app").split("Cpus_allowed_list:")[1].split()[0] == str(last)


def test_reading_from_disk_is_slowed_to_the_bandwidth(services, workspace):
    data = workspace / "data"
    data.write_bytes(os.urandom(2 << 20))
    os.sync()
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "dd if={data} of=/dev/null bs=256k iflag=direct 2>&1; sleep 1000"]
        [[app.limits.io]]
        device = "{workspace}"
        read_bandwidth = "1MiB"
''')
    service.start()
    if warned(service, "limits.io"):
        pytest.skip(f"no limit of I/O here: {service.status()['warnings']}")
    service.wait_for(lambda: "copied" in service.log("app"), what="dd to end")
    if "Invalid argument" in service.log("app"):
        pytest.skip("this file system has no direct I/O")
    line = next(line for line in service.log("app").splitlines() if "copied" in line)
    seconds = float(line.split("copied, ")[1].split(" s")[0])
    assert seconds > 1.2, line  # 2 MiB at 1 MiB per second, less the burst of the first slice


def test_weights_and_requests_arrive_in_the_kernel(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        requests = { cpu = "500m", memory = "8MiB" }
        limits = { io_weight = 50, memory = "64MiB", swap = "0B" }
''')
    service.start()
    if not warned(service, "requests.cpu"):
        assert leaf(service, "app", "cpu.weight", "cpu.shares").read_text().strip() in ("50", "512")
    if not warned(service, "requests.memory"):
        file = leaf(service, "app", "memory.low", "memory.soft_limit_in_bytes")
        assert file.read_text().strip() == str(8 << 20)
    if not warned(service, "limits.io_weight"):
        file = leaf(service, "app", "io.weight", "io.bfq.weight", "blkio.bfq.weight", "blkio.weight")
        assert file.read_text().split()[-1] == "50"
    if not warned(service, "limits.swap"):
        file = leaf(service, "app", "memory.swap.max", "memory.memsw.limit_in_bytes")
        assert file.read_text().strip() == ("0" if file.name == "memory.swap.max" else str(64 << 20))


def test_status_names_each_setting_that_cannot_be_enforced(services, workspace):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        [[app.limits.io]]
        device = "/proc"
        write_iops = 10
''')
    service.start()
    warnings = service.status()["warnings"]
    assert any(line.startswith("app: limits.io") and "is not enforced" in line for line in warnings), (
        json.dumps(warnings))
