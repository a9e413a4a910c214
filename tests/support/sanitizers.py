"""What differs when the programs under test are built with a sanitizer (`make test-asan`, `make test-tsan`).

A sanitizer keeps freed memory, puts bytes around each allocation, and copies where realloc(3) would remap: what such a
program takes of memory says nothing of what is shipped. Tests that measure it call `skip_measurement()` first; the same
behaviour without the number is tested under sanitizers all the same.
"""
import functools
import mmap

import pytest

from support.pillion_testing import program

REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "ThreadSanitizer:DEADLYSIGNAL",
           "AddressSanitizer:DEADLYSIGNAL", ": runtime error: ")
MARKS = {"asan": b"__asan_init", "tsan": b"__tsan_init"}


@functools.cache
def sanitizer_of(name="pillion-proxy"):
    """"asan", "tsan" or None: by the program itself, wherever it was built."""
    with open(program(name), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return next((kind for kind, mark in MARKS.items() if content.find(mark) >= 0), None)


def skip_measurement(name="pillion-proxy", what="memory"):
    """Skips the test when it would measure the sanitizer instead of the program."""
    kind = sanitizer_of(name)
    if kind is not None:
        pytest.skip(f"measures {what}, and {name} is built with {kind}")


def reports_below(directory):
    """The reports of sanitizers in what programs wrote to stderr, and services to their logs, below a workspace."""
    found = []
    for path in (*directory.glob("**/*.stderr"), *directory.glob("**/log/*/*.log")):
        text = path.read_text(errors="replace")
        if any(mark in text for mark in REPORTS):
            found.append(f"{path.name}:\n{text}")
    return found
