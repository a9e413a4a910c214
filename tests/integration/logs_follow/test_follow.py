"""pillion-logs follows files through everything that happens to log files."""
import http.client
import json
import os
import shutil
import socket
import time
from signal import SIGHUP

import pytest

from support.log_lab import LogLab, NumberedWriter, line
from support.pillion_testing import free_port, http_get, run, wait_until

FILE = 'file = "@dir@/app.log"\ntimezone = "utc"'
OUT = 'file = { path = "@dir@/out.json" }'


@pytest.fixture
def lab(workspace):
    lab = LogLab(workspace)
    lab.configure(FILE, OUT)
    return lab


def write(lab, text, name="app.log", mode="a"):
    with open(lab.path(name), mode) as file:
        file.write(text)


def test_the_line_of_the_order_processor_becomes_json(lab):
    write(lab, "2024-01-15 14:32:01 INFO order_id=ORD-9921 status=FULFILLED\n")
    with lab.start() as logs:
        record, = wait_until(lab.records)
        assert logs.stop() == 0, logs.output
    assert record["@timestamp"] == "2024-01-15T14:32:01Z"
    assert record["log.level"] == "info"
    assert record["order_id"] == "ORD-9921" and record["status"] == "FULFILLED"
    assert record["service.name"] == "lab"
    assert record["log.file.path"] == str(lab.path("app.log"))
    assert lab.receipt() == {"records_read": 1, "records_delivered": 1, "records_dropped": 0,
                             "records_pending": 0}


def test_a_record_says_of_its_source_what_is_wanted(lab):
    write(lab, "level=info n=1\n")
    lab.configure(FILE, OUT, '[fields]\nsource = ["host.name"]')
    with lab.start() as logs:
        record, = wait_until(lab.records)
        assert logs.stop() == 0, logs.output
    assert set(record) == {"@timestamp", "log.level", "n", "host.name"}


def test_a_file_that_appears_late_is_waited_for_and_read_from_its_start(lab):
    with lab.start() as logs:
        wait_until(lambda: any("STATUS=waiting for" in m and "app.log" in m for m in lab.drain_messages()))
        write(lab, line(1))
        wait_until(lambda: lab.numbers() == [1])
        assert f"waiting for {lab.path('app.log')}" in logs.stderr
        assert logs.stop() == 0


def test_rename_rotation_under_a_writer_loses_and_doubles_nothing(lab):
    writer = NumberedWriter(lab.path("app.log"), 20000)
    with lab.start() as logs:
        writer.start()
        writer.join(120)
        wait_until(lambda: len(lab.numbers()) >= 20000, timeout=60)
        assert logs.stop() == 0, logs.output
    assert sorted(lab.numbers()) == list(range(20000))
    assert lab.receipt()["records_delivered"] == 20000
    assert "was rotated" in logs.stderr


def test_lines_written_to_the_old_file_after_its_rotation_are_read(lab):
    write(lab, line(1))
    old = open(lab.path("app.log"), "a", buffering=1)
    with lab.start() as logs, old:
        wait_until(lambda: lab.numbers() == [1])
        lab.path("app.log").rename(lab.path("app.log.1"))
        write(lab, line(3))
        wait_until(lambda: 3 in lab.numbers())
        old.write(line(2))
        wait_until(lambda: sorted(lab.numbers()) == [1, 2, 3])
        assert logs.stop() == 0


def test_copytruncate_reads_the_copy_to_its_end_and_then_the_file_from_its_start(lab):
    write(lab, "".join(line(n, first="generation") for n in range(100)))
    with lab.start() as logs:
        wait_until(lambda: len(lab.numbers()) == 100)
        # Lines that are in the copy only: written while the adapter cannot look.
        logs.signal(19)  # SIGSTOP
        write(lab, "".join(line(n) for n in range(100, 110)))
        shutil.copy(lab.path("app.log"), lab.path("app.log.1"))
        os.truncate(lab.path("app.log"), 0)
        # Regrown beyond the old position: only the bytes before it tell.
        write(lab, "".join(line(n, second="generation", pad="y" * 90) for n in range(110, 300)))
        logs.signal(18)  # SIGCONT
        wait_until(lambda: len(lab.numbers()) >= 300)
        assert logs.stop() == 0
    assert sorted(lab.numbers()) == list(range(300))


def test_a_deleted_file_is_read_to_its_end_and_its_successor_too(lab):
    write(lab, line(1))
    old = open(lab.path("app.log"), "a", buffering=1)
    with lab.start() as logs, old:
        wait_until(lambda: lab.numbers() == [1])
        os.unlink(lab.path("app.log"))
        old.write(line(2))
        wait_until(lambda: lab.numbers() == [1, 2])
        write(lab, line(3))
        wait_until(lambda: lab.numbers() == [1, 2, 3])
        assert logs.stop() == 0


