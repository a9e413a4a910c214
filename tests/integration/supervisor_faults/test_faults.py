"""What the machine does to the supervisor: full disks, no descriptors, no processes, vanished groups, clocks that
jump, a process that cannot die. Supervision goes on, says what happened, and recovers."""
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.pillion_testing import SUPPORT, requires_root, run, wait_until

PAIR = '''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 7' TERM; while :; do echo tick; sleep 0.05; done"]
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        backoff = {{ base = "100ms", max = "200ms" }}
'''.replace("{{", "{").replace("}}", "}")


def kill_hard(pid):
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)


def is_running(service, name, generation):
    child = service.child(name) or {}
    return child.get("state") == "running" and child.get("generation") == generation


@contextlib.contextmanager
def small_tmpfs(path, size):
    path.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "pillion-test", path], check=0)
    try:
        yield path
    finally:
        run(["umount", "-l", path])


def fill(directory):
    """Takes all that is left there; returns the file to remove."""
    ballast = directory / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return ballast


@requires_root
def test_a_full_disk_stops_nothing_and_costs_a_crashed_supervisor_nothing(services):
    service = services(PAIR)
    with contextlib.ExitStack() as stack:
        disks = [stack.enter_context(small_tmpfs(path, "256k"))
                 for path in (service.log_parent, service.state_parent, service.runtime_parent)]
        service.start()
        ballasts = [fill(disk) for disk in disks]
        helper = service.child("helper")["pid"]
        kill_hard(helper)
        service.wait_for(lambda: is_running(service, "helper", 2), what="the helper to be started again")
        service.wait_for(lambda: "the keeper holds the service's state" in service.output, what="a word about the state")
        service.wait_for(lambda: "cannot write the log of app: No space left" in service.output, what="a word about the log")

        before = service.status()
        kill_hard(before["supervisor_pid"])
        service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, before["supervisor_pid"]),
                         what="the next supervisor")
        after = service.status()
        for was, now in zip(before["children"], after["children"]):
            assert (now["pid"], now["generation"], now["restarts"]) == (was["pid"], was["generation"], was["restarts"])

        for ballast in ballasts:
            ballast.unlink()
        service.wait_for(lambda: "the service's state is on disk again" in service.output, what="the state on disk")
        service.wait_for(lambda: "records dropped" in service.log("app"), what="the marker of dropped records")
        assert service.output.count("the keeper holds the service's state") <= 2  # not once per write
        assert service.stop().returncode == 7
        left = [path for disk in disks for path in disk.rglob("*") if path.name.endswith(".tmp") or path.is_socket()]
        assert not left


@requires_root
def test_a_disk_that_is_full_at_the_start_is_named(services):
    service = services(PAIR)
    with small_tmpfs(service.runtime_parent, "64k") as disk:
        fill(disk)
        service.start(wait=False)
        assert service.process.wait() == 71
        assert "No space left on device" in service.output and str(service.runtime_dir) in service.output


@requires_root
def test_a_state_file_that_cannot_be_read_ends_what_runs_before_anything_starts(services):
    service = services(PAIR)
    service.start()
    before = service.status()
    state = service.runtime_dir / "state.json"
    with open(state, "w") as file:
        file.write("{ rubbish")
    kill_hard(before["supervisor_pid"])

    def is_new():
        status = service.status()
        if not status or not status["ready"]:
            return False
        return all(child["pid"] not in (None, was["pid"]) and child["state"] == "running"
                   for child, was in zip(status["children"], before["children"]))

    service.wait_for(is_new, what="new children")
    assert "cannot use" in service.output
    for child in before["children"]:
        assert not Path(f"/proc/{child['pid']}").exists()


def limit_descriptors(pid, count):
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, old[1]))
    return old


def test_without_descriptors_nothing_crashes_and_it_goes_on_when_there_are_some(services):
    service = services(PAIR)
    service.start()
    status = service.status()
    supervisor = status["supervisor_pid"]
    helper = service.child("helper")["pid"]
    # None below the limit is free: what needs a new one fails, in the supervisor and what it starts.
    old = limit_descriptors(supervisor, 3)
    kill_hard(helper)
    service.wait_for(lambda: "Too many open files" in service.output, what="the failure to be told")
    ticks = len(service.log("app").splitlines())
    service.wait_for(lambda: len(service.log("app").splitlines()) > ticks, what="the app's output to be read on")
    used = cpu_seconds(supervisor)
    time.sleep(1)  # a measured interval, not a wait
    assert cpu_seconds(supervisor) - used < 0.6, "a busy loop"
    limit_descriptors(supervisor, old[0])
    service.wait_for(lambda: (service.child("helper") or {}).get("state") == "running", what="the helper to run again")
    after = service.status()
    assert after["supervisor_pid"] == supervisor
    assert service.child("app")["restarts"] == 0


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@requires_root
def test_a_fork_that_fails_is_tried_again(services):
    """As a user of its own, whose number of processes is limited while the service runs."""
    service = services(PAIR, uid=61000 + os.getpid() % 4000)
    service.start()
    limit = [*service.identity, "prlimit", f"--pid={service.status()['supervisor_pid']}"]
    run([*limit, "--nproc=1:"], check=0)
    kill_hard(service.child("helper")["pid"])
    service.wait_for(lambda: "a limit on processes is reached" in service.output, what="the failure to be told")
    run([*limit, "--nproc=4000:"], check=0)
    service.wait_for(lambda: (service.child("helper") or {}).get("state") == "running", what="the helper to run again")
    assert service.child("app")["restarts"] == 0


