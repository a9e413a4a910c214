"""The journal of systemd, from journal files made by systemd-journal-remote of its export format."""
import json
import os
import shutil
import subprocess
from pathlib import Path
from signal import SIGKILL

import pytest

from support.log_lab import FakeElasticsearch, LogLab
from support.pillion_testing import run, wait_until

REMOTE = shutil.which("systemd-journal-remote") or "/lib/systemd/systemd-journal-remote"
pytestmark = pytest.mark.skipif(not Path(REMOTE).exists(), reason="systemd-journal-remote is not installed")
START_US = 1_705_329_121_000_000


def entry(number, **fields):
    fields = {"MESSAGE": f"message {number}", "PRIORITY": "6", "_SYSTEMD_UNIT": "shop.service", "_PID": str(1000 + number),
              "N": str(number), "_BOOT_ID": "a" * 32, "_MACHINE_ID": "b" * 32, **fields}
    head = {"__REALTIME_TIMESTAMP": START_US + number * 1_000_000, "__MONOTONIC_TIMESTAMP": 1000 + number,
            "_BOOT_ID": "a" * 32}
    lines = [f"{name}={value}".encode() for name, value in {**head, **fields}.items() if "\n" not in str(value)]
    for name, value in fields.items():
        if "\n" in str(value):  # name, length, bytes (systemd.io/JOURNAL_EXPORT_FORMATS)
            data = value.encode()
            lines.append(name.encode() + b"\n" + len(data).to_bytes(8, "little") + data)
    return b"\n".join(lines) + b"\n\n"


class Journal:
    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.files = 0

    def add(self, *entries):
        """A new file of the journal with these entries."""
        self.files += 1
        done = subprocess.run([REMOTE, "--output", str(self.directory / f"part{self.files}.journal"), "-"],
                              input=b"".join(entries), capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def lab(workspace):
    return LogLab(workspace)


@pytest.fixture
def journal(lab):
    return Journal(lab.path("journal"))


def configure(lab, more="", output='file = { path = "@dir@/out.json" }', extra=""):
    lab.configure(f'journald = {{ directory = "@dir@/journal"{more} }}', output, extra)


def numbers(lab):
    return [int(record["journald.n"]) for record in lab.records()]


def test_entries_become_records_with_their_fields(lab, journal):
    journal.add(entry(0, MESSAGE='two\nlines "quoted"', PRIORITY="3", SYSLOG_IDENTIFIER="shopd", CODE_LINE="12",
                      ORDER_ID="A-1", _HOSTNAME="web-1"),
                entry(1, _SOURCE_REALTIME_TIMESTAMP=str(START_US)))
    configure(lab)
    with lab.start() as logs:
        wait_until(lambda: len(lab.records()) == 2)
        assert logs.stop() == 0, logs.output
    first, second = lab.records()
    assert first["@timestamp"] == "2024-01-15T14:32:01.000Z" == second["@timestamp"]
    assert first["message"] == 'two\nlines "quoted"' and first["log.level"] == "error"
    assert first["systemd.unit"] == "shop.service" and first["process.pid"] == 1000
    assert first["log.syslog.appname"] == "shopd" and first["log.origin.file.line"] == 12
    assert first["journald.order_id"] == "A-1" and first["host.hostname"] == "web-1"
    assert second["log.level"] == "info" and second["service.name"] == "lab"


def test_the_cursor_goes_on_where_it_was_and_new_files_are_found(lab, journal):
    journal.add(*map(entry, range(50)))
    configure(lab)
    with lab.start() as logs:
        wait_until(lambda: len(lab.records()) == 50)
        journal.add(*map(entry, range(50, 80)))
        wait_until(lambda: len(lab.records()) == 80)
        assert logs.stop() == 0, logs.output
    journal.add(*map(entry, range(80, 100)))
    with lab.start() as logs:
        wait_until(lambda: len(lab.records()) == 100)
        assert logs.stop() == 0, logs.output
    assert numbers(lab) == list(range(100))
    assert lab.receipt()["records_read"] == 20


def test_killed_it_repeats_at_most_what_the_checkpoint_lacked(lab, journal):
    journal.add(*map(entry, range(300)))
    with FakeElasticsearch(verdict=lambda document, attempt: 201) as fake:
        configure(lab, output=f'elasticsearch = {{ url = "{fake.url}", index = "o", document_id = true }}\n'
                  'batch = { max_size = "4KiB", max_wait = "10ms" }', extra='[checkpoint]\ninterval = "1h"')
        logs = lab.start()
        wait_until(lambda: len(fake.requests) >= 3)
        logs.signal(SIGKILL)
        logs.wait()
        with lab.start() as logs:
            wait_until(lambda: len(fake.ids) == 300)
            assert logs.stop() == 0, logs.output
        assert len(fake.ids) == 300 and sum(fake.stored.values()) == 300


def test_units_and_matches(lab, journal):
    journal.add(entry(0), entry(1, _SYSTEMD_UNIT="other.service"), entry(2, PRIORITY="3"),
                entry(3, _SYSTEMD_UNIT="init.scope", UNIT="shop.service", _PID="1"),
                entry(4, _SYSTEMD_UNIT="init.scope", UNIT="other.service", _PID="1"))
    configure(lab, ', units = ["shop"]')
    with lab.start() as logs:
        wait_until(lambda: len(lab.records()) == 3)
        assert logs.stop() == 0, logs.output
    assert numbers(lab) == [0, 2, 3]
    configure(lab, ', units = ["shop", "other.service"], match = ["PRIORITY=3", "PRIORITY=4"]',
              'file = { path = "@dir@/errors.json" }', f'[checkpoint]\npath = "{lab.path("other.checkpoint")}"')
    with lab.start() as logs:
        wait_until(lambda: lab.records("errors.json"))
        assert logs.stop() == 0, logs.output
    assert [record["journald.n"] for record in lab.records("errors.json")] == ["2"]


def test_start_at_end_takes_only_what_comes(lab, journal):
    journal.add(*map(entry, range(10)))
    lab.configure('journald = { directory = "@dir@/journal" }\nstart_at = "end"', 'file = { path = "@dir@/out.json" }')
    with lab.start() as logs:
        journal.add(entry(10))
        wait_until(lambda: lab.records())
        assert logs.stop() == 0, logs.output
    assert numbers(lab) == [10]


def test_what_cannot_work_is_said_at_the_start(lab):
    configure(lab)
    done = run(["pillion-logs", "--config", lab.config, "--check"], check=78)
    assert f"there is no directory {lab.path('journal')}" in done.stderr
    lab.path("journal").mkdir()
    configure(lab, ', match = ["priority=3"]')
    done = run(["pillion-logs", "--config", lab.config, "--check"], check=78)
    assert '"priority=3" is no match' in done.stderr
    lab.configure('journald = {}\nformat = "json"', "stdout = {}")
    done = run(["pillion-logs", "--config", lab.config, "--check"], check=78)
    assert "`format` is not for `journald`" in done.stderr
