"""The truth about forced ends: lack of memory, a signal that was ignored, a process that no signal ends."""
import os
from pathlib import Path

import pytest

from support.pillion_testing import requires_root, wait_until

pytestmark = requires_root

EAT = "x = bytearray(256 << 20)"


def has_memory_limits(service):
    return not any("limits.memory" in warning for warning in service.status()["warnings"])


def kernel_log_is_readable():
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_a_main_process_killed_for_memory_is_explained(services):
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        [sidecar.hungry]
        command = ["/usr/bin/python3", "-c", "{EAT}"]
        limits = {{ memory = "24MiB", swap = "0B" }}
        backoff = {{ base = "30s", max = "60s" }}
''')
    service.start(wait=False)
    service.wait_for(lambda: service.child("app"), what="the service")
    if not has_memory_limits(service):
        pytest.skip("no memory controller here")
    last = service.wait_for(lambda: (service.child("hungry") or {}).get("last_exit"), what="an end")
    assert last["oom"] and last["code"] == 137, last
    detail = last["detail"]
    assert "limits.memory = 24MiB of this child was reached" in detail
    assert "raise limits.memory from 24MiB" in detail and f"pillion recommend {service.name}" in detail
    if kernel_log_is_readable():
        assert "the kernel killed python3 (pid " in detail and "the main process" in detail, detail


def test_another_process_killed_for_memory_is_an_event_and_the_main_one_lives(services):
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "/usr/bin/python3 -c '{EAT}'; echo survived; sleep 1000"]
        oom_group = false
        limits = {{ memory = "24MiB", swap = "0B" }}
''')
    service.start(wait=False)
    service.wait_for(lambda: service.child("app"), what="the service")
    if not has_memory_limits(service):
        pytest.skip("no memory controller here")
    service.wait_for(lambda: "lost a process for lack of memory" in service.output, what="the warning")
    service.wait_for(lambda: "survived" in service.log("app"), what="the main process to go on")
    child = service.child("app")
    assert (child["state"], child["restarts"], child["oom_kills"]) == ("running", 0, 1)
    events = (service.log_dir / "events.ndjson").read_text()
    assert '"child_oom_killed"' in events
    if kernel_log_is_readable():
        assert "not the main process" in service.output


def test_with_oom_group_one_kill_ends_the_whole_child(services):
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        [sidecar.hungry]
        command = ["/bin/sh", "-c", "sleep 500 & /usr/bin/python3 -c '{EAT}'; sleep 1000"]
        limits = {{ memory = "24MiB", swap = "0B" }}
        backoff = {{ base = "30s", max = "60s" }}
''')
    service.start(wait=False)
    service.wait_for(lambda: service.child("app"), what="the service")
    if not has_memory_limits(service):
        pytest.skip("no memory controller here")
    last = service.wait_for(lambda: (service.child("hungry") or {}).get("last_exit"), what="an end")
    assert last["oom"] and last["signal"] == 9, last


def test_a_kill_by_somebody_else_is_not_taken_for_lack_of_memory(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        limits = { memory = "24MiB" }
        backoff = { base = "30s", max = "60s" }
''')
    service.start()
    os.kill(service.child("app")["pid"], 9)
    last = service.wait_for(lambda: service.child("app").get("last_exit"), what="an end")
    assert last["signal"] == 9 and not last["oom"] and "detail" not in last, last


def test_a_child_that_ignores_its_signal_is_told_so(services):
    service = services('''
        [service]
        stop_grace = "1500ms"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1000; done"]
''')
    service.start()
    service.wait_for(lambda: "deaf" in service.log("app"), what="the trap")
    receipt = service.stop()
    line = next(line for line in receipt.output.splitlines() if "had not ended" in line)
    assert "s after SIGTERM: SIGTERM is ignored by it" in line, line


def test_a_process_held_in_the_kernel_is_called_stuck(services):
    """Held by a nested v1 freezer, which no SIGKILL gets through: state D, as with a dead disk."""
    freezer = Path("/sys/fs/cgroup/freezer")
    if not (freezer / "cgroup.procs").exists():
        pytest.skip("no v1 freezer here to hold a process with")
    service = services('''
        [service]
        stop_grace = "800ms"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
''')
    service.start()
    leaf = next(iter(freezer.rglob(f"pillion-{service.name}/app.1")), None)
    if leaf is None:
        pytest.skip("pillion does not use the v1 freezer here")
    ice = leaf / "ice"
    ice.mkdir()
    try:
        (ice / "cgroup.procs").write_text(str(service.child("app")["pid"]))
        (ice / "freezer.state").write_text("FROZEN")
        service.process.signal(15)
        service.wait_for(lambda: "does not end after SIGKILL" in service.output, what="the verdict")
        line = next(line for line in service.output.splitlines() if "does not end after SIGKILL" in line)
        assert "uninterruptible sleep" in line, line
    finally:
        (ice / "freezer.state").write_text("THAWED")
    wait_until(lambda: not leaf.exists(), what="the group, and the one in it, to be removed")
    service.stop()
