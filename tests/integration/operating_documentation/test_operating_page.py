"""docs/operating.md tells the truth: its marked blocks are run in order, in one shell's directory.

`test: file NAME` writes the block, `test: run` runs its `$` lines and wants success from each, `test: fails N` wants
exit code N from the last one.
"""
import os
import re

from support.pillion_testing import (REPOSITORY, find_leaks, kill_by_handle, processes_of, program_directory, run,
                                     unique_name, wait_for_no_leaks)

BLOCK = re.compile(r"<!-- test: ([a-z]+) ?(\S*) -->\n```\w*\n(.*?)```", re.DOTALL)


def blocks():
    return BLOCK.findall((REPOSITORY / "docs" / "operating.md").read_text())


def test_every_block_of_the_page_is_marked():
    page = (REPOSITORY / "docs" / "operating.md").read_text()
    assert len(blocks()) == page.count("\n```") // 2 > 8


def test_an_operator_can_type_what_the_page_says(workspace):
    name = unique_name("orders")
    env = {f"PILLION_{key}_DIR": str(workspace / key.lower()) for key in ("RUNTIME", "STATE", "LOG")}
    env["PATH"] = f"{program_directory()}:{os.environ['PATH']}"
    try:
        for kind, argument, text in blocks():
            text = re.sub(r"\borders\b", name, text)
            if kind == "file":
                (workspace / argument.replace("orders", name)).write_text(text)
                continue
            lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
            for i, line in enumerate(lines):
                wanted = int(argument) if kind == "fails" and i + 1 == len(lines) else 0
                done = run(["/bin/bash", "-c", line], env=env, cwd=workspace, check=wanted)
                print(f"$ {line}\n{done.stdout}{done.stderr}")
    finally:
        run(["pillion", "stop", name, "--grace", "2s"], env=env)
        left = wait_for_no_leaks(lambda: find_leaks(name, workspace / "runtime"))
        for pid in processes_of(name):
            kill_by_handle(pid)
    assert not left, left
    assert "<svg" in (workspace / "start.svg").read_text()
