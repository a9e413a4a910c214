"""Children with process numbers of their own: what they see, who reaps, what ends whom, and that signals, exit
statuses, notifications, probes and take-over work as without."""
import os
import signal
from pathlib import Path

import pytest

from support.pillion_testing import requires_root, wait_until

pytestmark = requires_root

# Becomes ready only if the notification that it sends from inside is understood to be its own.
APP = r'''
import os, signal, socket, sys, time
address = os.environ["NOTIFY_SOCKET"]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
    channel.sendto(b"READY=1\nSTATUS=number %d" % os.getpid(), address)
numbers = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
print("SEES", os.getpid(), os.getppid(), numbers, flush=True)
if "orphan" in sys.argv:
    if os.fork() == 0:
        if os.fork() == 0:
            while os.getppid() != 1: time.sleep(0.005)
            print("ORPHAN of", os.getppid(), flush=True)
            os._exit(0)
        os._exit(0)
    os.wait()
if "leftover" in sys.argv and os.fork() == 0:
    time.sleep(1000)
time.sleep(1000)
'''


def service_in(services, kind, words="", more=""):
    service = services(f"""
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "@dir@/app.py", "{words}"]
        gate = {{ notify = true }}
        hardening = {{ pid_namespace = "{kind}" }}
        {more}
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        hardening = {{ pid_namespace = "{kind}" }}
""")
    script = service.directory / "app.py"
    script.write_text(APP)
    service.write(service.file.read_text().replace("@dir@/app.py", str(script)))
    return service


def namespace_of(pid):
    return os.stat(f"/proc/{pid}/ns/pid").st_ino


def init_of(pid):
    """The process 1 of that process's namespace, as we number it."""
    wanted = namespace_of(pid)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "comm").read_text().strip() == "pillion-init" and namespace_of(int(entry.name)) == wanted:
                return int(entry.name)
        except OSError:
            pass
    return None


def is_gone(pid):
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def seen_by(service):
    line = wait_until(lambda: [text for text in service.log("app").splitlines() if "SEES" in text])[0]
    number, parent, numbers = line.split("SEES ")[1].split(" ", 2)
    return int(number), int(parent), [int(word) for word in numbers.strip("[]").split(",")]


def test_each_run_of_a_child_has_numbers_of_its_own(services):
    service = service_in(services, "child")
    service.start()
    app, helper = service.child("app")["pid"], service.child("helper")["pid"]
    assert len({namespace_of(app), namespace_of(helper), namespace_of(os.getpid())}) == 3
    number, parent, numbers = seen_by(service)
    assert (number, parent, numbers) == (2, 0, [2])  # the init is hidden, as every process that is not its own
    assert service.child("app")["status"] == "number 2"
    inits = {init_of(app), init_of(helper)}
    assert None not in inits
    assert service.stop().returncode in (0, 143)
    wait_until(lambda: all(is_gone(pid) for pid in inits), what="the end of both inits")


def test_the_children_of_a_service_may_share_one_namespace(services):
    service = service_in(services, "service")
    service.start()
    app, helper = service.child("app")["pid"], service.child("helper")["pid"]
    assert namespace_of(app) == namespace_of(helper) != namespace_of(os.getpid())
    assert seen_by(service)[:2] == (3, 0)
    init = init_of(app)
    assert service.command("restart", service.name, "helper").returncode == 0
    wait_until(lambda: service.child("helper")["generation"] == 2 and service.child("helper")["state"] == "running")
    assert namespace_of(service.child("helper")["pid"]) == namespace_of(app)
    assert init_of(app) == init
    service.stop()
    wait_until(lambda: is_gone(init), what="the end of the init")


@pytest.mark.parametrize("kind", ["child", "service"])
def test_an_orphan_is_reaped_by_the_init_of_its_namespace(services, kind):
    service = service_in(services, kind, "orphan")
    service.start()
    init = init_of(service.child("app")["pid"])
    service.wait_for(lambda: "ORPHAN of 1" in service.log("app"), what="the orphan's line")

    def children():
        return Path(f"/proc/{init}/task/{init}/children").read_text().split()
    wait_until(lambda: not children(), what="an init without children")


