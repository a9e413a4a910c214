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
def test_the_sealed_example_lets_in_what_is_published_and_out_what_is_declared(services):
    text = (REPOSITORY / "examples" / "sealed.toml").read_text()
    text = text.replace('publish = ["8080"]', 'publish = ["@port:web@:8080"]').replace("127.0.0.1:8080", "127.0.0.1:@port:web@")
    service = services(text).start()

    def in_app(*words):
        return service.command("exec", "--no-tty", service.name, "app", "--", *words)

    assert http_get(f"http://127.0.0.1:{service.port('web')}/").status == 200
    assert [line.split()[0] for line in in_app("ip", "-brief", "address").stdout.splitlines()] == ["lo"]
    assert "Directory listing" in in_app("curl", "-s", "http://docs/").stdout
    assert "no upstream is configured for this host" in in_app("curl", "-s", "http://192.0.2.1/").stdout


@requires_root
def test_the_second_service_of_the_examples_calls_the_first_by_its_name(services, workspace):
    examples = REPOSITORY / "examples"
    minimal = services((examples / "minimal.toml").read_text().replace('["8080"]', '["@port:minimal@:8080"]'))
    front = services((examples / "two-services.toml").read_text().replace('"8090:8090"', '"@port:front@:8090"')
                     .replace("http://minimal:", f"http://{minimal.name}:"))
    for service in (front, minimal):  # as on a machine: one directory for all
        service.runtime_parent = service.env["PILLION_RUNTIME_DIR"] = workspace / "run"
        service.start()
    url = f"http://127.0.0.1:{front.port('front')}/fetch"
    reply = front.wait_for(lambda: (reply := http_get(url)).status == 200 and reply, 20, "the first service's answer")
    assert b"Directory listing" in reply.body


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
