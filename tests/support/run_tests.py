#!/usr/bin/python3
"""Runs CTest and ends with one line, `N passed, N failed, N skipped`.

Usage: run_tests.py BUILD_DIR [ctest arguments…]. Reads CTest's JUnit file; a pytest scenario is counted by its
cases, from the JUnit file that it wrote itself in BUILD_DIR/test-results. Exit status 0 only when at least one
test passed and none failed. A scenario that failed is run once more alone (not with PILLION_TEST_NO_RERUN=1);
if it passes then, it counts as passed and is listed as UNSTEADY. Tests that need root get it: directly, or through sudo when it asks for no
password; otherwise they are skipped and this program says so.
"""
import operator
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

JOBS_PER_CPU = 2  # scenarios mostly wait
RERUNS_MAX = 5  # more failures than that are no accident


def count_cases(junit, results_directory, started_at):
    """Of CTest's JUnit file `junit`: CTest's name of each test → (passed, failed, skipped, names of what failed)."""
    counts = {}
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        name, status = case.get("name"), case.get("status")
        scenario = _scenario_counts(results_directory, name, started_at)
        if scenario and not (status == "fail" and scenario[1] == 0):
            found = (*scenario[:3], [f"{name}: {case_name}" for case_name in scenario[3]])
        elif status == "run":
            found = (1, 0, 0, [])
        elif status == "disabled" or (status == "notrun" and not _is_missing(case)):
            found = (0, 0, 1, [])
        else:
            found = (0, 1, 0, [name])
        # Two programs may have a test of one name.
        counts[name] = tuple(map(operator.add, counts[name], found)) if name in counts else found
    return counts


def total(counts):
    """(passed, failed, skipped, names of what failed) of all that count_cases found."""
    return (*(sum(count[i] for count in counts.values()) for i in range(3)),
            [name for count in counts.values() for name in count[3]])


def run_alone_again(counts, run_one):
    """Runs each failed scenario once more, by itself; returns what to print about them.

    Scenarios share the machine with each other and with whatever else runs on it. One that fails in company and
    passes alone counts as passed, and is named: it is not steady, and somebody should find out why.
    """
    failed = [name for name, (_, bad, _, _) in counts.items() if bad and name.startswith("integration: ")]
    if len(failed) > RERUNS_MAX:
        return []
    lines = []
    for name in failed:
        again = run_one(name)
        if again and again[1] == 0:
            lines += [f"UNSTEADY {case}: failed beside other tests, passed alone" for case in counts[name][3]]
            counts[name] = again
    return lines


def _is_missing(case):
    """CTest says "notrun" for a test that skipped itself, and for one whose program does not exist."""
    note = case.find("skipped")
    return note is None or "SKIP_" not in (note.get("message") or "")


def _scenario_counts(results_directory, name, started_at):
    """Counts of the pytest run behind a CTest name ("integration: proxy" → proxy.xml), or None."""
    path = results_directory / f"{name.rpartition(': ')[2]}.xml"
    if ": " not in name or not path.exists() or path.stat().st_mtime < started_at:
        return None
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except ElementTree.ParseError:
        return None
    bad = [case.get("name") for case in cases
           if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return len(cases) - len(bad) - skipped, len(bad), skipped, bad


def root_prefix():
    """Words to put before ctest so that tests run as root, and a warning when that is impossible."""
    if os.geteuid() == 0:
        return [], None
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL,
                                               check=False).returncode == 0:
        return ["sudo", "-n", "env", f"PATH={os.environ['PATH']}"], None
    return [], ("WARNING: not root and no sudo without a password: tests of namespaces, cgroups and "
                "mounts are SKIPPED.")


def run_ctest(build, prefix, arguments):
    """CTest's exit status, and what count_cases says (None when CTest wrote no results)."""
    junit = build / "test-results" / "ctest.junit"
    junit.parent.mkdir(parents=True, exist_ok=True)
    junit.unlink(missing_ok=True)
    started_at = time.time() - 1
    status = subprocess.run([*prefix, "ctest", "--test-dir", str(build), "--output-on-failure",
                             "--output-junit", str(junit), *arguments], check=False).returncode
    if prefix:
        subprocess.run(["sudo", "-n", "chown", "-R", f"{os.getuid()}:{os.getgid()}",
                        str(build / "test-results"), str(build / "Testing")], check=False)
    return status, count_cases(junit, junit.parent, started_at) if junit.exists() else None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = Path(sys.argv[1]).resolve()
    prefix, warning = root_prefix()
    if warning:
        print(warning, flush=True)
    jobs = str(JOBS_PER_CPU * len(os.sched_getaffinity(0)))
    status, counts = run_ctest(build, prefix, ["-j", jobs, *sys.argv[2:]])
    if counts is None:
        print(f"ctest wrote no results (exit {status})\n0 passed, 1 failed, 0 skipped")
        return 1
    unsteady = []
    if not os.environ.get("PILLION_TEST_NO_RERUN"):
        unsteady = run_alone_again(counts, lambda name: (run_ctest(
            build, prefix, ["-R", f"^{re.escape(name)}$"])[1] or {}).get(name))
    passed, failed, skipped, names = total(counts)
    if status != 0 and failed == 0 and not unsteady:
        failed = 1
        names = [f"ctest itself (exit {status})"]
    for line in unsteady + [f"FAILED {name}" for name in names]:
        print(line)
    if warning:
        print(warning)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
