"""Each check of the lint can fail: given a small bad tree it names the place, given a good one it is silent."""
import shutil
import subprocess

import pytest

from lint import checks

GOOD = "// What this file is, in a sentence.\n"
LONG_FUNCTION = "int f() {\n" + "  g();\n" * 80 + "  return 1;\n}\n"
BAD_TREES = [
    (checks.check_borders, {"runtime/a.h": GOOD + '#include "config/service.h"\n'}, "runtime/a.h:2"),
    (checks.check_borders, {"proxy/a.cc": GOOD + '#include "supervisor/core/state.h"\n'}, "proxy/a.cc:2"),
    (checks.check_borders, {"adapters/logs/a.cc": GOOD + '#include "proxy/server.h"\n'}, "adapters/logs/a.cc:2"),
    (checks.check_borders, {"supervisor/core/a.cc": GOOD + '#include "supervisor/host/spawn.h"\n'},
     "supervisor/core/a.cc:2"),
    (checks.check_borders, {"config/a.cc": GOOD + '#include "../runtime/fd.h"\n'}, "config/a.cc:2"),
    (checks.check_file_names, {"runtime/utils.h": GOOD}, "runtime/utils.h:1"),
    (checks.check_file_names, {"runtime/common/fd.h": GOOD}, "runtime/common/fd.h:1"),
    (checks.check_leftovers, {"runtime/a.cc": GOOD + "// TO" "DO: later\n"}, "runtime/a.cc:2"),
    (checks.check_first_comments, {"runtime/a.h": "#pragma once\n#include <vector>\n"}, "runtime/a.h:1"),
    (checks.check_first_comments, {"tests/a.py": "import os\n"}, "tests/a.py:1"),
    (checks.check_first_comments, {"run": "#!/bin/sh\nset -e\n\necho\n"}, "run:2"),
    (checks.check_main_files, {"proxy/main.cc": GOOD + "int a;\n" * 99}, "proxy/main.cc:100"),
    (checks.check_lengths, {"proxy/a.cc": GOOD + "int a;\n" * 601}, "proxy/a.cc:602"),
    (checks.check_lengths, {"proxy/a.cc": GOOD + LONG_FUNCTION}, "proxy/a.cc:2"),
    (checks.check_lengths, {"proxy/a.h": GOOD + "class A {\n  int f() {\n" + "    g();\n" * 80 + "  }\n};\n"},
     "proxy/a.h:3"),
    (checks.check_lengths, {"tests/a.py": '"""It."""\ndef f():\n' + "    g()\n" * 80}, "tests/a.py:2"),
    (checks.check_format, {"proxy/a.cc": GOOD + "int   a ;\n"}, "proxy/a.cc:2"),
    (checks.check_shell, {"run": "#!/bin/sh\n# A script.\nrm $1\n"}, "run:3"),
    (checks.check_links, {"README.md": "# A\n[x](docs/none.md)\n"}, "README.md:2"),
    (checks.check_links, {"README.md": "# A\n[x](#b)\n"}, "README.md:2"),
    (checks.check_promises, {"docs/lifecycle.md": "# A\n`life::test_gone`, `core: no such`\n"}, "docs/lifecycle.md:"),
    (checks.check_globs, {"CMakeLists.txt": "file(GLOB sources *.cc)\n"}, "CMakeLists.txt:1"),
]
GOOD_TREE = {
    "runtime/fd.h": "// Owners of file descriptors.\n#pragma once\n",
    "ambassadors/egress/a.cc": GOOD + '#include "proxy/server.h"\n#include "runtime/fd.h"\n',
    "supervisor/host/a.cc": GOOD + '#include "supervisor/core/state.h"\n',
    "tests/unit/proxy/a.cc": GOOD + '#include "proxy/server.h"\n#include "supervisor/core/state.h"\n',
    "proxy/long.cc": "// The relay; longer than 70 lines because it is one table.\n" + LONG_FUNCTION,
    "README.md": "# The start\n[here](#the-start) [there](docs/a.md#b-c) [out](https://example.org)\n`[x](y)`\n",
    "docs/a.md": "## B, c\n",
}


def make_tree(directory, content):
    shutil.copy(checks.Path(__file__).parents[2] / ".clang-format", directory)
    for name, text in content.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.mark.parametrize("check,content,place", BAD_TREES,
                         ids=[f"{check.__name__}-{place}" for check, _, place in BAD_TREES])
def test_a_bad_tree_is_named(tmp_path, check, content, place):
    problems = check(make_tree(tmp_path, content))
    if problems is None:
        pytest.skip(f"the program that {check.__name__} runs is not installed")
    assert any(place in problem for problem in problems), problems


@pytest.mark.parametrize("check", sorted({bad[0] for bad in BAD_TREES}, key=lambda check: check.__name__),
                         ids=lambda check: check.__name__)
def test_a_good_tree_is_silent(tmp_path, check):
    assert not check(make_tree(tmp_path, GOOD_TREE))


def test_a_program_that_links_too_much_is_named(tmp_path):
    source = tmp_path / "a.c"
    source.write_text("const char *zlibVersion(void);\nint main(void) { return *zlibVersion() == 0; }\n")
    for name in ("pillion", "pillion-keeper"):
        built = subprocess.run(["cc", "-o", tmp_path / name, source, "-Wl,--no-as-needed", "-lz", "-lcurl"],
                               capture_output=True, text=True, check=False)
        if built.returncode != 0:
            pytest.skip(f"cannot link a program for the check: {built.stderr}")
    problems = checks.check_linking(tmp_path)
    assert any(problem.startswith("pillion:1: must not link libcurl") for problem in problems)
    assert any(problem.startswith("pillion-keeper:1: must not link libz") for problem in problems)
