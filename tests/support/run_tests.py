#!/usr/bin/python3
"""Runs CTest and ends with one line, `N passed, N failed, N skipped`.

Usage: run_tests.py BUILD_DIR [ctest arguments…]. Reads CTest's JUnit file; a pytest scenario is counted by its
cases, from the JUnit file that it wrote itself in BUILD_DIR/test-results. Exit status 0 only when at least one
test passed and none failed. Tests that need root get it: directly, or through sudo when it asks for no
password; otherwise they are skipped and this program says so.
"""
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

JOBS_PER_CPU = 2  # scenarios mostly wait


def count_cases(junit, results_directory, started_at):
    """(passed, failed, skipped, names of what failed) of CTest's JUnit file `junit`."""
    passed = failed = skipped = 0
    names = []
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        name, status = case.get("name"), case.get("status")
        scenario = _scenario_counts(results_directory, name, started_at)
        if scenario and not (status == "fail" and scenario[1] == 0):
            passed, failed, skipped = (passed + scenario[0], failed + scenario[1], skipped + scenario[2])
            names += [f"{name}: {case_name}" for case_name in scenario[3]]
        elif status == "run":
            passed += 1
        elif status == "disabled" or (status == "notrun" and not _is_missing(case)):
            skipped += 1
        else:
            failed += 1
            names.append(name)
    return passed, failed, skipped, names


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


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = Path(sys.argv[1]).resolve()
    junit = build / "test-results" / "ctest.junit"
    junit.parent.mkdir(parents=True, exist_ok=True)
    junit.unlink(missing_ok=True)
    started_at = time.time() - 1
    prefix, warning = root_prefix()
    if warning:
        print(warning, flush=True)
    jobs = str(JOBS_PER_CPU * len(os.sched_getaffinity(0)))
    status = subprocess.run([*prefix, "ctest", "--test-dir", str(build), "-j", jobs, "--output-on-failure",
                             "--output-junit", str(junit), *sys.argv[2:]], check=False).returncode
    if prefix:
        subprocess.run(["sudo", "-n", "chown", "-R", f"{os.getuid()}:{os.getgid()}",
                        str(build / "test-results"), str(build / "Testing")], check=False)
    if not junit.exists():
        print(f"ctest wrote no results (exit {status})\n0 passed, 1 failed, 0 skipped")
        return 1
    passed, failed, skipped, names = count_cases(junit, junit.parent, started_at)
    if status != 0 and failed == 0:
        failed = 1
        names = [f"ctest itself (exit {status})"]
    for name in names:
        print(f"FAILED {name}")
    if warning:
        print(warning)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
