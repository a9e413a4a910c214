"""Every example file is valid, and the smallest one runs."""
import json
import re

import pytest

from support.pillion_testing import (REPOSITORY, http_get, program_directory, requires_root, run)

TEN_MISTAKES = REPOSITORY / "examples" / "ten-mistakes.toml"
EXAMPLES = sorted(set((REPOSITORY / "examples").rglob("*.toml")) - {TEN_MISTAKES})


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_it_passes_check(file):
    result = run(["pillion", "check", file])
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_typo_in_it_is_found(file, workspace):
    broken = workspace / file.name
    broken.write_text(file.read_text().replace("[app]\ncommand", "[app]\ncomand"))
    result = run(["pillion", "check", broken])
    assert result.returncode == 78 and "did you mean `command`" in result.stderr


def test_ten_mistakes_are_found_in_one_run():
    result = run(["pillion", "check", TEN_MISTAKES])
    assert result.returncode == 78
    assert result.stderr.count(": error: ") == 10, result.stderr
    assert result.stderr.endswith("ten-mistakes.toml: 10 errors\n")
    found = json.loads(run(["pillion", "check", "--format", "json", TEN_MISTAKES]).stdout)
    assert len(found) == 10 and all(problem["line"] > 0 for problem in found)


@requires_root
def test_the_minimal_example_serves_through_its_proxy(services):
    text = (REPOSITORY / "examples" / "minimal.toml").read_text()
    service = services(text.replace('publish = ["8080"]', 'publish = ["@port:web@:8080"]')).start()
    reply = http_get(f"http://127.0.0.1:{service.port('web')}/")
    assert reply.status == 200 and reply.headers["x-request-id"]
    assert service.stop().returncode in (0, 143)  # http.server does not handle SIGTERM


@requires_root
def test_status_and_stop_work_by_name(services):
    text = (REPOSITORY / "examples" / "minimal.toml").read_text()
    service = services(text.replace('publish = ["8080"]', 'publish = ["@port:web@:8080"]')).start()
    status = json.loads(service.command("status", service.name, "--json").stdout)
    assert re.search(r"proxy", json.dumps(status))
    stopped = service.command("stop", service.name)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "requests" in stopped.stdout
    service.process.wait()


def test_the_programs_know_their_version():
    for path in sorted(program_directory().glob("pillion*")):
        result = run([path, "--version"])
        assert result.returncode == 0 and re.search(r"\d+\.\d+\.\d+", result.stdout), path.name
