"""A rolling replace of the app under load: nobody notices it, whether it succeeds or not."""
import json
import os
import signal

import pytest

from support.deploy_lab import Echo, Load, Slow, apps, deploy, prepare, toml_of
from support.pillion_testing import http_get, wait_until

NETWORKS = ["host", pytest.param("bridged", marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root")),
            pytest.param("sealed", marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root"))]


@pytest.mark.parametrize("network", NETWORKS)
def test_no_request_fails_when_the_app_is_replaced_under_load(services, network):
    service = prepare(services(toml_of(network)))
    service.start()
    load = Load(service.port("web"))
    load.wait_for(1)
    slow = Slow(service.port("web"), 1.5)
    socket, raw = Echo(service.port("web"), upgrade=True), Echo(service.port("raw"))
    socket.say(), raw.say()
    assert deploy(service, "--no-wait").returncode == 0
    load.wait_for(2)
    socket.say(), raw.say()  # they stay where they were, and the old app stays for them
    slow.join()
    assert slow.result == (200, "1")
    assert apps(service) == [(1, ""), (2, "next")]
    socket.close(), raw.close()
    wait_until(lambda: apps(service) == [(2, "")], what="the old app to be gone")
    result = deploy(service)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "generation 3 has replaced the app" in result.stdout
    load.wait_for(3)
    assert load.stop() == []
    assert apps(service) == [(3, "")]
    assert service.status()["ready"]
    new = Echo(service.port("raw"))
    new.say()
    new.close()
    log = service.log("app")
    assert ":g1 generation 1 ends" in log and ":g2 generation 2 ends" in log
    assert service.stop().returncode == 0


@pytest.mark.parametrize("mode, reason", [("crash", "exited with 3"), ("unready", "not ready in time")])
def test_a_version_that_does_not_become_ready_is_rolled_back_and_nobody_notices(services, mode, reason):
    service = prepare(services(toml_of("host")))
    service.start()
    pid = service.child("app")["pid"]
    load = Load(service.port("web"))
    load.wait_for(1)
    result = deploy(service, "--timeout", "1500ms", mode=mode)
    assert result.returncode == 1
    assert reason in result.stderr and "not touched" in result.stderr
    if mode == "crash":
        assert "| cannot open the database" in result.stderr
    load.wait_for(1)
    assert load.stop() == [] and list(load.seen) == ["1"]
    assert service.child("app")["pid"] == pid and apps(service) == [(1, "")]
    kinds = [json.loads(line)["kind"] for line in service.command("events", service.name, "--json").stdout.splitlines()]
    assert "deploy_started" in kinds and "deploy_failed" in kinds


def test_a_file_is_deployed_and_becomes_the_accepted_configuration(services):
    service = prepare(services(toml_of("host")))
    service.start()
    service.write(toml_of("host").replace('stop_grace = "10s"', 'stop_grace = "9s"'))
    refused = service.command("deploy", service.name)
    assert refused.returncode == 1 and "stop_grace" in refused.stderr and "reload" in refused.stderr
    service.write(toml_of("host").replace("[app]", '[app]\n        env = { FLAVOUR = "sweet" }'))
    result = service.command("deploy", service.file, "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["promoted"] is True
    accepted = service.runtime_dir / "accepted" / f"{service.name}.toml"
    assert 'FLAVOUR = "sweet"' in accepted.read_text()
    service.write("nonsense =")
    assert service.command("deploy", service.name).returncode == 78


def test_one_deploy_at_a_time_and_one_may_be_cancelled(services):
    service = prepare(services(toml_of("host")))
    service.start()
    assert deploy(service, "--no-wait", mode="unready").returncode == 0
    wait_until(lambda: apps(service) == [(1, ""), (2, "next")], what="the next generation")
    second = deploy(service)
    assert second.returncode == 1 and "is under way" in second.stderr
    assert "(next)" in service.command("status", service.name).stdout
    assert service.command("deploy", service.name, "--cancel").returncode == 0
    wait_until(lambda: apps(service) == [(1, "")], what="the end of the next generation")
    assert service.command("deploy", service.name, "--cancel").returncode == 1
    assert deploy(service).returncode == 0


def test_what_cannot_be_deployed_is_said_with_the_remedy(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        ports = [{ name = "http", port = @port:app@, protocol = "http" }]
    ''')
    service.start()
    result = service.command("deploy", service.name, "--", "/bin/sleep", "1001")
    assert result.returncode == 1
    assert 'add [sidecar.proxy] with use = "proxy"' in result.stderr and "pillion restart" in result.stderr
    assert service.command("deploy", service.name, "--", "sleep").returncode == 1


def test_an_app_without_ports_needs_no_proxy(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
    ''')
    service.start()
    result = service.command("deploy", service.name, "--", "/bin/sleep", "1001")
    assert result.returncode == 0, result.stdout + result.stderr
    assert apps(service) == [(2, "")]


def kill_hard(pid):
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)


def test_after_a_deploy_restarted_proxies_apps_and_supervisors_go_on_with_it(services):
    service = prepare(services(toml_of("host")))
    service.start()
    assert deploy(service).returncode == 0
    url = f"http://127.0.0.1:{service.port('web')}/version"
    assert http_get(url).body == b"2"
    for victim, expected in (("proxy", b"2"), ("app", b"3"), ("supervisor", b"3"), ("proxy", b"3")):
        pid = service.status()["supervisor_pid"] if victim == "supervisor" else service.child(victim)["pid"]
        kill_hard(pid)

        def is_back():
            status = service.status() or {}
            children = {child["name"]: child for child in status.get("children", [])}
            now = status.get("supervisor_pid") if victim == "supervisor" else children[victim].get("pid")
            return status.get("ready") and now not in (None, pid)
        service.wait_for(is_back, what=f"another {victim}")
        assert http_get(url).body == expected, victim
    assert service.child("proxy")["generation"] == 3
    assert deploy(service).returncode == 0
    assert http_get(url).body == b"4"
