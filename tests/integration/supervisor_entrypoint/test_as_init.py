"""What tini, dumb-init, s6 and Pebble promise of an init process, asked of `pillion run` as PID 1 and not."""
import os
import signal
import sys
from pathlib import Path

import pytest

from support.pillion_testing import program, requires_root, run, wait_until

# Writes the name of each signal it gets; TERM ends it with 3.
RECORDER = '''
import os, signal, sys, time
def note(number, _):
    name = signal.Signals(number).name if number < 32 else f"RT{number - signal.SIGRTMIN}"
    os.write(1, f"got {name}\\n".encode())  # handlers interrupt each other, print() may not be
    if number == signal.SIGTERM:
        sys.exit(3)
for number in [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM,
               signal.SIGWINCH, signal.SIGCONT, signal.SIGRTMIN, signal.SIGRTMIN + 5, signal.SIGRTMAX]:
    signal.signal(number, note)
print("listening", flush=True)
while True:
    time.sleep(0.02)
'''
RECORDING = '''
        [service]
        {settings}
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-S", "@dir@/recorder.py"]
        restart = "never"
'''
FORWARDED = {"USR1": signal.SIGUSR1, "USR2": signal.SIGUSR2, "QUIT": signal.SIGQUIT, "WINCH": signal.SIGWINCH,
             "CONT": signal.SIGCONT, "RT5": signal.SIGRTMIN + 5, "HUP": signal.SIGHUP}
AS_PID_1 = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]


def name_in_log(name):
    return f"got {name}" if name.startswith("RT") else f"got SIG{name}"


@pytest.fixture
def recorder(services):
    def start(settings="", as_pid_1=False):
        service = services(RECORDING.format(settings=settings))
        (service.directory / "recorder.py").write_text(RECORDER)
        if as_pid_1:
            service.run_prefix = AS_PID_1
        service.start(wait=False)
        service.wait_for(lambda: "listening" in service.log("app"), what="the app to listen")
        keeper = service.process.pid
        if as_pid_1:
            keeper = int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])
        return service, keeper
    return start


@requires_root
def test_as_pid_1_every_signal_reaches_the_app_and_its_code_comes_out(recorder):
    service, keeper = recorder(as_pid_1=True)
    for name, number in FORWARDED.items():
        os.kill(keeper, number)
        service.wait_for(lambda: name_in_log(name) in service.log("app"), what=name)
    os.kill(keeper, signal.SIGTERM)
    assert service.process.wait() == 3
    got = [line.rsplit("got ", 1)[1] for line in service.log("app").splitlines() if " got " in line]
    assert got.count("SIGTERM") == 1 and len(got) == len(FORWARDED) + 1


def test_not_as_pid_1_a_hangup_is_not_for_the_app(recorder):
    service, keeper = recorder()
    for name, number in FORWARDED.items():
        os.kill(keeper, number)
    for name in FORWARDED.keys() - {"HUP"}:
        service.wait_for(lambda: name_in_log(name) in service.log("app"), what=name)
    assert "got SIGHUP" not in service.log("app")
    assert service.stop().returncode == 3


def test_signals_are_rewritten_and_ignored_by_the_map(recorder):
    service, keeper = recorder('signal_map = { SIGINT = "SIGUSR1", SIGQUIT = "SIGTERM", SIGUSR2 = "ignore" }')
    os.kill(keeper, signal.SIGUSR2)
    os.kill(keeper, signal.SIGINT)
    service.wait_for(lambda: "got SIGUSR1" in service.log("app"), what="INT as USR1")
    assert "got SIGUSR2" not in service.log("app")
    os.kill(keeper, signal.SIGQUIT)  # to the app alone: nobody asked for a stop
    service.wait_for(lambda: "got SIGTERM" in service.log("app"), what="QUIT as TERM")
    assert service.process.wait() == 3


