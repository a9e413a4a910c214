"""What `pillion` tells of the past and present of a running service: ps, why, events, timeline."""
import json
import os
import xml.etree.ElementTree as ElementTree
from signal import SIGKILL, pidfd_send_signal

from support.pillion_testing import Program, wait_until

SERVICE = '''
    [network]
    mode = "host"
    [init.prepare]
    command = ["/bin/true"]
    [sidecar.helper]
    command = ["/bin/sleep", "1000"]
    stop_signal = "SIGKILL"
    [app]
    command = ["/bin/sh", "-c", "echo says hello; exec sleep 1000"]
    stop_signal = "SIGKILL"
'''


def kill(pid):
    handle = os.pidfd_open(pid)
    try:
        pidfd_send_signal(handle, SIGKILL)
    finally:
        os.close(handle)


def events_of(service, *words):
    result = service.command("events", service.name, "--json", *words)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_ps_lists_running_services_and_those_that_crashed(services):
    service = services(SERVICE).start()
    (line,) = json.loads(service.command("ps", "--json").stdout)
    assert (line["name"], line["state"], line["ready"]) == (service.name, "running", True)
    assert (line["children"], line["ready_children"], line["restarts"]) == (2, 2, 0)
    text = service.command("ps").stdout
    assert text.splitlines()[0].startswith("SERVICE") and service.name in text
    # A directory with a socket that nobody serves.
    left = service.runtime_parent / "left-behind"
    left.mkdir()
    (left / "control").touch()
    try:
        lines = {one["name"]: one for one in json.loads(service.command("ps", "--json").stdout)}
        assert lines["left-behind"]["state"] == "crashed"
        assert "pillion clean" in lines["left-behind"]["why"]
    finally:
        (left / "control").unlink()
        left.rmdir()


def test_why_names_the_child_its_exit_and_its_last_words(services):
    service = services('''
        [network]
        mode = "host"
        [sidecar.flaky]
        command = ["/bin/sh", "-c", "echo cannot find my keys >&2; exit 3"]
        backoff = { base = "1m", max = "1m" }
        [app]
        command = ["/bin/sleep", "1000"]
        stop_signal = "SIGKILL"
    ''')
    service.start(wait=False)
    service.wait_for(lambda: (service.child("flaky") or {}).get("state") == "backoff")
    answer = json.loads(service.command("why", service.name, "--json").stdout)
    assert answer["well"] is False and answer["culprit"] == "flaky"
    assert "flaky exited with 3" in answer["sentence"]
    evidence = "\n".join(answer["evidence"])
    assert "printed: cannot find my keys" in evidence
    assert "pillion retry" in evidence
    text = service.command("why", service.name, "flaky").stdout
    assert text.startswith("flaky is backoff: exited with 3")
    nobody = service.command("why", service.name, "nobody")
    assert nobody.returncode == 1
    assert f"pillion status {service.name}" in nobody.stderr


def test_why_of_a_service_that_is_well_and_of_one_that_has_ended(services):
    service = services(SERVICE).start()
    assert service.command("why", service.name).stdout.startswith(f"{service.name} is ready")
    service.stop()
    ended = service.command("why", service.name)
    assert ended.returncode == 3
    assert f"{service.name} does not run: it ended with exit code" in ended.stdout
    assert "SIGTERM" in ended.stdout


def test_events_tell_a_life_in_order_and_outlive_the_service(services):
    service = services(SERVICE).start()
    kill(service.child("helper")["pid"])
    service.wait_for(lambda: (service.child("helper") or {}).get("generation") == 2)
    service.wait_ready()
    kinds = [(one["kind"], one.get("child")) for one in events_of(service)]
    in_order = [("service_preparing", None), ("network_ready", None), ("child_exited", "prepare"),
                ("child_executed", "helper"), ("child_executed", "app"), ("service_ready", None),
                ("child_exited", "helper"), ("child_executed", "helper")]
    at = 0
    for wanted in in_order:
        at = kinds.index(wanted, at)
    (ended,) = [one for one in events_of(service, "helper", "--level", "warning")
                if one["kind"] == "child_exited"]
    assert ended["fields"]["signal"] == "9" and ended["generation"] == 1
    assert events_of(service, "--since", "2000-01-01T00:00:00Z", "-n", "1")[0]["sequence"] == len(kinds)
    assert events_of(service, "--since", "2199-01-01T00:00:00Z") == []
    service.stop()
    after = events_of(service)
    assert after[-1]["kind"] == "service_stopped"
    assert [one["sequence"] for one in after] == list(range(1, len(after) + 1))


def test_following_survives_the_supervisor_and_ends_with_the_service(services):
    service = services(SERVICE).start()
    with Program(["pillion", "events", service.name, "-f", "--json"], service.directory,
                 env=service.env) as follower:
        wait_until(lambda: "service_ready" in follower.stdout)
        old = service.status()["supervisor_pid"]
        kill(old)
        service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, old))
        wait_until(lambda: "supervisor_restarted" in follower.stdout)
        service.stop()
        assert follower.wait() == 0
        events = [json.loads(line) for line in follower.stdout.splitlines()]
    sequences = [one["sequence"] for one in events]
    assert sequences == list(range(1, len(sequences) + 1)), "none lost, none twice"
    assert events[-1]["kind"] == "service_stopped"


def test_the_timeline_of_a_start_and_a_stop(services):
    service = services(SERVICE).start()
    timeline = json.loads(service.command("timeline", service.name, "--json").stdout)
    bars = {bar["name"]: bar for bar in timeline["start"]["bars"]}
    assert set(bars) == {"network", "prepare", "helper", "app"}
    assert bars["app"]["critical"] and timeline["start"]["complete"]
    begins = [bars[name]["segments"][0]["from_ms"] for name in ("network", "prepare", "helper", "app")]
    assert begins == sorted(begins)
    assert all(one["to_ms"] <= timeline["start"]["total_ms"] for one in bars["app"]["segments"])
    assert "stop" not in timeline
    service.stop()
    text = service.command("timeline", service.name).stdout
    assert f"{service.name} was ready in" in text and f"{service.name} stopped in" in text
    picture = service.directory / "timeline.svg"
    assert service.command("timeline", service.name, "--svg", picture).returncode == 0
    root = ElementTree.parse(picture).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("helper after its signal") for title in titles)


def test_a_service_that_never_ran_is_named_with_the_remedy(services):
    service = services(SERVICE)
    for command in ("events", "timeline", "why", "status"):
        result = service.command(command, service.name)
        assert result.returncode == 3
        assert f"pillion run {service.name}.toml" in result.stderr
