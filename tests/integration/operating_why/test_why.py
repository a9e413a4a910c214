"""`pillion why` names the reason, and the child that is to blame, in every state that a child can be in."""
import json
import os
import re
from signal import SIGKILL, pidfd_send_signal

import pytest

from support.pillion_testing import requires_root

HOST = '''
    [network]
    mode = "host"
'''
APP = '''
    [app]
    command = ["/bin/sleep", "1000"]
'''


def why(service, child=""):
    words = [f"{service.name}/{child}"] if child else [service.name]
    result = service.command("why", *words, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    return answer["sentence"], "\n".join(answer["evidence"])


def started(services, helper, state, app=APP):
    """A service whose child `helper` is in `state`; the text may ask for more than one word of it."""
    service = services(HOST + helper + app)
    service.start(wait=False)
    service.wait_for(lambda: (service.child("helper") or {}).get("state") in state.split())
    return service


GATES = {
    "startup probe": ('startup_probe = { tcp = { port = @port:nobody@ }, period = "1s" }',
                      r"startup probe (has no result yet|failed \d+/3: .*refused)"),
    "notify": ('gate = { notify = true }', "has not sent READY=1"),
    "log line": ('gate = { log_line = "^ready$" }', "no line of its output matched"),
    "file": ('gate = { file = "@dir@/never" }', "its gate file does not exist"),
}


@pytest.mark.parametrize("gate", GATES)
def test_an_app_that_waits_blames_the_gate_of_its_helper(services, gate):
    line, reason = GATES[gate]
    service = started(services, f'''
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        {line}
    ''', "gating")
    sentence, _ = why(service)
    assert re.search(f"is starting, not ready: app waits for helper: {reason}", sentence), sentence
    sentence, evidence = why(service, "helper")
    assert re.search(f"helper is gating: {reason}", sentence), sentence
    assert "helper (sidecar): gating for" in evidence


def test_a_failed_readiness_probe_is_told_with_its_output(services):
    service = started(services, '''
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        readiness_probe = { exec = { command = ["/bin/sh", "-c", "echo no keys >&2; exit 4"] }, period = "1s" }
    ''', "running")
    service.wait_for(lambda: "readiness probe failed" in why(service)[0])
    sentence, _ = why(service)
    assert "helper" in sentence and "no keys" in sentence


def test_a_backoff_tells_the_exit_code_and_how_to_retry(services):
    service = started(services, '''
        [sidecar.helper]
        command = ["/bin/sh", "-c", "exit 7"]
        backoff = { base = "5m", max = "5m" }
    ''', "backoff")
    sentence, evidence = why(service, "helper")
    assert sentence.startswith("helper is backoff: exited with 7; starts again in ")
    assert f"pillion retry {service.name} helper" in evidence


def test_a_child_that_gave_up_is_held(services):
    service = started(services, '''
        [sidecar.helper]
        command = ["/bin/sh", "-c", "exit 7"]
        max_restarts = 0
        on_give_up = "hold"
    ''', "failed")
    sentence, evidence = why(service, "helper")
    assert sentence.startswith("helper is failed: ") and "exited with 7" in sentence
    assert f"it stays down; `pillion retry {service.name} helper`" in evidence


def test_a_signal_that_nobody_of_us_sent_is_named(services):
    service = started(services, '''
        [sidecar.helper]
        command = ["/bin/sh", "-c", "kill -SEGV $$"]
        backoff = { base = "5m", max = "5m" }
    ''', "backoff")
    assert "helper is backoff: was killed by signal SIGSEGV" in why(service, "helper")[0]


def test_a_program_that_cannot_be_started_names_the_step(services):
    service = services(HOST + '''
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        working_directory = "/nowhere/at/all"
    ''' + APP)
    service.start(wait=False)
    service.wait_for(lambda: not service.process.is_running())
    ended = service.command("why", service.name)
    assert ended.returncode == 3
    assert "it ended with exit code 71" in ended.stdout.splitlines()[0]
    assert 'helper: cannot start: chdir("/nowhere/at/all"): No such file' in ended.stdout


def test_who_stopped_a_child_and_how_it_comes_back(services):
    service = services(HOST + '''
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
    ''' + APP).start()
    assert service.command("stop", service.name, "helper").returncode == 0
    sentence, evidence = why(service, "helper")
    assert sentence == "helper is stopped: was stopped"
    assert "asked to stop" in evidence
    assert f"it stays down; `pillion start {service.name} helper`" in evidence


def test_what_ran_before_is_told_of_a_child_that_is_up_again(services):
    service = services(HOST + '''
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
    ''' + APP).start()
    handle = os.pidfd_open(service.child("helper")["pid"])
    try:
        pidfd_send_signal(handle, SIGKILL)
    finally:
        os.close(handle)
    service.wait_for(lambda: service.child("helper")["generation"] == 2)
    service.wait_ready()
    sentence, evidence = why(service, "helper")
    assert sentence.startswith("helper runs and is ready")
    assert "last time, helper was killed by signal SIGKILL" in evidence and "restarted once" in evidence


@requires_root
def test_a_child_that_ran_out_of_memory_is_told_as_that(services):
    service = services(HOST + '''
        [sidecar.helper]
        command = ["/usr/bin/python3", "-c", "import time; time.sleep(0.2); x = bytearray(200_000_000); time.sleep(1000)"]
        limits = { memory = "32MiB" }
        backoff = { base = "5m", max = "5m" }
    ''' + APP)
    service.start(wait=False)
    service.wait_for(lambda: (service.child("helper") or {}).get("state") == "backoff", timeout=60)
    sentence, _ = why(service, "helper")
    assert "memory" in sentence, sentence


def test_a_stopped_service_says_who_asked(services):
    service = services(HOST + APP).start()
    assert service.command("stop", service.name).returncode == 0
    ended = service.command("why", service.name)
    assert ended.returncode == 3
    assert "asked by pillion stop" in ended.stdout
