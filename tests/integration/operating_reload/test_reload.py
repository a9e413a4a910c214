"""`pillion plan` and `pillion reload`: a changed file is taken over, and only what changed is touched."""
import json
import os
import signal

from support.pillion_testing import http_request, wait_until

SERVICE = '''
    [network]
    mode = "host"
    [service]
    stop_grace = "5s"
    [sidecar.helper]
    command = ["/bin/sleep", "1000"]
    [sidecar.other]
    command = ["/bin/sh", "-c", "echo here; exec sleep 1000"]
    [app]
    command = ["/bin/sleep", "1000"]
    env = { MODE = "one" }
'''


def pids(service):
    return {child["name"]: child.get("pid") for child in service.status()["children"]}


def edit(service, *replacements):
    """Changes the service's file as an operator would."""
    text = service.file.read_text()
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    service.file.write_text(text)


def changes(report):
    return {child["name"]: child["change"] for child in report["children"]}


def environment(pid, key):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if entry)[key.encode()]


def test_a_plan_tells_what_a_reload_would_do_and_does_nothing(services):
    service = services(SERVICE).start()
    before = pids(service)
    nothing = service.command("plan", service.name)
    assert nothing.returncode == 0 and "nothing to do" in nothing.stdout
    edit(service, ('MODE = "one"', 'MODE = "two"'),
         ('[sidecar.other]', '[sidecar.other]\n    restart = "never"'))
    plan = service.command("plan", service.name)
    lines = {line.split()[0]: line for line in plan.stdout.splitlines()}
    assert "restarts, ready after" in lines["app"] and "env.MODE: … → …" in lines["app"]
    assert 'restart: "always" → "never"' in lines["other"] and "while it runs" in lines["other"]
    assert "untouched" in lines["helper"]
    assert "two" not in plan.stdout, "values of env may be secrets"
    report = json.loads(service.command("plan", service.name, "--json").stdout)
    assert changes(report) == {"helper": "none", "other": "in_place", "app": "replace"}
    assert report["dry_run"] and report["changed"]
    assert pids(service) == before
    assert environment(before["app"], "MODE") == b"one"


def test_a_reload_restarts_what_changed_and_nothing_else(services):
    service = services(SERVICE).start()
    before = pids(service)
    edit(service, ('MODE = "one"', 'MODE = "two"'))
    done = service.command("reload", service.name, "--wait")
    assert done.returncode == 0, done.stderr
    assert "1 restarted, 0 started, 0 stopped, 0 changed while running, 2 untouched" in done.stdout
    after = pids(service)
    assert after["helper"] == before["helper"] and after["other"] == before["other"]
    assert after["app"] != before["app"]
    assert environment(after["app"], "MODE") == b"two"
    again = service.command("reload", service.name)
    assert again.returncode == 0 and "nothing to do" in again.stdout


def test_children_come_and_go(services):
    service = services(SERVICE).start()
    before = pids(service)
    edit(service, ("[sidecar.other]", "[adapter.third]"))
    done = service.command("reload", service.name, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert changes(json.loads(done.stdout)) == {
        "third": "start", "helper": "none", "app": "none", "other": "stop"}
    after = pids(service)
    assert set(after) == {"helper", "third", "app"}
    assert after["helper"] == before["helper"] and after["app"] == before["app"]
    service.wait_for(lambda: "here" in service.log("third"))
    # The next reload finds the slots as this one left them.
    edit(service, ("[adapter.third]", "[sidecar.other]"))
    assert service.command("reload", service.name, "--wait").returncode == 0
    assert set(pids(service)) == {"helper", "other", "app"}
    assert pids(service)["app"] == before["app"]


def test_a_bad_file_changes_nothing_and_every_problem_is_told(services):
    service = services(SERVICE).start()
    before = pids(service)
    edit(service, ("[app]", "[app]\n    comand = 1"), ('stop_grace = "5s"', 'stop_grace = "5 parsecs"'))
    refused = service.command("reload", service.name)
    assert refused.returncode == 78
    assert "error: unknown key `comand`" in refused.stderr and "did you mean `command`" in refused.stderr
    assert "^~~" in refused.stderr and "5 parsecs" in refused.stderr
    assert "goes on as it is" in refused.stderr
    reply = http_request("POST", f"unix:{service.runtime_dir}/control:/v1/reload", body=b"{}")
    assert reply.status == 422
    answer = reply.json()
    assert len(answer["diagnostics"]) == 2 and answer["diagnostics"][0]["line"] > 0
    assert pids(service) == before and service.status()["ready"]


def test_what_only_a_new_start_can_apply_is_refused_as_a_whole(services):
    service = services(SERVICE).start()
    before = pids(service)
    edit(service, ("[sidecar.helper]", '[volume.data]\n    path = "@dir@/data"\n    [sidecar.helper]'.replace(
        "@dir@", str(service.directory))), ('MODE = "one"', 'MODE = "two"'))
    plan = service.command("plan", service.name)
    assert "a reload cannot apply volume" in plan.stdout and f"pillion stop {service.name}" in plan.stdout
    refused = service.command("reload", service.name)
    assert refused.returncode == 1 and "nothing was applied" in refused.stderr
    assert pids(service) == before


def test_the_new_file_outlives_a_crash_of_the_supervisor(services):
    service = services(SERVICE).start()
    edit(service, ("[sidecar.other]", "[sidecar.new]"), ('MODE = "one"', 'MODE = "two"'))
    assert service.command("reload", service.name, "--wait").returncode == 0
    before = pids(service)
    supervisor = service.status()["supervisor_pid"]
    os.kill(supervisor, signal.SIGKILL)
    service.wait_for(lambda: service.status()["supervisor_pid"] != supervisor)
    service.wait_for(lambda: service.status()["ready"])
    assert pids(service) == before
    edit(service, ('MODE = "two"', 'MODE = "three"'))
    assert service.command("reload", service.name, "--wait").returncode == 0
    assert environment(pids(service)["app"], "MODE") == b"three"
    assert pids(service)["new"] == before["new"]


def test_a_new_app_that_fails_is_told_and_the_rest_goes_on(services):
    service = services(SERVICE).start()
    before = pids(service)
    bad = '[app]\n    command = ["/bin/false"]\n    startup_probe = { exec = { command = ["/bin/false"] } }'
    good = '[app]\n    command = ["/bin/sleep", "1000"]'
    edit(service, (good, bad))
    failed = service.command("reload", service.name, "--wait")
    assert failed.returncode == 1 and "app" in failed.stderr and "pillion why" in failed.stderr
    assert pids(service)["helper"] == before["helper"]
    edit(service, (bad, good))
    assert service.command("reload", service.name, "--wait").returncode == 0
    assert service.status()["ready"]


def test_hangup_reloads_the_file(services):
    service = services(SERVICE).start()
    before = pids(service)
    edit(service, ('MODE = "one"', 'MODE = "two"'))
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: pids(service)["app"] not in (None, before["app"]) and service.status()["ready"])
    assert environment(pids(service)["app"], "MODE") == b"two"
    assert pids(service)["helper"] == before["helper"]
