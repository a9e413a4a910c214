"""Generations that were compressed before they were read: found by their content, read on from where we were."""
import gzip
import shutil
import subprocess

import pytest

from support.log_lab import LogLab, line
from support.pillion_testing import wait_until

FILE = 'file = "@dir@/app.log"\ntimezone = "utc"'


@pytest.fixture
def lab(workspace):
    lab = LogLab(workspace)
    lab.configure(FILE, 'file = { path = "@dir@/out.json" }')
    return lab


def text_of(*numbers):
    return "".join(line(n) for n in numbers)


def run_until(lab, count):
    with lab.start() as logs:
        wait_until(lambda: len(lab.numbers()) >= count)
        assert logs.stop() == 0, logs.output
    return logs.stderr


def compress(lab, name, suffix):
    path = lab.path(name)
    if suffix == ".gz":  # as logrotate: two members, the modification time kept
        data = path.read_bytes()
        lab.path(name + ".gz").write_bytes(gzip.compress(data[:100]) + gzip.compress(data[100:]))
    else:
        subprocess.run(["zstd", "-q", str(path)], check=True)
    shutil.copystat(path, lab.path(name + suffix))
    path.unlink()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_was_rotated_and_compressed_while_away_is_read_to_its_end(lab, suffix):
    lab.path("app.log").write_text(text_of(*range(100)))
    run_until(lab, 100)
    with open(lab.path("app.log"), "a") as file:
        file.write(text_of(*range(100, 150)))
    # Two rotations: the generation in between was never seen.
    lab.path("app.log").rename(lab.path("app.log.2"))
    lab.path("app.log.1").write_text(text_of(*range(150, 200)))
    compress(lab, "app.log.2", suffix)
    compress(lab, "app.log.1", suffix)
    lab.path("app.log").write_text(text_of(*range(200, 250)))
    run_until(lab, 250)
    assert lab.numbers() == list(range(250))
    # Known from now on: neither the next start nor another rotation reads them again.
    lab.path("app.log").rename(lab.path("app.log.0"))
    lab.path("app.log").write_text(text_of(250))
    run_until(lab, 251)
    assert lab.numbers() == list(range(251))


def test_copied_truncated_and_compressed_while_away(lab):
    lab.path("app.log").write_text(text_of(*range(100)))
    run_until(lab, 100)
    with open(lab.path("app.log"), "a") as file:
        file.write(text_of(*range(100, 120)))
    shutil.copy2(lab.path("app.log"), lab.path("app.log.1"))
    with open(lab.path("app.log"), "r+") as file:
        file.truncate(0)
        file.write(text_of(120))
    compress(lab, "app.log.1", ".gz")
    run_until(lab, 121)
    assert sorted(lab.numbers()) == list(range(121))


def test_old_compressed_generations_of_before_our_time_are_left_alone(lab):
    for generation in (3, 2):
        lab.path(f"app.log.{generation}").write_text(text_of(1000 + generation))
        compress(lab, f"app.log.{generation}", ".gz")
    lab.path("app.log").write_text(text_of(1))
    run_until(lab, 1)
    lab.path("app.log").write_text(text_of(1) + text_of(2))
    run_until(lab, 2)
    assert lab.numbers() == [1, 2]


def test_a_damaged_one_is_said_and_does_not_stop_the_rest(lab):
    lab.path("app.log").write_text(text_of(*range(100)))
    run_until(lab, 100)
    with open(lab.path("app.log"), "a") as file:
        file.write(text_of(*range(100, 3000)))
    lab.path("app.log").rename(lab.path("app.log.1"))
    compress(lab, "app.log.1", ".gz")
    whole = lab.path("app.log.1.gz").read_bytes()
    lab.path("app.log.1.gz").write_bytes(whole[:-30])
    lab.path("app.log").write_text(text_of(3000))
    said = run_until(lab, 101)
    assert "lacks its end" in said and "what followed cannot be read" in said
    assert lab.numbers() == [*range(100), 3000]