def test_a_signal_sent_many_times_before_the_app_listens_harms_nobody(services):
    service = services(RECORDING.format(settings=""))
    (service.directory / "recorder.py").write_text(RECORDER)
    service.start(wait=False)
    for _ in range(50):
        os.kill(service.process.pid, signal.SIGWINCH)
        os.kill(service.process.pid, signal.SIGCONT)
    service.wait_for(lambda: "listening" in service.log("app"), what="the app to listen")
    assert service.stop().returncode == 3


def test_the_whole_group_hears_the_stop_when_the_scope_says_so(services):
    script = ("trap 'echo parent; wait; exit 4' TERM; "
              "(trap 'echo child; exit 0' TERM; echo up; while :; do sleep 0.02; done) & while :; do sleep 0.02; done")
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "{script}"]
        signal_scope = "group"
''')
    service.start()
    service.wait_for(lambda: "up" in service.log("app"), what="the app's child")
    assert service.stop().returncode == 4
    assert "child\n" in service.log("app") and "parent\n" in service.log("app")


EXITS = {
    "0": ('command = ["/bin/true"]', 0),
    "1": ('command = ["/bin/sh", "-c", "exit 1"]', 1),
    "255": ('command = ["/bin/sh", "-c", "exit 255"]', 255),
    "TERM": ('command = ["/bin/sh", "-c", "kill -TERM $$"]', 128 + 15),
    "KILL": ('command = ["/bin/sh", "-c", "kill -KILL $$"]', 128 + 9),
    "SEGV": ('command = ["/bin/sh", "-c", "ulimit -c 0; kill -SEGV $$"]', 128 + 11),
    "remapped": ('command = ["/bin/sh", "-c", "exit 143"]\n        success_exit_codes = [143]', 0),
    "not found": ('command = ["/nonexistent/program"]', 127),
    "not executable": ('command = ["/etc/hostname"]', 126),
    "no directory": ('command = ["/bin/true"]\n        working_directory = "/nonexistent"', 71),
    "gave up": ('command = ["/bin/sleep", "1000"]\n        [sidecar.helper]\n        command = ["/bin/sh", "-c", "exit 5"]\n'
                '        max_restarts = 1\n        on_give_up = "exit"\n        backoff = { base = "1ms", max = "1ms" }', 70),
    "bad file": ('command = ["/bin/true"]\n        restrat = "never"', 78),
}


@pytest.mark.parametrize("case", EXITS)
def test_the_exit_code_is_the_apps_or_says_what_went_wrong(services, case):
    lines, code = EXITS[case]
    restart = "" if case == "gave up" else '\n        restart = "never"'
    service = services(f'''
        [network]
        mode = "host"
        [app]
        {lines}{restart}
''')
    service.start(wait=False)
    assert service.process.wait() == code, service.output


def test_an_app_that_outlives_its_grace_ends_as_137(services):
    service = services('''
        [service]
        stop_grace = "1s"
        sidecar_reserve = "0s"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done"]
''')
    service.start()
    service.wait_for(lambda: "up" in service.log("app"), what="the app")
    assert service.stop().returncode == 137


ORPHANS = ("import os, time\n"
           "for _ in range(200):\n"
           "    if os.fork() == 0:\n"
           "        if os.fork() == 0:\n"
           "            time.sleep(0.05)\n"
           "            os._exit(0)\n"
           "        os._exit(0)\n"
           "    os.wait()\n"
           "print('made', flush=True)\n"
           "time.sleep(1000)\n")


@pytest.mark.parametrize("as_pid_1", [pytest.param(True, marks=requires_root), False])
def test_hundreds_of_orphans_are_reaped(services, as_pid_1):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-S", "@dir@/orphans.py"]
        restart = "never"
''')
    (service.directory / "orphans.py").write_text(ORPHANS)
    if as_pid_1:
        service.run_prefix = AS_PID_1
    service.start(wait=False)
    service.wait_for(lambda: "made" in service.log("app"), what="the orphans to be made")
    keeper = service.process.pid
    if as_pid_1:
        keeper = int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])

    def states():
        found = []
        for pid in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
            try:
                found.append(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0])
            except OSError:
                pass
        return found

    service.wait_for(lambda: len(states()) <= 2, what="only supervisor and app to be left")
    os.kill(keeper, signal.SIGTERM)
    assert service.process.wait() == 143


