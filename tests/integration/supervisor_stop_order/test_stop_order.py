"""The order of start and stop, and what a stop leaves behind."""
import signal
from pathlib import Path

from support.pillion_testing import requires_root, unique_name

CHILD = ["/bin/sh", "-c",
         "echo start $PILLION_CHILD >> @dir@/order; "
         "trap 'echo stop $PILLION_CHILD >> @dir@/order; exit 0' TERM; "
         "while :; do sleep 0.02; done"]


def command():
    return "[" + ", ".join(f'"{word}"' for word in CHILD) + "]"


def test_children_start_by_role_and_stop_in_reverse(services):
    # Helpers start together with others of their role but after all of the role before; a gate on
    # the order file makes "started" visible to the next one.
    gate = 'startup_probe = { exec = { command = ["/bin/grep", "-q", "start %s$", "@dir@/order"] }, period = "100ms" }'
    service = services(f'''
        [network]
        mode = "host"
        [init.first]
        command = ["/bin/sh", "-c", "echo start first >> @dir@/order"]
        [adapter.logs]
        command = {command()}
        {gate % "logs"}
        [ambassador.vault]
        command = {command()}
        {gate % "vault"}
        [sidecar.proxy]
        command = {command()}
        {gate % "proxy"}
        [app]
        command = {command()}
        {gate % "app"}
''')
    service.start()
    assert service.stop().returncode == 0
    order = (service.directory / "order").read_text().splitlines()
    assert order == ["start first", "start logs", "start vault", "start proxy", "start app",
                     "stop app", "stop proxy", "stop vault", "stop logs"]
    assert "exit code 0" in service.output
    assert (service.state_dir / "last-stop.json").exists()


def test_what_a_child_leaves_running_ends_with_it(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 0' TERM; setsid sleep 1000 & echo up; while :; do sleep 0.02; done"]
        gate = { log_line = "^up$" }
''')
    service.start()
    assert service.stop().returncode == 0  # the fixture checks that no process is left


def test_an_app_deaf_to_its_stop_signal_is_killed_at_its_deadline(services):
    service = services('''
        [service]
        stop_grace = "2s"
        sidecar_reserve = "1s"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done"]
        gate = { log_line = "^up$" }
''')
    service.start()
    assert service.stop().returncode == 137
    assert "app" in service.output


def test_hooks_run_and_a_second_signal_skips_the_delay(services):
    service = services('''
        [service]
        drain_delay = "20s"
        stop_grace = "60s"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done"]
        gate = { log_line = "^up$" }
        post_start = { exec = { command = ["/bin/sh", "-c", "echo post >> @dir@/hooks"] } }
        pre_stop = { exec = { command = ["/bin/sh", "-c", "echo pre >> @dir@/hooks"] } }
''')
    service.start()
    service.process.signal(signal.SIGTERM)
    hooks = service.directory / "hooks"
    service.wait_for(lambda: hooks.read_text() == "post\npre\n", what="both hooks")
    service.process.signal(signal.SIGTERM)
    assert service.process.wait(15) == 0


def test_hooks_may_ask_over_http_or_wait(services):
    service = services('''
        [service]
        stop_grace = "60s"
        [network]
        mode = "host"
        [sidecar.waiting]
        command = ["/bin/sleep", "1000"]
        post_start = { sleep = "1s" }
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "@port:app@"]
        ports = [{ name = "http", port = @port:app@ }]
        startup_probe = { http = { port = "http", path = "/healthz" }, period = "100ms", timeout = "5s", failure_threshold = 1000 }
        pre_stop = { http = { port = "http", path = "/append?file=@dir@/hooks&line=asked" } }
''')
    service.start(wait=False)
    service.wait_for(lambda: (service.child("waiting") or {}).get("state") == "post-start", what="the hook that waits")
    assert service.child("app")["generation"] == 0
    service.wait_ready()
    service.process.signal(signal.SIGTERM)
    service.process.wait(30)
    assert (service.directory / "hooks").read_text() == "asked\n"


@requires_root
def test_volumes_are_seen_as_mounted_and_vanish(services):
    service = services('''
        [network]
        mode = "host"
        [volume.shared]
        path = "/run/@name@/shared"
        [volume.secret]
        path = "/run/@name@/secret"
        tmpfs = "1MiB"
        [sidecar.writer]
        command = ["/bin/sh", "-c", "echo s > /run/@name@/secret/file; echo d > /run/@name@/shared/file; exec sleep 1000"]
        mounts = ["secret", "shared"]
        startup_probe = { exec = { command = ["/bin/test", "-e", "/run/@name@/shared/file"] }, period = "100ms" }
        [app]
        command = ["/bin/sh", "-c", "cat /run/@name@/secret/file; touch /run/@name@/secret/x || echo read-only; ls /run/@name@/shared | wc -l; exec sleep 1000"]
        user = "nobody"
        mounts = ["secret"]
''')
    service.start()
    service.wait_for(lambda: service.log("app").count("\n") >= 4, what="the app's report")
    lines = [line.split(" ", 3)[3] for line in service.log("app").splitlines()]
    assert "s" in lines
    assert "read-only" in lines
    assert "0" in lines  # `shared` is not mounted by the app, so it sees the empty mount point
    service.stop()
    assert not (service.state_dir / "volumes" / "secret").exists()
    assert (service.state_dir / "volumes" / "shared" / "file").read_text() == "d\n"


@requires_root
def test_two_services_have_their_own_volume_at_the_same_path(services):
    toml = '''
        [network]
        mode = "host"
        [volume.secret]
        path = "/run/{path}/secret"
        tmpfs = "1MiB"
        [app]
        command = ["/bin/sh", "-c", "echo $PILLION_SERVICE > /run/{path}/secret/file; while :; do cat /run/{path}/secret/file; sleep 0.05; done"]
        mounts = ["secret:rw"]
'''
    path = unique_name("shared")
    first, second = services(toml.format(path=path)), services(toml.format(path=path))
    first.start()
    second.start()
    first.stop()
    seen = second.log("app").count("\n")
    second.wait_for(lambda: second.log("app").count("\n") > seen + 3, what="the second app to go on")
    lines = {line.split(" ", 2)[2].split(" ", 1)[1] for line in second.log("app").splitlines()}
    assert lines == {second.name}
    second.stop()
    assert not Path("/run", path).exists()
