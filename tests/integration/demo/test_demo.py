"""`make run` in one go: the demo starts two services and every helper shows what it did."""
import json
import os
import re
import secrets

import pytest

from support.pillion_testing import (REPOSITORY, find_leaks, free_port, make_workspace, program_directory,
                                     remove_workspace, requires_root, run, wait_for_no_leaks)

DEMO = REPOSITORY / "examples" / "order-processor" / "demo"


@pytest.fixture(scope="module")
def demo():
    """The demo's whole output, and what it left on the machine; run once for all tests below."""
    workspace = make_workspace()
    suffix = secrets.token_hex(3)
    env = {f"PILLION_{key}_DIR": workspace / key.lower() for key in ("RUNTIME", "STATE", "LOG")}
    result = run([DEMO, "--once", "--bin", program_directory(), "--port", free_port(), "--payments-port",
                  free_port(), "--suffix", suffix], timeout=170, env=env)
    names = [f"order-processor-{suffix}", f"payments-{suffix}"]
    left = [leak for name in names
            for leak in wait_for_no_leaks(lambda name=name: find_leaks(name, workspace / "runtime"))]
    yield result.returncode, result.stdout + result.stderr, left
    remove_workspace(workspace)


def section(output, title):
    """The text between one heading that starts with `title` and the next."""
    found = re.search(rf"^== {title}[^\n]*\n(.*?)(?=^== |\Z)", output, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}:\n{output}"
    return found.group(1)


@requires_root
def test_it_starts_both_services_and_ends_well(demo):
    returncode, output, _ = demo
    assert returncode == 0, output
    assert re.search(r"payments-\w+ is ready\norder-processor-\w+ is ready", output)


@requires_root
def test_the_proxy_adds_a_request_id_on_the_way_in(demo):
    text = section(demo[1], "Sidecar, inbound")
    assert re.search(r"^HTTP/1.1 201", text, re.MULTILINE)
    assert re.search(r"^x-request-id: \S{16,}", text, re.MULTILINE | re.IGNORECASE)
    assert re.search(r"^via: ", text, re.MULTILINE | re.IGNORECASE)
    assert '"status": "FULFILLED"' in text and '"charge_id": "CH-1001"' in text


@requires_root
def test_the_call_to_payments_was_captured(demo):
    text = section(demo[1], "Sidecar, outbound")
    assert "/charge" in text and "payments" in text and "200" in text


@requires_root
def test_the_plain_line_came_out_as_json(demo):
    lines = section(demo[1], "Adapter").strip().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO order_id=ORD-9924 status=FULFILLED amount=7.00", lines[1])
    document = json.loads(lines[2])
    assert document["order_id"] == "ORD-9924" and document["status"] == "FULFILLED"
    assert document["log.level"] == "info" and document["@timestamp"].endswith("Z")


@requires_root
def test_the_app_has_its_secret_and_nobody_shows_it(demo):
    assert '"database_password": "present, 32 characters"' in section(demo[1], "Ambassador")


@requires_root
def test_status_shows_the_children_and_their_limits(demo):
    text = section(demo[1], "The service")
    for word in ("app", "proxy", "logs", "secrets", "ready"):
        assert word in text
    assert re.search(r"128 ?Mi", text), "the app's memory limit"


@requires_root
def test_each_stop_gives_a_receipt_that_lost_nothing(demo):
    text = section(demo[1], "Stopping")
    assert len(re.findall(r"-- receipt of", text)) == 2
    assert re.search(r"records_dropped\D+0\b|0 (log )?records dropped|0 dropped", text), text
    assert "killed" not in text.replace("0 killed", "")


@requires_root
def test_nothing_is_left_behind(demo):
    assert demo[2] == []


def test_without_programs_it_says_what_to_do(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: the demo asks sudo first")
    result = run([DEMO, "--once", "--bin", tmp_path, "--suffix", secrets.token_hex(3)])
    assert result.returncode == 1 and "build it with `make build`" in result.stdout
