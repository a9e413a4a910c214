"""README.md tells the truth: the blocks that are marked for test are run, in order, as a newcomer would.

A marker is the comment before a fenced block: `test: file NAME` writes it to NAME, `test: run` runs it in a shell
with the programs in PATH, `test: background` runs it and goes on when the service is ready. Only the service's name
and the host port are replaced, so that the scenario can run beside others.
"""
import json
import os
import re

import pytest

from support.pillion_testing import (REPOSITORY, Program, find_leaks, free_port, kill_by_handle, processes_of,
                                     program_directory, requires_root, run, unique_name, wait_for_no_leaks,
                                     wait_until)

BLOCK = re.compile(r"<!-- test: ([a-z]+) ?(\S*) -->\n```\w*\n(.*?)```", re.DOTALL)


def blocks():
    return BLOCK.findall((REPOSITORY / "README.md").read_text())


def test_the_marked_blocks_tell_the_whole_story():
    assert [kind for kind, _, _ in blocks()] == ["file", "run", "background", "run"]


@pytest.fixture
def newcomer(workspace):
    """A directory, an environment in which `sudo` and `pillion` work, and the words to replace."""
    shims = workspace / "bin"
    shims.mkdir()
    (shims / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (shims / "sudo").chmod(0o755)
    env = {f"PILLION_{key}_DIR": str(workspace / key.lower()) for key in ("RUNTIME", "STATE", "LOG")}
    env["PATH"] = f"{shims}:{program_directory()}:{os.environ['PATH']}"
    name, port = unique_name("hello"), str(free_port())

    def adapt(text):
        text = re.sub(r"\bhello\b", name, text)
        return text.replace('publish = ["8080"]', f'publish = ["{port}:8080"]').replace("127.0.0.1:8080",
                                                                                     f"127.0.0.1:{port}")
    yield workspace, env, name, adapt
    left = wait_for_no_leaks(lambda: find_leaks(name, workspace / "runtime"))
    for pid in processes_of(name):
        kill_by_handle(pid)
    assert not left, left


@requires_root
def test_a_newcomer_gets_the_service_of_the_readme_up_and_down(newcomer):
    workspace, env, name, adapt = newcomer
    output, service = "", None
    try:
        for kind, argument, text in blocks():
            text = adapt(text)
            if kind == "file":
                (workspace / adapt(argument)).write_text(text)
            elif kind == "background":
                service = Program(["/bin/sh", "-c", f"cd {workspace} && exec {text}"], workspace, env=env)
                wait_until(lambda: json.loads(run(["pillion", "status", name, "--json"], env=env).stdout)["ready"],
                           60, "the service to be ready")
            else:
                output += run(["/bin/bash", "-ec", text], env=env, cwd=workspace, check=0).stdout
        assert service.wait() in (0, 143)  # the app's own: http.server does not handle SIGTERM
    finally:
        if service:
            print(service.output)
            service.close()
    assert re.search(r"^HTTP/1.1 200", output, re.MULTILINE)
    assert re.search(r"^x-request-id: ", output, re.MULTILINE | re.IGNORECASE)
