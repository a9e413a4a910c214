"""`pillion top` in a real pseudo-terminal and without one, and `pillion recommend` after some use."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import tomllib

import pytest

from support.pillion_testing import program, requires_root, wait_until

pytestmark = requires_root


@pytest.fixture
def busy(services):
    service = services('''
        [service]
        usage_period = "100ms"
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-c", "x = bytearray(20 << 20)\\nwhile True: pass"]
        limits = { cpu = "0.2", memory = "256MiB" }
        [sidecar.idle]
        command = ["/bin/sleep", "1000"]
''')
    service.start()
    return service


class Terminal:
    """`pillion top` on a pseudo-terminal of its own."""

    def __init__(self, service, *words, rows=30, columns=120):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen([program("pillion"), "top", *words], stdin=slave, stdout=slave, stderr=slave,
                                        env={**os.environ, **{k: str(v) for k, v in service.env.items()},
                                             "TERM": "xterm"}, start_new_session=True)
        self.seen = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            self.seen += os.read(self.master, 65536).decode(errors="replace")
        return self.seen

    def wait_for(self, text):
        return wait_until(lambda: text in self.read(), 30, f"{text!r} on the screen")

    def last_screen(self):
        """The lines of the latest complete drawing, without colours."""
        drawn = re.findall(r"\x1b\[H(.*?)\x1b\[J", self.read(), re.S)
        return [re.sub(r"\x1b\[[0-9;]*[mK]", "", line).rstrip() for line in drawn[-1].split("\r\n")]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminals(busy):
    opened = []

    def make(*words, **size):
        opened.append(Terminal(busy, *words, **size))
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.close()


def test_top_is_live_in_a_terminal_follows_its_size_and_gives_it_back(busy, terminals):
    screen = terminals(busy.name, "-d", "200ms")
    screen.wait_for("q quits")
    lines = screen.last_screen()
    assert lines[0].startswith(busy.name) and any(line.split()[:1] == ["idle"] for line in lines), lines
    drawings = screen.read().count("\x1b[H")
    wait_until(lambda: screen.read().count("\x1b[H") >= drawings + 2, 30, "two more drawings")
    screen.resize(3, 20)
    os.kill(screen.process.pid, signal.SIGWINCH)
    wait_until(lambda: len(screen.last_screen()) == 3 and max(map(len, screen.last_screen())) <= 20, 30, "the small size")
    os.write(screen.master, b"q")
    assert screen.process.wait(30) == 0
    assert screen.read().endswith("\x1b[?1049l")
    assert termios.tcgetattr(screen.slave) == screen.before


def test_top_gives_the_terminal_back_when_it_is_told_to_end(busy, terminals):
    screen = terminals(busy.name)
    screen.wait_for("q quits")
    screen.process.send_signal(signal.SIGTERM)
    assert screen.process.wait(30) == 0
    assert screen.read().endswith("\x1b[?1049l")
    assert termios.tcgetattr(screen.slave) == screen.before


def test_top_without_a_terminal_prints_one_look(busy):
    wait_until(lambda: usage_of(busy, "app").get("cpu", 0) > 0.05, 30, "the CPU to be seen")
    once = busy.command("top", busy.name)
    assert once.returncode == 0 and "\x1b" not in once.stdout
    row = next(line.split() for line in once.stdout.splitlines() if line.split()[:1] == ["app"])
    assert row[1] == "running" and row[2].endswith("%"), row
    app = usage_of(busy, "app")
    assert app["cpu_limit"] == 0.2 and app["memory_limit_bytes"] == 256 << 20
    if "working_set_bytes" in app:
        wait_until(lambda: usage_of(busy, "app")["working_set_bytes"] > 20 << 20, 30, "its memory to be seen")


def usage_of(service, child):
    looks = json.loads(service.command("top", service.name, "--json").stdout)
    return next(each for each in looks[0]["children"] if each["name"] == child)


def test_recommend_says_what_it_rests_on_and_gives_a_patch_that_the_file_takes(busy):
    def numbers():
        answer = busy.command("recommend", busy.name, "--json")
        return {each["child"]: each for each in json.loads(answer.stdout)["children"]}
    if any("limits" in warning for warning in busy.status()["warnings"]):
        pytest.skip("not all controllers here")
    app = wait_until(lambda: numbers()["app"]["samples"] >= 10 and numbers()["app"], 30, "ten samples")
    assert app["thin"] and app["generations"] == 1 and 0 < app["observed_seconds"] < 300
    assert 0.005 < app["cpu_p90"] < 0.6, app  # a busy machine gives it less than its limit of 0.2
    patch = busy.command("recommend", f"{busy.name}/app").stdout
    assert "less than a day" in patch and "samples over" in patch and "[sidecar.idle]" not in patch
    tables = tomllib.loads(patch)
    assert tables["app"]["requests"].keys() == tables["app"]["limits"].keys() == {"cpu", "memory"}
    # In place of what the file has, it is a good file.
    text = re.sub(r"^limits = .*$", "\n".join(line for line in patch.splitlines() if not line.startswith(("#", "["))),
                  busy.file.read_text(), flags=re.M)
    patched = busy.directory / "patched.toml"
    patched.write_text(text)
    checked = busy.command("check", patched)
    assert checked.returncode == 0, checked.stdout + checked.stderr + text


def test_recommend_knows_a_service_that_has_ended_from_its_file(busy):
    time_limit = time.monotonic() + 30
    while "samples over" not in busy.command("recommend", busy.name).stdout:
        assert time.monotonic() < time_limit
    busy.stop()
    after = busy.command("recommend", busy.file)
    assert after.returncode == 0 and "samples over" in after.stdout, after.stderr
    assert busy.command("recommend", busy.name).returncode != 0