def test_a_signal_without_a_handler_ends_the_child_and_its_status_is_the_real_one(services):
    service = service_in(services, "child", more='restart = "never"')
    service.start()
    os.kill(service.child("app")["pid"], signal.SIGUSR1)
    service.process.wait()
    assert service.process.returncode == 128 + signal.SIGUSR1
    assert "app was killed by signal 10" in service.process.output


def test_a_child_that_takes_the_stop_signals_default_stops_at_once(services):
    service = service_in(services, "child")
    service.start()
    receipt = service.stop()
    assert receipt.returncode == 128 + signal.SIGTERM


def test_what_a_child_leaves_behind_ends_before_its_next_run(services):
    service = service_in(services, "child", "leftover")
    service.start()
    app = service.child("app")["pid"]
    init = init_of(app)
    os.kill(app, signal.SIGKILL)
    wait_until(lambda: service.child("app")["generation"] == 2 and service.child("app")["state"] == "running")
    assert init_of(service.child("app")["pid"]) != init
    wait_until(lambda: is_gone(init), what="the end of the first run's init")


def test_a_killed_init_ends_its_child_which_is_started_again(services):
    service = service_in(services, "service")
    service.start()
    first = init_of(service.child("app")["pid"])
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: all(service.child(name)["restarts"] == 1 and service.child(name)["state"] == "running"
                           for name in ("app", "helper")))
    second = init_of(service.child("app")["pid"])
    assert second not in (None, first)
    assert namespace_of(service.child("app")["pid"]) == namespace_of(service.child("helper")["pid"])


@pytest.mark.parametrize("kind", ["child", "service"])
def test_namespaces_outlive_the_supervisor(services, kind):
    service = service_in(services, kind)
    service.start()
    pids = [service.child(name)["pid"] for name in ("app", "helper")]
    inits = {init_of(pid) for pid in pids}
    before = service.status()["supervisor_pid"]
    os.kill(before, signal.SIGKILL)
    service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, before))
    assert [service.child(name)["pid"] for name in ("app", "helper")] == pids
    assert not any(is_gone(init) for init in inits)
    os.kill(pids[1], signal.SIGKILL)
    wait_until(lambda: service.child("helper")["generation"] == 2 and service.child("helper")["state"] == "running")
    inits.add(init_of(service.child("helper")["pid"]))
    service.stop()
    wait_until(lambda: all(is_gone(init) for init in inits), what="the end of every init")


def test_probes_hooks_and_exec_see_the_childs_numbers(services):
    service = service_in(services, "child", more="""
        readiness_probe = { exec = { command = ["/bin/sh", "-c", "kill -0 2 && readlink /proc/self"] }, period = "100ms" }
        post_start = { exec = { command = ["/bin/sh", "-c", "test -e /proc/2/stat"] } }
""")
    service.start()
    service.wait_for(lambda: service.status()["ready"], what="a probe that finds process 2")
    inside = service.command("exec", service.name, "app", "--", "/bin/sh", "-c", "kill -0 2 && cd /proc && echo [0-9]*")
    assert (inside.returncode, inside.stdout.split()[0]) == (0, "2")


def test_the_init_has_no_privilege_and_little_memory(services):
    service = service_in(services, "child")
    service.start()
    init = init_of(service.child("app")["pid"])
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{init}/status").read_text().splitlines() if ":\t" in line)
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    assert int(status["VmRSS"].split()[0]) < 1024
    assert len(os.listdir(f"/proc/{init}/fd")) == 4


def test_an_out_of_memory_kill_inside_is_told_as_one(services):
    service = services("""
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-c", "import time; time.sleep(0.2); x = bytearray(256 << 20); time.sleep(1000)"]
        limits = { memory = "24MiB" }
        backoff = { base = "30s", max = "60s" }
        hardening = { pid_namespace = "child" }
""")
    service.start(wait=False)
    killed = service.wait_for(
        lambda: (child := service.child("app")) and child.get("last_exit", {}).get("oom") and child,
        what="the app to be killed for its memory")
    assert killed["last_exit"]["code"] == 137