@requires_root
def test_a_cgroup_that_vanishes_under_a_child_stops_nothing(services):
    service = services(PAIR)
    service.start()
    pid = service.child("helper")["pid"]
    removed = 0
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        name = controllers.removeprefix("name=")
        root = Path("/sys/fs/cgroup") / (name or ("unified" if Path("/sys/fs/cgroup/unified").is_dir() else ""))
        group = Path(f"{root}{path}")
        if path.endswith("/helper.1") and group.is_dir():
            (root / "cgroup.procs").write_text(str(pid))
            group.rmdir()
            removed += 1
    if removed == 0:
        pytest.skip("needs cgroups that may be written")
    assert service.status()["ready"]
    kill_hard(pid)
    service.wait_for(lambda: is_running(service, "helper", 2), what="the helper to be started again")
    service.wait_ready()
    assert service.stop().returncode == 7


CLOCK = r'''
// Adds what the file $CLOCK_OFFSET says (seconds) to the real-time clock of a process.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long offset(void) {
  char text[32] = {0};
  const char* path = getenv("CLOCK_OFFSET");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return 0;
  long count = read(fd, text, sizeof text - 1);
  close(fd);
  return count > 0 ? atol(text) : 0;
}
int clock_gettime(clockid_t clock, struct timespec* now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
  return result;
}
int gettimeofday(struct timeval* now, void* zone) {
  struct timespec time;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}
time_t time(time_t* now) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  if (now) *now = time.tv_sec;
  return time.tv_sec;
}
'''


def test_a_clock_that_jumps_fires_no_deadline_and_forgets_none(services, workspace):
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler for the clock of the test")
    (workspace / "clock.c").write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", workspace / "clock.so", workspace / "clock.c"], check=True)
    offset = workspace / "offset"
    offset.write_text("0")
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 7' TERM; while :; do echo tick; sleep 0.05; done"]
        liveness_probe = { exec = { command = ["/bin/true"] }, period = "200ms", failure_threshold = 1 }
        [sidecar.failing]
        command = ["/bin/sh", "-c", "exit 3"]
        backoff = { base = "100s", max = "100s" }
''', env={"LD_PRELOAD": workspace / "clock.so", "CLOCK_OFFSET": offset})
    service.start(wait=False)
    service.wait_for(lambda: (service.child("failing") or {}).get("restart_in_seconds", 0) > 30, what="the backoff")
    service.wait_for(lambda: service.child("app")["state"] == "running", what="the app to run")
    failing = service.child("failing")
    remaining, generation = failing["restart_in_seconds"], failing["generation"]
    year = time.gmtime().tm_year
    for seconds, seen in ((400 * 86400, year + 1), (-400 * 86400, year - 1)):
        offset.write_text(str(seconds))
        expected = [str(seen), str(seen + (1 if seconds > 0 else -1))]
        service.wait_for(lambda: service.log("app").splitlines()[-1][:4] in expected, what="the new time in the log")
        child = service.child("failing")
        assert 0 < child["restart_in_seconds"] <= remaining
        kill_hard(service.status()["supervisor_pid"])  # deadlines on disk do not follow that clock either
        service.wait_for(lambda: "restart_in_seconds" in (service.child("failing") or {}), what="the next supervisor")
        child = service.child("failing")
        assert 0 < child["restart_in_seconds"] <= remaining
        assert (child["generation"], service.child("app")["restarts"]) == (generation, 0)
    assert service.stop().returncode == 7


def test_a_supervisor_that_stood_still_blames_nobody(services):
    """As after a suspended machine: watchdog, probes and deadlines get the lost time back."""
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "@port:app@"]
        startup_probe = { tcp = { port = @port:app@ }, period = "100ms", timeout = "100ms", failure_threshold = 300 }
        liveness_probe = { tcp = { port = @port:app@ }, period = "300ms", timeout = "300ms", failure_threshold = 1 }
        [sidecar.watched]
        command = ["/usr/bin/python3", "-S", "@dir@/watched.py"]
        watchdog = "1s"
        gate = { notify = true }
''')
    (service.directory / "watched.py").write_text('''
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
s.setblocking(False)
while True:
    try:
        s.send(b"WATCHDOG=1")
    except BlockingIOError:
        pass
    time.sleep(0.2)
''')
    service.start()
    before = service.status()
    supervisor = os.pidfd_open(before["supervisor_pid"])
    for _ in range(2):
        signal.pidfd_send_signal(supervisor, signal.SIGSTOP)
        time.sleep(3)  # longer than the watchdog, the probe's timeout and its period
        signal.pidfd_send_signal(supervisor, signal.SIGCONT)
        service.wait_for(lambda: service.status(), what="it to answer again")
    time.sleep(1.2)  # a watchdog that was not forgiven would have fired by now
    os.close(supervisor)
    after = service.status()
    assert after["supervisor_pid"] == before["supervisor_pid"]
    assert [child["restarts"] for child in after["children"]] == [0, 0]


