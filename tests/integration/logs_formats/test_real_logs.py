"""Real logs of real systems through `auto`: time, level and text as people marked them in the gold columns.

The logs are Loghub's samples (https://github.com/logpai/loghub), which are not part of this repository: they are
looked for in $PILLION_TEST_LOGHUB, then in shared/loghub beside the checkout.
"""
import csv
import json
import os
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from support.pillion_testing import program

ROOT = Path(__file__).resolve().parents[3]
LOGHUB = Path(os.environ.get("PILLION_TEST_LOGHUB", ROOT.parent / "shared" / "loghub"))

LEVELS = {"info": "info", "notice": "notice", "warn": "warn", "warning": "warn", "error": "error", "fatal": "fatal"}

# What `auto` must choose, and how the gold columns spell the time.
SYSTEMS = {
    "Apache": ("apache-error", lambda row: datetime.strptime(row["Time"], "%a %b %d %H:%M:%S %Y")),
    "HDFS": ("log4j", lambda row: datetime.strptime(row["Date"] + row["Time"].zfill(6), "%y%m%d%H%M%S")),
    "Hadoop": ("log4j", lambda row: datetime.strptime(row["Date"] + row["Time"], "%Y-%m-%d%H:%M:%S,%f")),
    "Spark": ("log4j", lambda row: datetime.strptime(row["Date"] + row["Time"], "%y/%m/%d%H:%M:%S")),
    "Zookeeper": ("log4j", lambda row: datetime.strptime(row["Date"] + row["Time"], "%Y-%m-%d%H:%M:%S,%f")),
    "Linux": ("syslog-3164", lambda row: _without_year(row["Month"], row["Date"], row["Time"])),
    "Mac": ("syslog-3164", lambda row: _without_year(row["Month"], row["Date"], row["Time"])),
    "OpenSSH": ("syslog-3164", lambda row: _without_year(row["Date"], row["Day"], row["Time"])),
    "Proxifier": ("timed", lambda row: datetime.strptime("1904." + row["Time"], "%Y.%m.%d %H:%M:%S")),
    "HPC": ("timed", lambda row: datetime.fromtimestamp(int(row["Time"]), timezone.utc).replace(tzinfo=None)),
}


def _without_year(month, day, clock):
    return datetime.strptime(f"1904 {month} {day} {clock}", "%Y %b %d %H:%M:%S")


def _parse(system, workspace):
    """(records, what the program said) of one sample."""
    config = workspace / "logs.toml"
    config.write_text('[[input]]\nstdin = true\ntimezone = "utc"\n')
    with open(LOGHUB / f"{system}.log", "rb") as log:
        run = subprocess.run([program("pillion-logs"), "--config", config], stdin=log, capture_output=True, timeout=60,
                             env={"PILLION_STATE_DIR": str(workspace / "state"), "PILLION_LOG_FORMAT": "text"},
                             check=True)
    return [json.loads(line) for line in run.stdout.splitlines()], run.stderr.decode()


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_time_and_level_equal_the_gold_columns(system, workspace):
    if not LOGHUB.is_dir():
        pytest.skip(f"no Loghub samples in {LOGHUB}; set PILLION_TEST_LOGHUB")
    format_name, gold_time = SYSTEMS[system]
    records, said = _parse(system, workspace)
    with open(LOGHUB / f"{system}.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Empty lines are no records; the gold columns have no row for them either.
    assert len(records) == len(rows)
    assert f"format {format_name} " in said, said
    wrong = []
    for index, (record, row) in enumerate(zip(records, rows)):
        if "_parsefailure" in record.get("tags", []):
            wrong.append((index, "not parsed", record))
            continue
        if system == "HPC" and index == 0:
            continue  # a bare number of seconds counts from the second line in its column on
        time = datetime.fromisoformat(record["@timestamp"].rstrip("Z"))
        gold = gold_time(row)
        if gold.year == 1904:  # no year in the log: any that is possible
            time = time.replace(year=1904)
        if time != gold:
            wrong.append((index, f"{time} is not {gold}", record))
        level = LEVELS.get(row.get("Level", "").lower())
        if level and record.get("log.level") != level:
            wrong.append((index, f"level is not {level}", record))
        # What follows the head is the message; Apache's client has a field of its own.
        gold_text = re.sub(r"^\[client \S+\] ", "", row["Content"])
        if not re.sub(r"\s+", "", record.get("message", "")).endswith(re.sub(r"\s+", "", gold_text)):
            wrong.append((index, f"message is not {row['Content']!r}", record))
    assert not wrong, f"{len(wrong)} of {len(rows)}: {wrong[:5]}"
