"""`pillion run` on a terminal: what `docker run -it` gives, in a pseudo-terminal of the test's own."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from support.pillion_testing import program, requires_root, wait_until

SHELL = '''
        [network]
        mode = "host"
        [app]
        command = ["/bin/bash", "--norc", "--noprofile", "-i"]
        env = { PS1 = "ready> ", TERM = "dumb", HISTFILE = "" }
        restart = "never"
'''


class Terminal:
    """A pseudo-terminal with a process on it that is session leader there."""

    def __init__(self, argv, env, rows=24, columns=80):
        self.ours, theirs = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.ours)
        self.text = ""
        self.process = subprocess.Popen([str(word) for word in argv], stdin=theirs, stdout=theirs, stderr=theirs,
                                        env={**os.environ, **{key: str(value) for key, value in env.items()}},
                                        start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)

    def resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.ours, text.encode())

    def read_until(self, text, timeout=30):
        """What was shown up to and including `text`."""
        deadline = time.monotonic() + timeout
        while text not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"waited {timeout} s for {text!r}; shown: {self.text!r}"
            if select.select([self.ours], [], [], left)[0]:
                try:
                    self.text += os.read(self.ours, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"the terminal is closed, {text!r} not seen; shown: {self.text!r}") from None
        shown, self.text = self.text.split(text, 1)
        return shown + text

    def hang_up(self):
        os.close(self.ours)
        self.ours = -1

    def wait(self, timeout=30):
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still runs; shown: {self.text!r}"
            if self.ours >= 0 and select.select([self.ours], [], [], 0.05)[0]:
                try:
                    self.text += os.read(self.ours, 65536).decode(errors="replace")
                except OSError:
                    time.sleep(0.05)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.ours >= 0:
            os.close(self.ours)


@pytest.fixture
def shell(services):
    """A service whose app is a shell on a terminal; its Terminal."""
    open_ones = []

    def start(*args, toml=SHELL, prefix=()):
        service = services(toml)
        terminal = Terminal([*prefix, program("pillion"), "run", *args, service.file], service.env)
        open_ones.append((service, terminal))
        return service, terminal

    yield start
    for service, terminal in open_ones:
        terminal.close()
        wait_until(lambda: not service.leaks(), what=f"nothing to be left: {service.leaks()}")


def test_the_app_has_a_terminal_with_job_control_and_its_size(shell):
    service, terminal = shell("--tty")
    banner = terminal.read_until("ready> ")
    assert "no job control" not in banner and "cannot set terminal process group" not in banner
    terminal.type("tty_size() { stty size < /dev/tty; }; tty_size; test -t 0 -a -t 1 -a -t 2 && echo all' three'\n")
    assert "24 80" in terminal.read_until("all three")
    terminal.read_until("ready> ")
    terminal.resize(50, 132)
    terminal.process.send_signal(signal.SIGWINCH)  # as the kernel does for the foreground group
    terminal.type("sleep 0.2; tty_size\n")
    terminal.read_until("50 132")
    terminal.read_until("ready> ")
    terminal.type("exit 9\n")
    assert terminal.wait() == 9
    assert termios.tcgetattr(terminal.ours)[:4] == terminal.before[:4], "the terminal is as it was"
    assert "all three" in service.log("app")  # the log has it too


def test_control_keys_go_to_the_foreground_job_and_not_to_the_supervisor(shell):
    _, terminal = shell("--tty")
    terminal.read_until("ready> ")
    terminal.type("sleep 1000; echo interrupted' with' $?\n")
    terminal.read_until("with' $?")
    time.sleep(0.2)
    terminal.type("\x03")
    terminal.read_until("ready> ")
    terminal.type("sleep 1000\n")
    terminal.read_until("sleep 1000")
    time.sleep(0.2)
    terminal.type("\x1a")
    terminal.read_until("Stopped")
    terminal.read_until("ready> ")
    terminal.type("kill %1; echo still' here'\n")
    terminal.read_until("still here")
    terminal.type("exit 0\n")
    terminal.type("exit 0\n")  # bash warns once of stopped jobs
    assert terminal.wait() == 0


def test_the_app_keeps_its_terminal_when_the_supervisor_dies(shell):
    service, terminal = shell("--tty")
    terminal.read_until("ready> ")
    before = service.status()["supervisor_pid"]
    os.kill(before, signal.SIGKILL)
    service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, before), what="the next supervisor")
    terminal.type("echo the same' shell' $PPID\n")
    terminal.read_until("the same shell")
    terminal.type("exit 4\n")
    assert terminal.wait() == 4
    assert termios.tcgetattr(terminal.ours)[:4] == terminal.before[:4]


def test_a_terminal_that_hangs_up_ends_the_app_and_the_service(shell):
    service, terminal = shell("--tty", toml='''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap '' TERM; trap 'echo hung up > @dir@/hup; exit 1' HUP; echo trap is set; while :; do sleep 0.02; done"]
''')
    terminal.read_until("trap is set")
    terminal.hang_up()
    terminal.wait()
    assert (service.directory / "hup").read_text() == "hung up\n"


@requires_root
def test_as_pid_1_on_a_terminal_the_app_gets_it_unasked(shell):
    _, terminal = shell(prefix=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"])
    terminal.read_until("ready> ")
    terminal.type("test -t 1 && echo it' is'\n")
    terminal.read_until("it is")
    terminal.type("exit 3\n")
    assert terminal.wait() == 3


def test_without_a_terminal_the_flag_is_refused(services):
    service = services(SHELL)
    service.start(wait=False, args=["--tty"])
    assert service.process.wait() == 71
    assert "--tty needs a terminal on stdin" in service.output


def test_in_the_background_of_a_terminal_it_is_not_stopped(shell, workspace):
    """A job of a shell with `stty tostop`: what it prints, and its end, must not stop it (SIGTTOU)."""
    toml = '''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 5' TERM; while :; do echo talking; sleep 0.02; done"]
'''
    script = ("import os, signal, subprocess, sys, termios\n"
              "settings = termios.tcgetattr(0); settings[3] |= termios.TOSTOP; termios.tcsetattr(0, termios.TCSANOW, settings)\n"
              "job = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: os.setpgid(0, 0))\n"
              "print('pid', job.pid, flush=True)\n"
              "sys.stdin.readline()\n"
              "job.terminate()\n"
              "print('code', job.wait(), flush=True)\n")
    (workspace / "shell.py").write_text(script)
    service, terminal = shell(toml=toml, prefix=["/usr/bin/python3", "-S", workspace / "shell.py"])
    terminal.read_until("pid ")
    service.wait_for(lambda: (service.status() or {}).get("ready"), what="the service to be ready")
    terminal.read_until("talking")
    terminal.type("\n")
    terminal.read_until("code 5")
    assert terminal.wait() == 0
