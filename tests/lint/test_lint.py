"""The repository keeps its own rules: borders between folders, names, comments, lengths, format, links."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from lint import checks

REPOSITORY = Path(__file__).resolve().parents[2]
TREE_CHECKS = [checks.check_borders, checks.check_file_names, checks.check_leftovers, checks.check_first_comments,
               checks.check_main_files, checks.check_lengths, checks.check_format, checks.check_shell,
               checks.check_links, checks.check_globs, checks.check_promises]


@pytest.mark.parametrize("check", TREE_CHECKS, ids=lambda check: check.__name__)
def test_the_repository_passes(check):
    problems = check(REPOSITORY)
    if problems is None:
        pytest.skip(f"the program that {check.__name__} runs is not installed (make test installs it)")
    assert not problems, "\n" + "\n".join(problems)


def test_the_supervisor_and_the_keeper_link_only_what_they_may():
    directory = Path(os.environ.get("PILLION_BIN", REPOSITORY / "build" / "release" / "bin"))
    if not (directory / "pillion").exists() or not (directory / "pillion-keeper").exists():
        pytest.skip(f"no programs in {directory}: build first")
    if any("san.so" in library for library in checks.linked_libraries(directory / "pillion")):
        pytest.skip("a sanitizer brings libraries of its own")
    problems = checks.check_linking(directory)
    assert not problems, "\n".join(problems)


def test_every_scenario_is_known_to_ctest():
    build = Path(os.environ.get("PILLION_BUILD", REPOSITORY / "build" / "release"))
    if not (build / "CTestTestfile.cmake").exists():
        pytest.skip(f"{build} is not configured: build first")
    listing = subprocess.run(["ctest", "--test-dir", build, "-N"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"integration: (\S+)", listing))
    there = {path.parent.name for path in (REPOSITORY / "tests" / "integration").glob("*/test_*.py")}
    assert not there - known, f"register these in tests/integration/CMakeLists.txt: {sorted(there - known)}"
