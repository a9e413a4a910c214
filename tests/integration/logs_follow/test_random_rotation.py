"""Random writing, rotation and death, all at once: the set of lines is equal, repeats are bounded and counted.

Twelve seconds here; PILLION_ROTATION_SECONDS=3600 runs it for an hour, PILLION_ROTATION_SEED repeats a run.
"""
import gzip
import json
import os
import random
import shutil
import time
from signal import SIGKILL

from support.log_lab import LogLab, line
from support.pillion_testing import wait_until

SECONDS = float(os.environ.get("PILLION_ROTATION_SECONDS", "12"))
SEED = int(os.environ.get("PILLION_ROTATION_SEED", "0")) or random.randrange(1, 1 << 30)
KEPT = 12  # generations


class Writer:
    """An app and its logrotate, in the test's own thread: deterministic for a seed, apart from timing."""

    def __init__(self, path, chance):
        self.path, self.chance, self.next = path, chance, 0
        self.file = open(path, "a")
        self.generation = 0

    def write(self, count):
        for _ in range(count):
            text = line(self.next, pad="x" * self.chance.randrange(200))
            cut = self.chance.randrange(len(text)) if self.chance.randrange(20) == 0 else len(text)
            self.file.write(text[:cut])
            self.file.flush()
            self.file.write(text[cut:])
            self.next += 1
        self.file.flush()

    def shift(self):
        """app.log.N becomes N+1, compressed or not; the oldest goes."""
        for number in range(KEPT, 0, -1):
            for suffix in ("", ".gz"):
                old = self.path.with_name(f"app.log.{number}{suffix}")
                if not old.exists():
                    continue
                if number == KEPT:
                    old.unlink()
                else:
                    old.rename(self.path.with_name(f"app.log.{number + 1}{suffix}"))

    def rename(self):
        self.shift()
        self.path.rename(self.path.with_name("app.log.1"))
        if self.chance.randrange(2):
            self.write(self.chance.randrange(5))  # into the renamed file
        self.file.close()
        self.file = open(self.path, "a")
        self.write(1)

    def compress(self):
        """The second generation, as logrotate's delaycompress does."""
        path = self.path.with_name("app.log.2")
        if path.exists():
            packed = path.with_name("app.log.2.gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), 1))
            shutil.copystat(path, packed)
            path.unlink()


def numbers_of(path):
    numbers = []
    for text in path.read_bytes().splitlines() if path.exists() else []:
        try:
            numbers.append(json.loads(text)["n"])
        except (ValueError, KeyError):
            pass  # torn by a kill in the middle of a write
    return numbers


class Checkpoints:
    """How many lines are certainly in the checkpoint: those that were in the output before the last but one was begun."""

    def __init__(self, path):
        self.path, self.safe, self.saved, self.delivered = path, 0, 0, []

    def look(self, delivered):
        """To be called with the number of lines in the output."""
        saved = self.path.stat().st_mtime_ns if self.path.exists() else 0
        if saved != self.saved:
            self.saved = saved
            self.delivered = [*self.delivered, delivered][-3:]
            if len(self.delivered) == 3:
                self.safe = max(self.safe, self.delivered[0])

    def restart(self):
        self.delivered.clear()


def test_no_line_is_lost_and_repeats_are_bounded(workspace):
    print(f"PILLION_ROTATION_SEED={SEED}")
    chance = random.Random(SEED)
    lab = LogLab(workspace)
    lab.configure('file = "@dir@/app.log"\ntimezone = "utc"',
                  'file = { path = "@dir@/out.json", max_size = "100GiB" }', '[checkpoint]\ninterval = "50ms"')
    logs = lab.start()
    writer = Writer(lab.path("app.log"), chance)
    writer.write(1)
    deadline, kills, at_risk = time.monotonic() + SECONDS, 0, 0
    out, checkpoints = lab.path("out.json"), Checkpoints(lab.checkpoint_path("file"))

    def seen():
        if not out.exists():
            return -1
        texts = out.read_bytes().rsplit(b'"n":', 1)
        return int(texts[1].split(b",")[0]) if len(texts) == 2 and b"," in texts[1] else -1

    while time.monotonic() < deadline:
        writer.write(chance.randrange(1, 400))
        checkpoints.look(seen() + 1)
        act = chance.randrange(10)
        if act < 3:
            writer.rename()
        elif act == 3:
            writer.compress()
        elif act == 4:
            logs.signal(SIGKILL)
            logs.wait()
            kills += 1
            at_risk += writer.next - checkpoints.safe  # what is not in the last checkpoint comes once more
            checkpoints.restart()
            if chance.randrange(2):  # things happen while nobody looks
                writer.write(chance.randrange(50))
                writer.rename()
                writer.compress()
            logs = lab.start()
        elif act == 5 and writer.next > 0:
            wait_until(lambda: seen() >= writer.next - 3000)  # a writer is not endlessly ahead of its logs
    with logs:
        wait_until(lambda: seen() >= 0 and set(numbers_of(out)) >= set(range(writer.next)), timeout=60,
                   what=f"all {writer.next} lines (seed {SEED})")
        assert logs.stop() == 0, logs.output
    numbers = numbers_of(out)
    repeats = len(numbers) - writer.next
    print(f"{writer.next} lines, {kills} kills, {repeats} repeats of at most {at_risk}")
    assert set(numbers) == set(range(writer.next))
    assert repeats <= at_risk
