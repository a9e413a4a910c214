"""kill -9 of the supervisor, and of the keeper: what survives, and what must not."""
import contextlib
import os
import signal
from pathlib import Path

import pytest

from support.pillion_testing import http_get, processes_of, requires_root, wait_until

HOST_SERVICE = '''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 7' TERM; while :; do echo tick; sleep 0.05; done"]
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
'''


def kill_hard(pid):
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)


@contextlib.contextmanager
def stopped(pid):
    """SIGSTOP for the time of the block; the process may be dead in the end."""
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGCONT)
        os.close(handle)


def kill_supervisor(service):
    """SIGKILL to the supervisor; returns when its successor answers."""
    before = service.status()["supervisor_pid"]
    kill_hard(before)
    service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, before),
                     what="the next supervisor")


def test_children_status_and_exit_code_survive_the_supervisor(services):
    service = services(HOST_SERVICE)
    service.start()
    pids = {name: service.child(name)["pid"] for name in ("app", "helper")}
    for _ in range(3):
        kill_supervisor(service)
    for name, pid in pids.items():
        child = service.child(name)
        assert (child["pid"], child["generation"], child["restarts"]) == (pid, 1, 0)
        assert child["state"] == "running"
    assert service.status()["ready"]
    assert service.stop().returncode == 7


def test_no_line_is_lost_while_there_is_no_supervisor(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.005; done; exec sleep 1000"]
''')
    service.start()
    for _ in range(3):
        kill_supervisor(service)
    service.wait_for(lambda: "line 299\n" in service.log("app"), what="the last line")
    lines = [line.split(" ", 3)[3] for line in service.log("app").splitlines()]
    assert lines == [f"line {number}" for number in range(300)]


def test_an_exit_without_a_supervisor_is_seen_by_the_next_one(services):
    service = services(HOST_SERVICE)
    service.start()
    helper = service.child("helper")["pid"]
    supervisor = service.status()["supervisor_pid"]
    kill_hard(supervisor)
    kill_hard(helper)
    child = service.wait_for(
        lambda: (found := service.child("helper")) and found["state"] == "running"
        and found.get("pid") not in (None, helper) and found,
        what="a new helper")
    assert child["generation"] == 2
    assert child["last_exit"]["code"] == 137


def test_a_stop_under_way_goes_on_with_the_same_deadline(services):
    service = services('''
        [service]
        stop_grace = "4s"
        sidecar_reserve = "1s"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"]
''')
    service.start()
    service.process.signal(signal.SIGTERM)
    service.wait_for(lambda: service.status()["state"] == "draining", what="the stop to begin")
    kill_supervisor(service)
    assert service.process.wait() == 137  # killed at its deadline, not after a new one


def test_a_newline_on_the_notification_fd_is_seen_by_the_next_supervisor(services):
    service = services('''
        [network]
        mode = "host"
        [sidecar.early]
        command = ["/bin/sh", "-c", "read line < @dir@/go-early; echo >&5; touch @dir@/early; exec sleep 1000"]
        gate = { notification_fd = 5 }
        [sidecar.late]
        command = ["/bin/sh", "-c", "echo no newline yet | tr -d '\\\\n' >&4; read line < @dir@/go-late; echo >&4; exec sleep 1000"]
        gate = { notification_fd = 4 }
        [app]
        command = ["/bin/sleep", "1000"]
''')
    for name in ("early", "late"):
        os.mkfifo(service.directory / f"go-{name}")
    service.start(wait=False)
    for name in ("early", "late"):
        service.wait_for(lambda: (service.child(name) or {}).get("state") == "gating", what=f"{name} at its gate")
    # One writes while nobody watches, the other when its second supervisor does.
    supervisor = service.status()["supervisor_pid"]
    with stopped(supervisor):
        (service.directory / "go-early").write_text("\n")
        wait_until((service.directory / "early").exists, what="the newline to be written")
        kill_hard(supervisor)
    service.wait_for(lambda: (service.child("early") or {}).get("state") == "running", what="the gate to open")
    assert service.child("late")["state"] == "gating"
    kill_supervisor(service)
    (service.directory / "go-late").write_text("\n")
    service.wait_ready()
    assert [service.child(name)["generation"] for name in ("early", "late", "app")] == [1, 1, 1]


def test_backoff_goes_on_with_the_same_end_and_the_same_count(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        [sidecar.failing]
        command = ["/bin/sh", "-c", "exit 3"]
        backoff = { base = "100s", max = "100s" }
''')
    service.start(wait=False)
    waiting = service.wait_for(lambda: (child := service.child("failing")) and "restart_in_seconds" in child and child,
                               what="the backoff")
    kill_supervisor(service)
    after = service.child("failing")
    assert after["state"] == "backoff"
    assert 0 < after["restart_in_seconds"] <= waiting["restart_in_seconds"]
    assert (after["restarts"], after["generation"]) == (waiting["restarts"], waiting["generation"])