def test_a_last_line_without_newline_is_taken_at_the_stop(lab):
    write(lab, line(1) + "2024-01-15 14:32:02 INFO n=2")
    with lab.start() as logs:
        wait_until(lambda: lab.numbers() == [1])
        assert logs.stop() == 0
    assert lab.numbers() == [1, 2]
    assert lab.records()[1]["log.flags"] == ["partial"]
    with lab.start() as logs:  # and not again
        write(lab, "\n" + line(3))
        wait_until(lambda: lab.numbers() == [1, 2, 3])
        assert logs.stop() == 0


def test_a_last_line_without_newline_is_taken_when_nothing_follows(lab):
    lab.configure(FILE + '\npartial_line_timeout = "200ms"', OUT)
    write(lab, "2024-01-15 14:32:02 INFO n=1")
    with lab.start() as logs:
        wait_until(lambda: lab.numbers() == [1])
        assert logs.stop() == 0


def test_globs_find_new_files_and_leave_excluded_and_rotated_ones(lab):
    lab.configure('file = "@dir@/app*.log"\nexclude = ["@dir@/app-no*.log"]\ntimezone = "utc"', OUT)
    write(lab, line(1), "app-a.log")
    write(lab, line(9), "app-no.log")
    with lab.start() as logs:
        wait_until(lambda: lab.numbers() == [1])
        write(lab, line(2), "app-b.log")
        wait_until(lambda: lab.numbers() == [1, 2])
        lab.path("app-a.log").rename(lab.path("app-a-moved.log"))  # same inode, still matching: not new
        write(lab, line(3), "app-a.log")
        wait_until(lambda: sorted(lab.numbers()) == [1, 2, 3])
        assert logs.stop() == 0
    assert sorted(lab.numbers()) == [1, 2, 3]


def test_rotations_while_away_are_made_up_for(lab):
    write(lab, line(1))
    with lab.start() as logs:
        wait_until(lambda: lab.numbers() == [1])
        assert logs.stop() == 0
    write(lab, line(2))
    lab.path("app.log").rename(lab.path("app.log.1"))
    write(lab, line(3))
    lab.path("app.log.1").rename(lab.path("app.log.2"))
    lab.path("app.log").rename(lab.path("app.log.1"))
    write(lab, line(4))
    with lab.start() as logs:
        wait_until(lambda: len(lab.numbers()) >= 4)
        assert logs.stop() == 0
    assert lab.numbers() == [1, 2, 3, 4]


def test_the_framed_output_of_a_child_is_read(lab):
    lab.configure('child = "app"\ntimezone = "utc"', OUT)
    os.makedirs(lab.path("logs/lab"))
    write(lab, "2024-01-15T14:32:01.5Z stdout P:g2 2024-01-15 14:32:00 INFO n=1 \n"
               "2024-01-15T14:32:01.6Z stderr F:g2 oops\n"
               "2024-01-15T14:32:01.7Z stdout F:g2 more=yes\n", "logs/lab/app.log")
    with lab.start(PILLION_LOG_DIR=lab.path("logs")) as logs:
        wait_until(lambda: len(lab.records()) == 2)
        assert logs.stop() == 0
    error, record = lab.records()
    assert error["message"] == "oops" and error["stream"] == "stderr"
    assert error["@timestamp"] == "2024-01-15T14:32:01.6Z"
    assert (record["n"], record["more"], record["stream"], record["pillion.generation"]) == (1, "yes", "stdout", 2)


def test_standard_input_is_read_to_its_end(lab):
    lab.configure("stdin = true", "stdout = {}")
    result = run(["pillion-logs", "--config", lab.config], input="hello\nno newline", check=0,
                 env={"PILLION_STATE_DIR": lab.path("state")})
    assert [r for r in result.stdout.splitlines() if '"message":"hello"' in r or '"no newline"' in r].__len__() == 2


def test_the_output_file_is_rotated_between_records(lab):
    lab.configure(FILE, 'file = { path = "@dir@/out.json", max_size = "64KiB", max_files = 100 }')
    write(lab, "".join(line(n) for n in range(5000)))
    with lab.start() as logs:
        wait_until(lambda: len(lab.numbers()) == 5000)
        assert logs.stop() == 0
    assert lab.numbers() == list(range(5000))


def test_several_outputs_have_positions_of_their_own(lab):
    lab.configure(FILE, OUT, '[[output]]\nfile = { path = "@dir@/missing/out.json" }')
    write(lab, "".join(line(n) for n in range(1000)))
    with lab.start() as logs:
        wait_until(lambda: len(lab.numbers()) == 1000)
        wait_until(lambda: any("STATUS=file" in m and "missing" in m for m in lab.drain_messages()))
        os.mkdir(lab.path("missing"))
        wait_until(lambda: len(lab.numbers("missing/out.json")) == 1000)
        assert logs.stop() == 0
    assert lab.receipt()["records_pending"] == 0


