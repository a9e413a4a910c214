"""The app starts behind its gates and never before: the incidents that made sidecars infamous."""
import json
import os
import shutil
from pathlib import Path

from support.pillion_testing import HttpApp, http_get, program_directory, requires_root, run, wait_until

APP = '''
        [service]
        name = "@name@"
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
'''


def programs_with(directory, name, script):
    """A copy of the program directory in which `name` is a shell script; the real one is $REAL."""
    copy = Path(directory) / "bin"
    copy.mkdir()
    for path in program_directory().glob("pillion*"):
        target = copy / (path.name + ".real" if path.name == name else path.name)
        try:
            os.link(path, target)
        except OSError:
            shutil.copy2(path, target)
    wrapper = copy / name
    wrapper.write_text(f'#!/bin/sh\nREAL="{copy / (name + ".real")}"\n{script}\n')
    wrapper.chmod(0o755)
    return copy


@requires_root
def test_a_proxy_that_is_slow_to_be_ready_delays_the_app_and_loses_no_first_request(
        services, workspace, monkeypatch):
    """The classic incident: the mesh proxy loads slowly while readiness is probed meanwhile."""
    directory = programs_with(workspace, "pillion-proxy", 'sleep 3\nexec "$REAL" "$@"')
    monkeypatch.setenv("PILLION_BIN", str(directory))
    with HttpApp("0.0.0.0") as upstream:
        service = services(f'''
        [service]
        name = "@name@"
        [app]
        # The app's very first act is an outbound call; it dies when that fails, as fragile apps do.
        command = ["/bin/sh", "-c", "curl -sf -m 5 http://host.pillion.internal:{upstream.port}/echo > @dir@/first || exit 9; exec /usr/bin/python3 @support@/http_app.py --port 8080"]
        ports = [{{ name = "http", port = 8080, protocol = "http" }}]
        readiness_probe = {{ http = {{ path = "/healthz" }}, period = "1s" }}
        [network]
        publish = ["@port:web@:8080"]
        [sidecar.proxy]
        use = "proxy"
        ''')
        service.start(wait=False)
        service.wait_for(lambda: (service.child("proxy") or {}).get("state"), 20, "the proxy to be spawned")
        assert not (service.directory / "first").exists()
        service.wait_ready()
        assert http_get(f"http://127.0.0.1:{service.port('web')}/echo").status == 200
        first = json.loads((service.directory / "first").read_text())
        assert first["headers"].get("X-Request-ID") or first["headers"].get("x-request-id")
        assert len(upstream.requests) == 1
        for name in ("app", "proxy"):
            assert service.child(name)["restarts"] == 0, name


@requires_root
def test_a_sidecar_that_never_gets_ready_keeps_the_app_from_starting_and_status_says_why(services):
    service = services(APP + '''
        [sidecar.stubborn]
        command = ["/bin/sleep", "1000"]
        gate = { notify = true }
        start_timeout = "2s"
    ''')
    service.start(wait=False)
    service.wait_for(lambda: (service.child("stubborn") or {}).get("restarts", 0) >= 1, 30,
                     "the sidecar to be restarted")
    app = service.child("app")
    assert app["generation"] == 0, app
    shown = service.command("status", service.name).stdout
    assert "stubborn" in app["why"], app
    assert "stubborn" in shown
    service.stop()
    assert "listening on" not in service.log("app")


@requires_root
def test_an_init_task_that_fails_holds_everything_and_is_named(services):
    service = services(APP + '''
        [init.migrate]
        command = ["/bin/sh", "-c", "echo no database; exit 3"]
        restart = "never"
        [adapter.noop]
        command = ["/bin/sleep", "1000"]
    ''')
    service.start(wait=False)
    code = service.process.wait(30)
    assert code == 3
    assert "migrate" in service.output
    assert service.log("app") == "" and service.log("noop") == ""


@requires_root
def test_a_missing_secret_holds_the_app_and_its_arrival_starts_it(services):
    service = services('''
        [service]
        name = "@name@"
        [volume.secrets]
        path = "/run/secrets"
        tmpfs = "1MiB"
        [app]
        command = ["/bin/sh", "-c", "cp /run/secrets/db-password @dir@/seen; exec sleep 1000"]
        mounts = ["secrets:ro"]
        [ambassador.vault]
        use = "secrets"
        mounts = ["secrets"]
        [[ambassador.vault.config.file]]
        path = "/run/secrets/db-password"
        source = "file"
        secret = "@dir@/source-password"
    ''')
    service.start(wait=False)
    vault = service.wait_for(lambda: (service.child("vault") or {}).get("pid") and service.child("vault"),
                             20, "the ambassador to run")
    assert service.child("app")["generation"] == 0
    wait_until(lambda: "source-password" in service.child("vault")["why"], 20,
               "status to name the missing secret")
    source = service.directory / "source-password"
    source.write_text("correct horse")
    source.chmod(0o644)
    service.wait_ready()
    wait_until(lambda: (service.directory / "seen").read_text() == "correct horse", 10)
    assert service.child("vault")["generation"] == vault["generation"]


def test_a_file_with_mistakes_exits_78_before_anything_is_made(services):
    service = services('''
        [service]
        name = "@name@"
        [app]
        command = ["relative/path"]
        [sidecar.proxy]
        use = "porxy"
    ''')
    service.start(wait=False)
    assert service.process.wait(20) == 78
    assert "porxy" in service.output and "proxy" in service.output
    assert f"{service.file}:5:" in service.output
    assert run(["pillion", "check", service.file]).returncode == 78