def test_failures_in_a_row_are_counted_across_supervisors(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "echo start >> @dir@/starts; exec sleep 1000"]
        liveness_probe = { exec = { command = ["/bin/sh", "-c", "echo $PILLION_GENERATION >> @dir@/probes; exit 1"] }, period = "500ms", failure_threshold = 8 }
''')
    service.start(wait=False)

    def probes():
        path = service.directory / "probes"
        return path.read_text().splitlines().count("1") if path.exists() else 0

    starts = service.directory / "starts"
    service.wait_for(lambda: probes() >= 5, what="failures")
    kill_supervisor(service)
    service.wait_for(lambda: len(starts.read_text().splitlines()) > 1 and probes(), what="the replacement")
    # Counted from zero it would have been 5 + 8; one that was under way is run again.
    assert probes() <= 10


def test_an_edited_file_is_not_picked_up_by_a_restarted_supervisor(services):
    service = services(HOST_SERVICE)
    service.start()
    service.file.write_text("this is not TOML")
    kill_supervisor(service)
    kill_hard(service.child("helper")["pid"])
    service.wait_for(lambda: service.child("helper")["generation"] == 2, what="a new helper")
    service.wait_ready()


@requires_root
def test_listeners_and_namespace_survive_in_a_bridged_service(services):
    service = services('''
        [network]
        publish = ["@port:web@:8080"]
        [volume.scratch]
        path = "/run/@name@"
        tmpfs = "1MiB"
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        user = "nobody"
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        mounts = ["scratch:rw"]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [sidecar.proxy]
        use = "proxy"
''')
    service.start()
    url = f"http://127.0.0.1:{service.port('web')}/echo"
    assert http_get(url).status == 200
    kill_supervisor(service)
    assert http_get(url).status == 200
    kill_hard(service.child("proxy")["pid"])  # its successor gets the listeners from the keeper
    service.wait_for(lambda: service.child("proxy")["generation"] == 2, what="a new proxy")
    assert http_get(url).status == 200


def test_nothing_outlives_the_keeper_and_the_next_run_cleans_up(services):
    service = services(HOST_SERVICE)
    service.start()
    # The workload's own sub-processes hold no death signal: only what we started must go at once.
    pids = [service.child(name)["pid"] for name in ("app", "helper")]
    pids.append(service.status()["supervisor_pid"])
    kill_hard(service.process.pid)
    service.process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids), what="all to die with the keeper")
    service.start()
    assert service.stop().returncode == 7
    wait_until(lambda: not processes_of(service.name), what="no process of the service")


@requires_root
def test_a_bridged_service_starts_again_after_its_keeper_was_killed(services):
    service = services('''
        [volume.scratch]
        path = "/run/@name@/scratch"
        tmpfs = "1MiB"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.02; done"]
        user = "nobody"
        mounts = ["scratch"]
''')
    service.start()
    supervisor = service.status()["supervisor_pid"]
    kill_hard(service.process.pid)
    service.process.wait()
    wait_until(lambda: not is_running(supervisor), what="the supervisor to die")
    service.start()
    assert service.stop().returncode == 7


def test_hundreds_of_restarts_leave_no_descriptor_behind(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        [sidecar.flapping]
        command = ["/bin/sh", "-c", "exit 1"]
        backoff = { base = "1ms", max = "1ms" }
''')
    service.start(wait=False)

    def restarts():
        child = service.child("flapping")
        return child["restarts"] if child else 0

    def descriptors():
        supervisor = service.status()["supervisor_pid"]
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (supervisor, service.process.pid)]

    service.wait_for(lambda: restarts() > 20, what="the first restarts")
    before = descriptors()
    service.wait_for(lambda: restarts() > 200, timeout=90, what="200 restarts")
    # A generation that runs has files of its group open, so it may take a few looks.
    service.wait_for(lambda: all(now <= was + 6 for was, now in zip(before, descriptors())), what="few descriptors")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
