"""Records of several lines: whole whatever the pace of the writer, and through every kind of end."""
import subprocess
from signal import SIGKILL

import pytest

from support.log_lab import LogLab
from support.pillion_testing import program, wait_until

FILE = 'file = "@dir@/app.log"\ntimezone = "utc"\nformat = "log4j"\n'
OUT = 'file = { path = "@dir@/out.json" }'
HEAD = "2024-01-15 14:32:01,978 ERROR [main] org.example.Orders: failed\n"
TRACE = ["java.lang.IllegalStateException: closed\n",
         "\tat org.example.Orders.take(Orders.java:9)\n",
         "Caused by: java.io.IOException: reset\n",
         "\t... 1 more\n"]
NEXT = "2024-01-15 14:32:02,100 INFO [main] org.example.Orders: next\n"
WHOLE = ("failed\n" + "".join(TRACE)).rstrip("\n")


@pytest.fixture
def lab(workspace):
    return LogLab(workspace)


def configure(lab, multiline='preset = "java"', more=""):
    lab.configure(FILE + more + f"multiline = {{ {multiline} }}", OUT, '[checkpoint]\ninterval = "50ms"')


def write(lab, *texts, name="app.log"):
    with open(lab.path(name), "a") as file:
        file.write("".join(texts))


def messages(lab):
    return [record["message"] for record in lab.records()]


def lag(lab):
    """Bytes of the log that no acknowledged record holds."""
    text = lab.checkpoint_path("file").read_text()
    return lab.path("app.log").stat().st_size - int(text.split('"offset":')[1].split(",")[0])


def test_a_trace_written_piece_by_piece_is_one_record(lab):
    configure(lab, 'preset = "java", timeout = "1h"')
    with lab.start() as logs:
        write(lab, HEAD)
        for part in TRACE:
            write(lab, part[:7])
            write(lab, part[7:])
        write(lab, NEXT)
        wait_until(lambda: len(messages(lab)) >= 1)
        assert logs.stop() == 0, logs.output
    first, second = lab.records()
    assert first["message"] == WHOLE and first["log.level"] == "error"
    assert first["@timestamp"] == "2024-01-15T14:32:01.978Z"
    assert first["log.logger"] == "org.example.Orders"
    assert second["message"] == "next"  # the stop has ended it
    assert "log.flags" not in second


def test_the_last_record_is_not_held_back_for_ever(lab):
    configure(lab, 'preset = "java", timeout = "300ms"')
    with lab.start() as logs:
        write(lab, HEAD, *TRACE)
        wait_until(lambda: messages(lab) == [WHOLE])
        write(lab, NEXT.rstrip("\n"))  # its line is not finished: the writer may be in the middle of it
        write(lab, "!\n")
        wait_until(lambda: messages(lab) == [WHOLE, "next!"])
        assert logs.stop() == 0, logs.output


def test_killed_while_a_trace_is_half_written_nothing_is_lost_or_split(lab):
    configure(lab, 'preset = "java", timeout = "1h"')
    write(lab, NEXT, HEAD, *TRACE[:2])
    logs = lab.start()
    wait_until(lambda: messages(lab) == ["next"])
    wait_until(lambda: lag(lab) == len(HEAD + TRACE[0] + TRACE[1]))
    logs.signal(SIGKILL)
    logs.wait()
    write(lab, *TRACE[2:], NEXT)
    with lab.start() as logs:
        wait_until(lambda: len(messages(lab)) >= 2)
        assert logs.stop() == 0, logs.output
    assert messages(lab) == ["next", WHOLE, "next"]


def test_streams_of_a_container_are_grouped_apart(lab):
    configure(lab, more='framing = "cri"\n')
    lines = [HEAD, *TRACE, NEXT]
    with lab.start() as logs:
        for at, line in enumerate(lines):
            time = f"2024-01-15T14:32:01.{at:03}Z"
            write(lab, f"{time} stderr F:g2 {line}", f"{time} stdout F:g2 {NEXT}")
        wait_until(lambda: len(messages(lab)) >= 8)  # also the last ones, after a second
        assert logs.stop() == 0, logs.output
    records = lab.records()
    assert [r["message"] for r in records if r["stream"] == "stderr"] == [WHOLE, "next"]
    assert [r["message"] for r in records if r["stream"] == "stdout"] == ["next"] * 6
    assert all(r["pillion.generation"] == 2 for r in records)
    receipt = lab.receipt()
    assert receipt["records_read"] == receipt["records_delivered"] == 8


def test_a_rotated_file_ends_its_last_record(lab):
    configure(lab, 'preset = "java", timeout = "1h"', more='rotate_wait = "200ms"\n')
    with lab.start() as logs:
        write(lab, HEAD, *TRACE)
        wait_until(lambda: lab.checkpoint_path("file").exists())
        lab.path("app.log").rename(lab.path("app.log.1"))
        write(lab, NEXT, NEXT)
        wait_until(lambda: WHOLE in messages(lab))
        assert logs.stop() == 0, logs.output
    assert sorted(messages(lab)) == [WHOLE, "next", "next"]


def test_standard_input_and_a_start_pattern(lab):
    lab.configure('stdin = true\nformat = "raw"\nmultiline = { preset = "pattern", start = "^%{INT} " }', OUT)
    text = "1 a\nb\n2 c\n\n d\n3 e"
    done = subprocess.run([program("pillion-logs"), "--config", lab.config], input=text, text=True,
                          capture_output=True, timeout=60,
                          env={"PILLION_STATE_DIR": str(lab.directory / "state"), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert messages(lab) == ["1 a\nb", "2 c\n\n d", "3 e"]


def test_the_rules_are_checked_and_tried_by_hand(lab):
    def logs(*arguments, text=""):
        return subprocess.run([program("pillion-logs"), *map(str, arguments)], input=text, text=True,
                              capture_output=True, timeout=60)

    lab.configure('stdin = true\nmultiline = { preset = "pattern", start = "(" }', OUT)
    done = logs("--config", lab.config, "--check")
    assert done.returncode == 78 and "start" in done.stderr and "parenthes" in done.stderr, done.stderr
    lab.configure('stdin = true\nmultiline = { preset = "java", start = "x" }', OUT)
    done = logs("--config", lab.config, "--check")
    assert done.returncode == 78 and "preset \"pattern\"" in done.stderr, done.stderr
    text = HEAD + "".join(TRACE) + NEXT
    done = logs("explain", "--multiline", "java", text=text)
    assert done.returncode == 0 and "line 1: log4j" in done.stdout and "line 6: log4j" in done.stdout
    assert "Caused by: java.io.IOException: reset" in done.stdout
    write(lab, text)
    done = logs("test", "--multiline", "auto", lab.path("app.log"))
    assert done.returncode == 0 and "log4j" in done.stdout and "raw" not in done.stdout, done.stdout
