"""Limits changed while a child runs: what the kernel then enforces, refusals, and how long they last."""
import json
import os
import signal
from pathlib import Path

import pytest

from support.pillion_testing import requires_root, wait_until

pytestmark = requires_root

MIB = 1 << 20
HOLDER = "x = bytearray(40 << 20); print('full', flush=True); import time; time.sleep(1000)"


def controller(name):
    """Where v1 mounts the controller; v2 machines have all below /sys/fs/cgroup."""
    directory = Path("/sys/fs/cgroup") / name
    return directory if directory.is_dir() else Path("/sys/fs/cgroup")


def limit_file(service, child, generation, kind):
    names = {"memory": ("memory.limit_in_bytes", "memory.max"), "cpu": ("cpu.cfs_quota_us", "cpu.max"),
             "pids": ("pids.max", "pids.max")}[kind]
    leaf = next(controller(kind).rglob(f"pillion-{service.name}/{child}.{generation}"))
    return next(leaf / name for name in names if (leaf / name).exists())


def start(services, app_keys=""):
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-c", "{HOLDER}"]
        gate = {{ log_line = "full" }}
        limits = {{ memory = "128MiB", swap = "0B", cpu = "0.5" }}
        {app_keys}
''')
    service.start()
    if any("limits." in warning for warning in service.status()["warnings"]):
        pytest.skip("not all controllers here")
    return service


def resize(service, *words, check=0):
    result = service.command("resize", f"{service.name}/app", *words)
    assert result.returncode == check, f"{words} ended with {result.returncode}: {result.stdout}{result.stderr}"
    return result


def test_new_limits_hold_at_once_without_a_restart(services):
    service = start(services)
    before = service.child("app")
    answer = json.loads(resize(service, "--memory-max", "256M", "--cpu-max", "150%", "--pids-max", "40", "--json")
                        .stdout)
    assert answer["now"]["limits.memory"] == "256MiB" and answer["now"]["limits.cpu"] == "1500m", answer
    assert answer["file"] == {"limits.cpu": "500m", "limits.memory": "128MiB", "limits.pids": "none"}
    assert limit_file(service, "app", 1, "memory").read_text().strip() == str(256 * MIB)
    assert limit_file(service, "app", 1, "cpu").read_text().split()[0] == "150000"
    assert limit_file(service, "app", 1, "pids").read_text().strip() == "40"
    now = service.child("app")
    assert (now["pid"], now["restarts"]) == (before["pid"], 0)
    assert now["memory_limit_bytes"] == 256 * MIB
    notes = service.status()["warnings"]
    assert "app: limits.memory is 256MiB since `pillion resize`, the file says 128MiB" in notes, notes


def test_memory_below_what_is_in_use_is_refused_and_nothing_changes(services):
    service = start(services)
    refusal = resize(service, "--memory-max", "24M", "--cpu-max", "100%", check=1)
    assert "limits.memory = 24MiB is below that and the kernel would kill it" in refusal.stderr
    assert limit_file(service, "app", 1, "memory").read_text().strip() == str(128 * MIB)
    assert limit_file(service, "app", 1, "cpu").read_text().split()[0] == "50000"
    assert service.child("app")["restarts"] == 0


@pytest.mark.parametrize("words, said", [
    (("--memory-max", "lots"), "`limits.memory` cannot be \"lots\": it must be a size such as"),
    (("--cpu-max", "0.001"), "at least 10m"),
    (("--memory-request", "512M"), "requests.memory = 512MiB would be above limits.memory = 128MiB; change both"),
    (("--reset", "--cpu-max", "1"), "takes no limits beside it"),
])
def test_a_wrong_wish_is_refused_with_its_remedy(services, words, said):
    service = start(services)
    assert said in resize(service, *words, check=1).stderr


def test_a_child_that_is_not_there_is_named_with_those_that_are(services):
    service = start(services)
    refusal = service.command("resize", f"{service.name}/ap", "--cpu-max", "1")
    assert refusal.returncode == 1
    assert 'has no child "ap"; there are: app' in refusal.stderr


def test_changed_limits_outlive_supervisor_and_generation_until_reset(services):
    service = start(services, 'backoff = { base = "1ms", max = "1s" }')
    resize(service, "--memory-max", "192M")
    first = service.status()["supervisor_pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: service.status()["supervisor_pid"] != first, what="the next supervisor")
    assert service.child("app")["memory_limit_bytes"] == 192 * MIB
    os.kill(service.child("app")["pid"], signal.SIGKILL)
    service.wait_for(lambda: service.child("app")["generation"] == 2 and service.child("app")["ready"], what="a restart")
    assert limit_file(service, "app", 2, "memory").read_text().strip() == str(192 * MIB)
    answer = json.loads(resize(service, "--reset", "--json").stdout)
    assert answer["now"]["limits.memory"] == "128MiB" and "file" not in answer
    assert limit_file(service, "app", 2, "memory").read_text().strip() == str(128 * MIB)
    assert not any("pillion resize" in warning for warning in service.status()["warnings"])
    kinds = [json.loads(line)["kind"] for line in (service.log_dir / "events.ndjson").read_text().splitlines()]
    assert kinds.count("child_limits_set") == 2


def test_a_limit_can_be_lifted_and_the_child_then_takes_more(services):
    service = start(services)
    resize(service, "--memory-max", "none", "--swap-max", "none", "--cpu-max", "none")
    text = limit_file(service, "app", 1, "memory").read_text().strip()
    assert text == "max" or int(text) > 1 << 60
    assert limit_file(service, "app", 1, "cpu").read_text().split()[0] in ("-1", "max")
    assert "memory_limit_bytes" not in service.child("app")
