"""The harness itself: what it waits for, what it counts and what it calls a leak must be right."""
import os
import subprocess
import textwrap

import pytest

from support import run_tests
from support.pillion_testing import (HttpApp, Program, RawClient, find_leaks, free_port, http_get, http_request,
                                     requires_root, run, unique_name, wait_until)

CTEST_RESULTS = """<testsuite>
  <testcase name="config: parses a duration" status="run"/>
  <testcase name="config: rejects a bare number" status="fail"><failure message=""/></testcase>
  <testcase name="package: deb" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>
  <testcase name="netns: no program" status="notrun"><skipped message="Unable to find executable"/></testcase>
  <testcase name="integration: proxy" status="run"/>
</testsuite>"""
PYTEST_RESULTS = """<testsuites><testsuite>
  <testcase name="test_a"/><testcase name="test_b"><skipped/></testcase><testcase name="test_c"/>
</testsuite></testsuites>"""


def test_cases_of_a_scenario_are_counted_one_by_one(tmp_path):
    (tmp_path / "ctest.junit").write_text(CTEST_RESULTS)
    (tmp_path / "proxy.xml").write_text(PYTEST_RESULTS)
    passed, failed, skipped, names = run_tests.total(
        run_tests.count_cases(tmp_path / "ctest.junit", tmp_path, 0))
    assert (passed, failed, skipped) == (3, 2, 2)
    assert names == ["config: rejects a bare number", "netns: no program"]


def test_a_scenario_that_died_without_a_failed_case_counts_as_failed(tmp_path):
    (tmp_path / "ctest.junit").write_text(CTEST_RESULTS.replace(
        'proxy" status="run"', 'proxy" status="fail"'))
    (tmp_path / "proxy.xml").write_text(PYTEST_RESULTS)
    passed, failed, skipped, _ = run_tests.total(
        run_tests.count_cases(tmp_path / "ctest.junit", tmp_path, 0))
    assert (passed, failed, skipped) == (1, 3, 1)


def test_results_of_an_earlier_run_are_not_counted(tmp_path):
    (tmp_path / "ctest.junit").write_text(CTEST_RESULTS)
    (tmp_path / "proxy.xml").write_text(PYTEST_RESULTS)
    os.utime(tmp_path / "proxy.xml", (1, 1))
    counts = run_tests.count_cases(tmp_path / "ctest.junit", tmp_path, 1000)
    assert run_tests.total(counts)[:3] == (2, 2, 1)


def test_a_scenario_that_passes_alone_is_counted_as_passed_and_named():
    counts = {"unit: a": (0, 1, 0, ["unit: a"]), "integration: b": (3, 1, 0, ["integration: b: test_x"]),
              "integration: c": (0, 1, 0, ["integration: c: test_y"])}
    again = {"integration: b": (4, 0, 0, []), "integration: c": (0, 1, 0, ["integration: c: test_y"])}
    lines = run_tests.run_alone_again(counts, again.get)
    assert lines == ["UNSTEADY integration: b: test_x: failed beside other tests, passed alone"]
    assert run_tests.total(counts) == (4, 2, 0, ["unit: a", "integration: c: test_y"])


def test_many_failures_are_no_accident_and_not_run_again():
    counts = {f"integration: {i}": (0, 1, 0, [f"integration: {i}"]) for i in range(6)}
    assert run_tests.run_alone_again(counts, lambda _: pytest.fail("ran again")) == []
    assert run_tests.total(counts)[1] == 6


def test_a_wait_that_never_ends_says_what_was_last_seen():
    with pytest.raises(AssertionError, match="waited 0.05 s for the moon; last seen: 0"):
        wait_until(lambda: 0, timeout=0.05, what="the moon")


def test_free_ports_differ():
    assert len({free_port() for _ in range(20)}) == 20


def test_the_app_answers_on_a_raw_socket_with_length_and_in_chunks():
    with HttpApp() as app, RawClient(app.port) as client:
        client.send("GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(client.read_response()[2]) == 100000
        client.send("GET /chunked/100000 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(client.read_response()[2]) == 100000
        client.send("GET /close HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.is_closed_by_peer()
    assert [request[1] for request in app.requests] == ["/bytes/100000", "/chunked/100000", "/close"]


def test_the_app_tells_what_it_was_sent_and_can_be_overridden():
    with HttpApp() as app:
        echo = http_request("POST", f"{app.url}/echo", body=b"hello").json()
        assert (echo["method"], echo["length"]) == ("POST", 5)
        app.respond = lambda request: (418, {"X-Path": request.path}, b"")
        reply = http_get(f"{app.url}/tea")
        assert (reply.status, reply.headers["x-path"]) == (418, "/tea")


def test_a_program_is_run_stopped_and_its_output_kept(workspace):
    port = free_port()
    script = os.path.join(os.path.dirname(__file__), "http_app.py")
    with Program(["/usr/bin/python3", script, "--port", str(port)], workspace) as app:
        wait_until(lambda: http_get(f"http://127.0.0.1:{port}/healthz").status == 200)
        assert app.stop() == 0
        assert f"listening on 0.0.0.0:{port}" in app.output


def test_a_process_and_a_runtime_file_of_a_service_are_leaks(workspace):
    name = unique_name()
    (workspace / name).mkdir()
    (workspace / name / "control").touch()
    (workspace / name / "lock").touch()
    with Program(["/bin/sleep", "60"], workspace, env={"PILLION_SERVICE": name}) as sleeper:
        wait_until(lambda: any(f"process {sleeper.pid}" in leak for leak in find_leaks(name)))
        assert f"runtime file {workspace / name / 'control'}" in find_leaks(name, workspace)
        assert find_leaks("another" + name) == []
    assert find_leaks(name) == []


@requires_root
def test_a_namespace_a_table_a_cgroup_and_a_mount_of_a_service_are_leaks(workspace):
    name = unique_name()
    cgroup = next(path for path in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.access(path, os.W_OK))
    table = f"pillion_{name}".replace("-", "_")
    target = workspace / f"pillion-{name}"
    target.mkdir()
    undo = []
    try:
        for make, remove in ((["ip", "netns", "add", f"pillion-{name}"], ["ip", "netns", "del", f"pillion-{name}"]),
                             (["nft", "add", "table", "inet", table], ["nft", "delete", "table", "inet", table]),
                             (["mkdir", f"{cgroup}/pillion-{name}"], ["rmdir", f"{cgroup}/pillion-{name}"]),
                             (["mount", "-t", "tmpfs", "none", target], ["umount", target])):
            run(make, check=0)
            undo.append(remove)
        kinds = {leak.split()[0] for leak in find_leaks(name)}
        assert {"network", "nft", "cgroup", "mount"} <= kinds
    finally:
        for command in reversed(undo):
            run(command, check=0)
    assert find_leaks(name) == []


def test_a_scenario_that_skips_everything_exits_with_77(tmp_path):
    (tmp_path / "test_nothing.py").write_text(textwrap.dedent("""
        import pytest
        @pytest.mark.skip(reason="no moon here")
        def test_moon(): pass
    """))
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
               "-p", "conftest", "--rootdir", str(tmp_path), str(tmp_path)]
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": tests}, capture_output=True, text=True,
                            check=False)
    assert result.returncode == 77, result.stdout + result.stderr
