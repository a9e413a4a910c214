"""Thousands of restarts of a child leave supervisor and keeper as small as they were: no descriptor, no memory, no
record and no directory per restart. By default a few hundred; PILLION_ENDURANCE_RESTARTS=10000 for the full count."""
import os

from support.pillion_testing import wait_until

RESTARTS = int(os.environ.get("PILLION_ENDURANCE_RESTARTS", "300"))
WARM_UP = 100  # allocators and rings reach their size
PER_RESTART_SECONDS = 0.5
GROWTH_KIB_MAX = 4096  # 300 leaks of 16 KiB; allocators breathe by 1 MiB
# From here on the ring of events is full (4096 of them, some 2 MiB), and nothing may grow any more.
FULL = 2000
GROWTH_WHEN_FULL_KIB_MAX = 512


def footprint(pid):
    """Open descriptors, threads, and memory of its own in KiB: not its programs' pages, which others may share."""
    rollup = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    own = sum(int(line.split()[1]) for line in rollup if line.startswith("Anonymous:"))
    return {"fds": len(os.listdir(f"/proc/{pid}/fd")), "threads": len(os.listdir(f"/proc/{pid}/task")),
            "own_kib": own}


def test_restarts_leave_nothing_behind(services):
    service = services('''
        [network]
        mode = "host"
        [sidecar.crashing]
        command = ["/bin/sh", "-c", "echo generation $PILLION_GENERATION; exit 1"]
        backoff = { base = "1ms", max = "1ms", jitter = 0.0 }
        [app]
        command = ["/bin/sleep", "100000"]
    ''')
    service.start()
    pids = {"supervisor": service.status()["supervisor_pid"], "keeper": service.process.pid}

    def restarted(count):
        wait_until(lambda: (service.child("crashing") or {}).get("restarts", 0) >= count,
                   timeout=60 + count * PER_RESTART_SECONDS, what=f"{count} restarts")
        return {name: footprint(pid) for name, pid in pids.items()}

    before = restarted(WARM_UP)
    full = restarted(FULL) if WARM_UP + RESTARTS > FULL else None
    after = restarted(WARM_UP + RESTARTS)
    report = f"after {WARM_UP}: {before}; after {FULL}: {full}; after {WARM_UP + RESTARTS}: {after}"
    print(report)
    assert service.status()["supervisor_pid"] == pids["supervisor"], "the supervisor died meanwhile"
    for name in pids:
        # Connections of those who asked for the status stay for a while; a leak would be hundreds.
        assert after[name]["fds"] <= before[name]["fds"] + 32, report
        assert after[name]["threads"] <= before[name]["threads"] + 4, report
        assert after[name]["own_kib"] <= before[name]["own_kib"] + GROWTH_KIB_MAX, report
        if full:
            assert after[name]["own_kib"] <= full[name]["own_kib"] + GROWTH_WHEN_FULL_KIB_MAX, report
    assert service.child("app")["generation"] == 1
    logs = sorted(path.name for path in service.log_dir.glob("crashing.log*"))
    assert "crashing.log" in logs and len(logs) <= 7, logs
