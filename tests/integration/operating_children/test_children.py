"""`pillion start`, `stop`, `restart` and `retry`, of single children and of whole services."""
import json

from support.pillion_testing import http_request, wait_until

SERVICE = '''
    [network]
    mode = "host"
    [init.prepare]
    command = ["/bin/true"]
    [sidecar.helper]
    command = ["/bin/sleep", "1000"]
    [app]
    command = ["/bin/sleep", "1000"]
    after = ["helper"]
'''
FLAKY = '''
    [network]
    mode = "host"
    [sidecar.flaky]
    command = ["/bin/sh", "-c", "test -e @dir@/may-run && exec sleep 1000; exit 3"]
    backoff = { base = "5m", max = "5m", jitter = 0 }
    startup_probe = { exec = { command = ["/bin/test", "-e", "@dir@/may-run"] }, period = "1s" }
    [app]
    command = ["/bin/sleep", "1000"]
'''


def generations(service):
    return {child["name"]: child["generation"] for child in service.status()["children"]}


def test_a_child_is_stopped_and_started_alone(services):
    service = services(SERVICE).start()
    app = service.child("app")["pid"]
    stopped = service.command("stop", service.name, "helper", "--json")
    assert json.loads(stopped.stdout)["state"] == "stopped", stopped.stderr
    assert service.child("helper")["state"] == "stopped"
    assert service.child("app")["pid"] == app, "what depends on it goes on"
    assert not service.status()["ready"]
    started = service.command("start", service.name, "helper")
    assert (started.returncode, started.stdout) == (0, "helper is up and ready\n"), started.stderr
    assert generations(service)["helper"] == 2
    assert service.status()["ready"]


def test_a_restart_waits_for_the_new_generation(services):
    service = services(SERVICE).start()
    before = service.child("app")["pid"]
    result = service.command("restart", service.name, "app", "--wait", "--json")
    answer = json.loads(result.stdout)
    assert answer["generation"] == 2 and answer["ready"] is True
    assert service.child("app")["pid"] != before
    assert generations(service)["helper"] == 1
    assert service.command("restart", service.name, "helper").stdout == "helper is told to restart\n"
    service.wait_for(lambda: generations(service)["helper"] == 2)


def test_a_restart_of_the_whole_runs_everything_again(services):
    service = services(SERVICE).start()
    keeper = service.process.pid
    result = service.command("restart", service.name, "--wait")
    assert result.stdout == f"{service.name} has restarted and is ready\n", result.stderr
    assert generations(service) == {"prepare": 2, "helper": 2, "app": 2}
    assert service.process.pid == keeper and service.process.is_running()


def test_retry_does_not_wait_for_the_backoff(services):
    service = services(FLAKY)
    service.start(wait=False)
    service.wait_for(lambda: (service.child("flaky") or {}).get("state") == "backoff")
    failed = service.command("retry", service.name, "flaky", "--now", "--wait")
    assert failed.returncode == 1
    assert "flaky: exited with 3" in failed.stderr and "pillion why" in failed.stderr
    service.wait_for(lambda: (service.child("flaky") or {}).get("state") == "backoff")
    (service.directory / "may-run").touch()
    result = service.command("retry", service.name, "flaky", "--now", "--wait")
    assert result.returncode == 0, result.stderr
    assert service.child("flaky")["ready"]
    pointless = service.command("retry", service.name, "flaky", "--now")
    assert pointless.returncode == 1 and "there is nothing to retry" in pointless.stderr


def test_what_cannot_be_is_refused_with_the_remedy(services):
    service = services(SERVICE).start()
    nobody = service.command("restart", service.name, "nobody")
    assert nobody.returncode == 1 and "there are: prepare, helper, app" in nobody.stderr
    done = service.command("start", service.name, "prepare")
    assert done.returncode == 1 and f"pillion restart {service.name}" in done.stderr
    control = f"unix:{service.runtime_dir}/control:"
    for body in ("[]", '{"grace":5}', "nonsense"):
        assert http_request("POST", control + "/v1/children/app/stop", body=body).status == 400
    assert http_request("GET", control + "/v1/children/app/stop").status == 405
    assert service.child("app")["generation"] == 1


def test_a_wait_ends_at_its_timeout(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        readiness_probe = { exec = { command = ["/bin/false"] }, period = "1s" }
    ''')
    service.start(wait=False)
    service.wait_for(lambda: (service.child("app") or {}).get("state") == "running")
    result = service.command("restart", service.name, "app", "--wait", "--timeout", "300ms")
    assert result.returncode == 1 and "not yet" in result.stderr


def test_a_service_starts_in_the_background_and_stops(services):
    service = services(SERVICE)
    result = service.command("start", service.file)
    try:
        assert (result.returncode, result.stdout) == (0, f"{service.name} is ready\n"), result.stderr
        again = service.command("start", service.file)
        assert (again.returncode, again.stdout) == (0, f"{service.name} runs already\n")
        assert (service.log_dir / "pillion.out").exists()
    finally:
        stopped = service.command("stop", service.name, "--json")
    assert json.loads(stopped.stdout)["reason"] == "pillion stop"
    wait_until(lambda: not service.leaks(), what="nothing to be left")


def test_a_service_that_cannot_start_says_why(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/no/such/program"]
        restart = "never"
        on_give_up = "exit"
    ''')
    result = service.command("start", service.file)
    assert result.returncode == 127
    assert "/no/such/program" in result.stderr and "pillion.out" in result.stderr
    missing = service.command("start", "no-such-service")
    assert missing.returncode == 1 and "/etc/pillion/no-such-service.toml" in missing.stderr