def test_sighup_takes_over_a_new_configuration_and_refuses_a_bad_one(lab):
    write(lab, line(1))
    with lab.start() as logs:
        wait_until(lambda: lab.numbers() == [1])
        lab.config.write_text("nonsense = 1\n")
        logs.signal(SIGHUP)
        wait_until(lambda: "keeping the old configuration" in logs.stderr)
        lab.configure(FILE, 'file = { path = "@dir@/new.json" }')
        logs.signal(SIGHUP)
        wait_until(lambda: "new configuration is in use" in logs.stderr)
        write(lab, line(2))
        wait_until(lambda: lab.numbers("new.json") == [2])
        assert logs.stop() == 0
    assert lab.numbers() == [1]


def test_metrics_and_ledger_are_served(lab):
    port = free_port()
    lab.configure(FILE, OUT, f'[admin]\nlisten = "127.0.0.1:{port}"')
    write(lab, line(1) + "not of the format\n")
    with lab.start() as logs:
        wait_until(lambda: len(lab.records()) == 2)
        assert http_get(f"http://127.0.0.1:{port}/ready").status == 200
        ledger = http_get(f"http://127.0.0.1:{port}/ledger").json()["outputs"][0]
        assert (ledger["read"], ledger["delivered"], ledger["pending"]) == (2, 2, 0)
        metrics = http_get(f"http://127.0.0.1:{port}/stats/prometheus").body.decode()
        assert f'pillion_logs_records_delivered_total{{output="file {lab.path("out.json")}"}} 2' in metrics
        assert logs.stop() == 0


def test_every_problem_of_the_configuration_is_named_and_nothing_opened(lab):
    lab.configure('file = "@dir@/app.log"\ntimezone = "Mars/Base"\nencoding = "klingon"', OUT)
    result = run(["pillion-logs", "--config", lab.config, "--check"], check=78,
                 env={"PILLION_STATE_DIR": lab.path("state")})
    assert 'cannot load time zone "Mars/Base"' in result.stderr
    assert 'there is no encoding "klingon"' in result.stderr


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16be", "windows-1252"])
def test_other_encodings_are_read_to_the_character_across_a_restart(lab, encoding):
    lab.configure(FILE + f'\nformat = "raw"\nencoding = "{encoding}"\npartial_line_timeout = "100ms"', OUT)
    codec = {"utf-16be": "utf-16-be"}.get(encoding, encoding)
    whole = "".join(f"caf\u00e9 {n}\n" for n in range(3000)) + "no end"
    raw = whole.encode(codec)
    lab.path("app.log").write_bytes(raw[:10001])
    with lab.start() as logs:
        wait_until(lambda: len(lab.records()) > 200)
        assert logs.stop() == 0, logs.output
    with open(lab.path("app.log"), "ab") as file:
        file.write(raw[10001:])
    with lab.start() as logs:
        wait_until(lambda: lab.records()[-1]["message"] == "no end")
        assert logs.stop() == 0, logs.output
    texts = [record["message"] for record in lab.records()]
    if "partial" in lab.records()[0].get("log.flags", []):
        raise AssertionError("the first line is whole")
    joined = "".join(text if "log.flags" in record else text + "\n"
                     for text, record in zip(texts, lab.records()))
    assert joined == whole


def test_a_byte_order_mark_is_no_part_of_the_first_line(lab):
    lab.path("app.log").write_bytes(b"\xef\xbb\xbf" + line(1).encode())
    with lab.start() as logs:
        wait_until(lambda: lab.numbers() == [1])
        assert logs.stop() == 0, logs.output
    assert lab.records()[0]["log.level"] == "info"


def test_files_of_docker_are_unpacked(lab):
    lab.configure('file = "@dir@/app.log"\nframing = "docker"\nmultiline = { preset = "java" }', OUT)
    lines = ["2024-01-15 14:32:01,978 ERROR [main] a.B: failed\n", "java.io.IOException: x\n", "\tat a.B.c(B.java:1)\n"]
    write(lab, "".join(json.dumps({"log": text, "stream": "stderr", "time": f"2024-01-15T14:32:0{n}.5Z"},
                                  separators=(",", ":")) + "\n" for n, text in enumerate(lines)))
    with lab.start() as logs:
        record, = wait_until(lab.records)
        assert logs.stop() == 0, logs.output
    assert record["message"] == "failed\njava.io.IOException: x\n\tat a.B.c(B.java:1)"
    assert record["stream"] == "stderr" and record["log.level"] == "error"
