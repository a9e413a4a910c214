"""`pillion logs`: what children print, by child, time, generation, and on and on."""
import json
import os
import signal

import pytest

from support.pillion_testing import Program, wait_until

SERVICE = '''
    [network]
    mode = "host"
    [sidecar.helper]
    command = ["/bin/sh", "-c", "echo helper $PILLION_GENERATION; test -e @dir@/quiet || echo to stderr >&2; exec sleep 1000"]
    [app]
    command = ["/bin/sh", "-c", "while read line; do echo app $line; done < @dir@/words; exec sleep 1000"]
'''


@pytest.fixture
def talking(services):
    service = services(SERVICE)
    (service.directory / "words").write_text("one\ntwo\n")
    service.start()
    service.wait_for(lambda: "app two" in service.log("app") and "to stderr" in service.log("helper"), what="their lines")
    return service


def logs(service, *words):
    done = service.command("logs", service.name, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def renew(service, name):
    generation = service.child(name)["generation"]
    os.kill(service.child(name)["pid"], signal.SIGKILL)
    service.wait_for(lambda: service.child(name)["generation"] > generation and service.child(name)["state"] == "running",
                     what="the next generation")


def test_all_children_by_time_or_one_of_them(talking):
    lines = logs(talking)
    assert [line.split(None, 1)[1] for line in lines if line.startswith("app ")] == ["app one", "app two"]
    assert lines[0].split() == ["helper", "helper", "1"], "the helper started first"
    assert logs(talking, "app") == ["app one", "app two"]
    assert logs(talking, "--tail", "1") == ["app    app two"]
    missing = talking.command("logs", talking.name, "nobody")
    assert missing.returncode == 1 and "there are: app, helper" in missing.stderr


def test_each_line_as_json_with_its_stream_and_generation(talking):
    records = [json.loads(line) for line in logs(talking, "helper", "--json")]
    assert [(one["text"], one["stream"], one["generation"], one["child"]) for one in records] == [
        ("helper 1", "stdout", 1, "helper"), ("to stderr", "stderr", 1, "helper")]
    assert logs(talking, "helper", "--since", records[1]["time"]) == ["to stderr"]
    assert logs(talking, "helper", "--since", "1h") == ["helper 1", "to stderr"]
    assert logs(talking, "helper", "--since", "0s") == []


def test_the_generation_before_is_shown_alone_also_when_the_present_one_is_silent(talking):
    assert logs(talking, "helper", "--previous") == []
    renew(talking, "helper")
    talking.wait_for(lambda: "helper 2" in talking.log("helper"), what="the second generation's line")
    assert logs(talking, "helper", "--previous") == ["helper 1", "to stderr"]
    (talking.directory / "words").write_text("")
    renew(talking, "app")  # prints nothing
    assert logs(talking, "app", "--previous") == ["app one", "app two"]


def test_following_shows_new_lines_new_children_and_survives_the_supervisor(talking):
    with Program(["pillion", "logs", talking.name, "--follow", "--since", "0s"], talking.directory,
                 env=talking.env) as follower:
        renew(talking, "helper")
        wait_until(lambda: "helper 2" in follower.stdout, what="the line of a new generation")
        supervisor = talking.status()["supervisor_pid"]
        os.kill(supervisor, signal.SIGKILL)
        talking.wait_for(lambda: (talking.status() or {}).get("supervisor_pid") not in (None, supervisor),
                         what="the next supervisor")
        talking.file.write_text(talking.file.read_text() + '\n[sidecar.late]\ncommand = ["/bin/sh", "-c", "echo late; '
                                'exec sleep 1000"]\n')
        assert talking.command("reload", talking.name).returncode == 0
        wait_until(lambda: "late" in follower.stdout, what="the line of a new child")
        assert follower.stdout.count("helper 2") == 1