def test_a_supervisor_that_hangs_is_replaced_under_the_running_children(services, workspace):
    """The keeper is as patient as the watchdog of its own parent, here 2 s."""
    service = services(PAIR, env={"NOTIFY_SOCKET": workspace / "notify", "WATCHDOG_USEC": "2000000"})
    with contextlib.closing(notify_socket(workspace / "notify")) as parent:
        service.start()
        before = service.status()
        time.sleep(3)  # longer than the watchdog: one that works is not taken for one that hangs
        assert service.status()["supervisor_pid"] == before["supervisor_pid"]
        handle = os.pidfd_open(before["supervisor_pid"])
        signal.pidfd_send_signal(handle, signal.SIGSTOP)
        service.wait_for(lambda: f'the supervisor of "{service.name}" hangs' in service.output, what="the keeper to notice")
        service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, before["supervisor_pid"]),
                         what="the next supervisor")
        os.close(handle)
        after = service.status()
        assert [child["pid"] for child in after["children"]] == [child["pid"] for child in before["children"]]
        texts = b" ".join(drain(parent))
        assert b"WATCHDOG=1" in texts and b"READY=1" in texts
        assert service.stop().returncode == 7


def notify_socket(path):
    import socket
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.setblocking(False)
    return listener


def drain(listener):
    with contextlib.suppress(BlockingIOError):
        while True:
            yield listener.recv(4096)


def test_after_twelve_crashes_in_a_row_the_service_is_ended_and_cleaned_up(services):
    service = services(PAIR)
    service.start()
    seen = {None}
    for _ in range(12):
        pid = service.wait_for(lambda: (found := (service.status() or {}).get("supervisor_pid")) not in seen and found,
                               what="the next supervisor")
        seen.add(pid)
        kill_hard(pid)
    assert service.process.wait() == 70
    assert service.output.count("ended unexpectedly (signal 9)") == 12
    assert "crashed 12 times in a row; giving up" in service.output


@requires_root
def test_a_process_that_cannot_die_is_called_stuck_and_the_stop_ends(services, workspace):
    """It writes to a frozen file system: not even SIGKILL ends that wait."""
    image, mounted = workspace / "image", workspace / "frozen"
    mounted.mkdir()
    subprocess.run(["truncate", "-s", "8M", image], check=True)
    made = run(["mkfs.ext4", "-q", "-F", image])
    attached = run(["mount", "-o", "loop", image, mounted])
    if made.returncode != 0 or attached.returncode != 0:
        pytest.skip(f"needs a loop device: {attached.stderr}")
    service = services('''
        [service]
        stop_grace = "3s"
        sidecar_reserve = "1s"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "read line < @dir@/go; echo into the ice > @dir@/../frozen-link/file"]
'''.replace("@dir@/../frozen-link", str(mounted)))
    os.mkfifo(service.directory / "go")
    mounted.chmod(0o777)
    is_frozen = False
    try:
        service.start()
        run(["fsfreeze", "-f", mounted], check=0)
        is_frozen = True
        (service.directory / "go").write_text("\n")
        pid = service.child("app")["pid"]
        service.wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "D", what="the app to be stuck")
        service.process.signal(signal.SIGTERM)
        assert service.process.wait(60) == 137
        assert "stuck" in service.output
        assert str(pid) in service.output
    finally:
        if is_frozen:
            run(["fsfreeze", "-u", mounted])
        wait_until(lambda: run(["umount", mounted]).returncode == 0, what="the file system to be free")
    service.start()  # what the first run could not remove is removed by the next
    assert service.stop().returncode == 143


def test_a_daemon_that_keeps_the_pipes_open_ends_with_its_generation(services):
    """The main process exits; what it left in a session of its own holds stdout and is deaf to TERM."""
    service = services('''
        [service]
        stop_grace = "4s"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        [sidecar.forks]
        command = ["/usr/bin/python3", "-S", "@dir@/daemon.py"]
        backoff = { base = "100ms", max = "100ms" }
''')
    (service.directory / "daemon.py").write_text('''
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("daemon", os.getpid(), flush=True)
        while True:
            time.sleep(0.05)
    os._exit(0)
time.sleep(0.2)
''')
    service.start(wait=False)
    service.wait_for(lambda: (service.child("forks") or {}).get("generation", 0) >= 3, what="generations")
    daemons = [int(line.split()[-1]) for line in service.log("forks").splitlines() if " daemon " in line]
    assert len(daemons) >= 2
    wait_until(lambda: not Path(f"/proc/{daemons[0]}").exists(), what="the first daemon to be gone")
