"""Exec probes: a group of their own that ends with them, and nothing of it on the child's account."""
import pytest

from support.pillion_testing import requires_root

pytestmark = requires_root

# Holds a lock for as long as anything of it lives, whatever it has become.
HANGS = '''exec 9> "$0.lock"
flock -n 9 || { echo doubled >> "$0.doubled"; exit 1; }
echo $$ >> "$0.runs"
setsid sleep 1000 &
trap '' TERM
sleep 1000
'''


def test_one_that_hangs_is_killed_with_all_it_started_and_never_doubled(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        readiness_probe = { exec = { command = ["/bin/sh", "@dir@/hangs"] }, period = "100ms", timeout = "300ms", failure_threshold = 2 }
''')
    (service.directory / "hangs").write_text(HANGS)
    service.start(wait=False)
    runs = service.directory / "hangs.runs"
    service.wait_for(lambda: len(runs.read_text().split()) >= 4, what="four runs of the probe")
    assert not (service.directory / "hangs.doubled").exists(), "a run began before the one before was gone"
    assert not service.status()["ready"]
    assert "timed out" in service.command("why", service.name).stdout
    assert service.child("app")["restarts"] == 0


def test_its_processes_and_memory_are_not_charged_to_the_child(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        limits = { memory = "16MiB", swap = "0B", pids = 1 }
        readiness_probe = { exec = { command = ["/bin/sh", "-c", "/usr/bin/python3 -S -c 'x = bytearray(64 << 20)'; touch @dir@/done"] }, period = "1s", timeout = "20s" }
''')
    service.start()
    if any("limits." in warning for warning in service.status()["warnings"]):
        pytest.skip(f"no such limits here: {service.status()['warnings']}")
    assert (service.directory / "done").exists()
    app = service.child("app")
    assert (app["restarts"], app.get("oom_kills", 0)) == (0, 0), app
