"""kill -9 at any moment: every line arrives, repeats are bounded by what the last checkpoint lacked."""
import json
import random
from signal import SIGKILL

import pytest

from support.log_lab import FakeElasticsearch, LogLab, NumberedWriter, line
from support.pillion_testing import run, wait_until

FILE = 'file = "@dir@/app.log"\ntimezone = "utc"'
OUT = 'file = { path = "@dir@/out.json", max_size = "1GiB" }'


@pytest.fixture
def lab(workspace):
    lab = LogLab(workspace)
    lab.configure(FILE, OUT, '[checkpoint]\ninterval = "50ms"')
    return lab


def lines_of(path):
    """Numbers in the output file; a torn line (killed in the middle of a write) does not count."""
    numbers = []
    for text in path.read_bytes().splitlines():
        try:
            numbers.append(json.loads(text)["n"])
        except (ValueError, KeyError):
            pass
    return numbers


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_moments_under_rotation_every_line_arrives(lab, seed):
    count = 12000
    chance = random.Random(seed)
    writer = NumberedWriter(lab.path("app.log"), count, seed=seed, every=800)
    logs = lab.start()  # an adapter starts before its app
    writer.start()
    logs.signal(SIGKILL)
    logs.wait()
    kills = 1
    while writer.is_alive() or kills < 6:
        target = chance.randrange(50, 1500)
        logs = lab.start()
        out = lab.path("out.json")
        before = out.stat().st_size if out.exists() else 0
        wait_until(lambda: (out.exists() and out.stat().st_size > before + target) or not writer.is_alive())
        logs.signal(SIGKILL)
        logs.wait()
        kills += 1
    with lab.start() as logs:
        wait_until(lambda: set(lines_of(lab.path("out.json"))) >= set(range(count)), timeout=60)
        assert logs.stop() == 0, logs.output
    numbers = lines_of(lab.path("out.json"))
    assert set(numbers) == set(range(count))
    # Each start repeats at most what was delivered since the last checkpoint, here perhaps everything.
    assert len(numbers) <= count * (kills + 1)


def test_killed_at_rest_nothing_repeats(lab):
    lab.path("app.log").write_text("".join(line(n) for n in range(1000)))
    size = lab.path("app.log").stat().st_size
    logs = lab.start()
    wait_until(lambda: f'"offset":{size},' in lab.checkpoint_path("file").read_text())
    logs.signal(SIGKILL)
    logs.wait()
    with open(lab.path("app.log"), "a") as file:
        file.write(line(1000))
    with lab.start() as logs:
        wait_until(lambda: 1000 in lab.numbers())
        assert logs.stop() == 0
    assert lab.numbers() == list(range(1001))


def test_with_document_ids_a_crash_repeats_nothing(lab):
    with FakeElasticsearch() as fake:
        lab.configure(FILE, f'batch = {{ max_wait = "20ms" }}\n'
                            f'elasticsearch = {{ url = "{fake.url}", index = "o", document_id = true }}',
                      '[checkpoint]\ninterval = "1h"')
        lab.path("app.log").write_text("".join(line(n) for n in range(2000)))
        logs = lab.start()
        wait_until(lambda: len(fake.stored) >= 500)
        logs.signal(SIGKILL)
        logs.wait()
        with lab.start() as logs:
            wait_until(lambda: len(fake.stored) == 2000)
            assert logs.stop() == 0
        assert set(fake.stored.values()) == {1}
        assert lab.receipt()["records_delivered"] == 2000


@pytest.mark.parametrize("damage", ["flip", "empty", "cut", "foreign", "both"])
def test_a_corrupt_checkpoint_never_stops_the_start_and_loses_nothing(lab, damage):
    lab.path("app.log").write_text("".join(line(n) for n in range(100)))
    for target in (100, 200):
        with lab.start() as logs:
            wait_until(lambda: len(lab.numbers()) == target)
            assert logs.stop() == 0
        with open(lab.path("app.log"), "a") as file:
            file.write("".join(line(n) for n in range(target, target + 100)))
    path = lab.checkpoint_path("file")
    text = path.read_bytes()
    path.write_bytes({"flip": bytes([text[0] ^ 1]) + text[1:], "empty": b"", "cut": text[:-20],
                      "foreign": b"{}\n", "both": b"\xff"}[damage])
    if damage == "both":
        path.with_suffix(".checkpoint.prev").write_bytes(b"\xff")
    with lab.start() as logs:
        wait_until(lambda: set(lab.numbers()) >= set(range(300)))
        assert logs.stop() == 0
    assert "cannot use checkpoint" in logs.stderr
    assert set(lab.numbers()) == set(range(300))


def test_a_state_directory_that_cannot_be_written_is_said_and_another_used(lab):
    lab.path("app.log").write_text(line(1))
    lab.path("blocked").write_text("a file where a directory should be")
    with lab.start(PILLION_STATE_DIR=lab.path("blocked"), STATE_DIRECTORY=lab.path("other")) as logs:
        wait_until(lambda: lab.numbers() == [1])
        assert logs.stop() == 0
    assert "$STATE_DIRECTORY" in logs.stderr
    assert lab.path("other/file.checkpoint").exists()


def test_a_full_disk_of_the_output_delays_and_neither_loses_nor_cuts_records(lab):
    disk = lab.path("disk")
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=1m", "pillion-test", disk], check=0)
    try:
        lab.path("app.log").write_text("".join(line(n) for n in range(30000)))
        lab.configure('file = "@dir@/app.log"', 'file = { path = "@dir@/disk/out.json", max_size = "1GiB" }')
        with lab.start() as logs:
            wait_until(lambda: "No space left on device; trying again" in logs.stderr)
            text = (disk / "out.json").read_text()
            assert text.endswith("\n") and all(json.loads(record) for record in text.splitlines())
            run(["mount", "-o", "remount,size=64m", disk], check=0)
            wait_until(lambda: (disk / "out.json").read_text().count("\n") == 30000)
            assert logs.stop() == 0, logs.output
        assert lines_of(disk / "out.json") == list(range(30000))
    finally:
        run(["umount", "-l", disk], check=0)