def test_a_child_starts_with_a_clean_slate(services, workspace):
    """Whatever `pillion run` was started with: ignored and blocked signals, descriptors, environment, umask."""
    report = ("import os, signal\n"
              "lines = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
              "print('ignored', int(lines['SigIgn'], 16) & ~(1 << 12 | 1 << 24), 'blocked', int(lines['SigBlk'], 16))\n"
              "print('descriptors', sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])\n"
              "print('secret' in os.environ, oct(os.umask(0)), os.getpgrp() == os.getpid() == os.getsid(0))\n")
    (workspace / "report.py").write_text(report)
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-S", "{workspace}/report.py"]
        restart = "never"
''', env={"secret": "1"})
    dirty = ("import os, signal, sys\n"
             "for n in (signal.SIGHUP, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1): signal.signal(n, signal.SIG_IGN)\n"
             "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])\n"
             "os.umask(0o77)\n"
             "fd = os.open('/dev/null', 0); os.dup2(fd, 77, True)\n"
             "os.execv(sys.argv[1], sys.argv[1:])\n")
    service.run_prefix = [sys.executable, "-S", "-c", dirty]
    service.start(wait=False)
    assert service.process.wait() == 0, service.output
    text = [line.split(" ", 3)[3] for line in service.log("app").splitlines()]
    assert text == ["ignored 0 blocked 0", "descriptors [0, 1, 2]", "False 0o22 True"]


CONFINED = '''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "echo the app runs; trap 'exit 6' TERM; while :; do sleep 0.02; done"]
        user = "nobody"
        limits = { memory = "64MiB" }
'''


@requires_root
def test_unprivileged_on_a_read_only_root_it_names_each_missing_guarantee(services):
    """As in a container with --user, --read-only and only /run writable."""
    service = services(CONFINED, env={"PILLION_LOG_DIR": "/var/log/pillion", "PILLION_STATE_DIR": "/var/lib/pillion",
                                      "PILLION_RUNTIME_DIR": "/run/pillion-test"}, uid=61000)
    shell = (f'mount --bind / /mnt && mount -o remount,ro,bind /mnt && mount -t proc proc /mnt/proc && '
             f'mount --rbind /dev /mnt/dev && mount -t tmpfs -o mode=1777 tmpfs /mnt/run && mkdir -p /mnt{service.directory} && '
             f'mount --bind {service.directory} /mnt{service.directory} && cd / && '
             'exec chroot /mnt "$@"')
    service.run_prefix = [*AS_PID_1, "--mount", "sh", "-c", shell, "sh"]
    process = service.start(wait=False).process
    wait_until(lambda: "the app runs" in process.output, what="the app")
    output = process.output
    assert "no cgroups" in output and "not enforced" in output
    assert "the children's output is not kept" in output and "Read-only file system" in output
    assert "nothing is remembered from run to run" in output
    assert "not root" in output
    keeper = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(keeper, signal.SIGTERM)
    assert process.wait() == 6


@requires_root
def test_root_without_any_capability_runs_as_in_a_container_that_dropped_them_all(services):
    service = services(CONFINED.replace('user = "nobody"\n', ""))
    service.run_prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    service.start()
    assert "CapBnd:\t0000000000000000" in open(f"/proc/{service.child('app')['pid']}/status").read()
    assert service.stop().returncode == 6


@requires_root
def test_with_nothing_writable_it_says_which_directory_it_needs(services):
    service = services(CONFINED, env={"PILLION_RUNTIME_DIR": "/run/pillion-test"}, uid=61000)
    shell = ('mount --bind / /mnt && mount -o remount,ro,bind /mnt && mount -t proc proc /mnt/proc && '
             'exec chroot /mnt "$@"')
    service.run_prefix = [*AS_PID_1, "--mount", "sh", "-c", shell, "sh"]
    service.start(wait=False)
    assert service.process.wait() == 71
    assert "cannot create /run/pillion-test: " in service.output
    assert "PILLION_RUNTIME_DIR may name a directory that can be written" in service.output
