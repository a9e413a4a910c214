"""What a user sees when a service cannot start as written."""
import os
import socket
import subprocess

import pytest

from support.pillion_testing import free_port, program, requires_root, run, wait_until


def test_a_second_run_is_refused_and_names_the_first(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
''')
    service.start()
    second = service.command("run", service.file)
    assert second.returncode == 71
    assert "is running already" in second.stderr
    assert str(service.process.pid) in second.stderr
    assert service.is_ready()


def test_a_missing_program_is_named_with_its_step(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/opt/missing/program"]
        restart = "never"
''')
    service.start(wait=False)
    assert service.process.wait() == 127
    assert 'cannot start app: exec("/opt/missing/program")' in service.output


def test_a_missing_working_directory_is_named(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/true"]
        working_directory = "/opt/x"
        restart = "never"
''')
    service.start(wait=False)
    assert service.process.wait() != 0
    assert 'cannot start app: chdir("/opt/x")' in service.output


def test_an_unknown_user_is_refused_before_anything_starts(services):
    service = services('''
        [app]
        command = ["/bin/true"]
        user = "no-such-user-here"
''')
    service.start(wait=False)
    assert service.process.wait() == 78
    assert "no-such-user-here" in service.output
    assert not service.runtime_dir.exists()


def test_an_app_that_dies_at_once_is_restarted_with_backoff(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "echo dying; exit 4"]
        backoff = { base = "100ms", max = "200ms" }
''')
    service.start(wait=False)
    child = service.wait_for(lambda: (found := service.child("app")) and found["restarts"] >= 3 and found,
                             what="three restarts")
    assert child["last_exit"]["code"] == 4
    assert service.process.is_running()
    assert service.log("app").count("dying") >= 3


def test_the_code_of_an_app_that_may_not_restart_is_the_services(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "exit 42"]
        restart = "never"
''')
    service.start(wait=False)
    assert service.process.wait() == 42


@requires_root
def test_a_taken_port_is_named_with_its_holder_and_nothing_is_left(services):
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = holder.getsockname()[1]
        service = services(f'''
        [network]
        publish = ["{port}:8080"]
        [app]
        command = ["/bin/sleep", "1000"]
        user = "nobody"
        ports = [{{ name = "http", port = 8080, protocol = "http" }}]
        [sidecar.proxy]
        use = "proxy"
''')
        service.start(wait=False)
        assert service.process.wait() == 71
        assert f":{port}" in service.output
        assert f"pid {os.getpid()}" in service.output


@requires_root
def test_without_privilege_the_message_says_what_to_do(services):
    service = services('''
        [app]
        command = ["/bin/sleep", "1000"]
''')
    service.directory.chmod(0o777)
    result = run_as_nobody(service, "run", service.file)
    assert result.returncode == 71
    assert "root" in result.stderr
    assert 'mode = "host"' in result.stderr


@requires_root
def test_host_mode_works_without_any_privilege(services):
    service = services('''
        [network]
        mode = "host"
        [volume.data]
        path = "@dir@/data"
        [app]
        command = ["/bin/sh", "-c", "id -u; echo x > @dir@/data/file; exit 5"]
        mounts = ["data"]
        restart = "never"
''')
    service.directory.chmod(0o777)
    result = run_as_nobody(service, "run", service.file)
    assert result.returncode == 5, result.stderr
    assert "65534" in service.log("app")
    assert (service.directory / "data" / "file").exists()


def run_as_nobody(service, *words):
    environment = {**os.environ, **{key: str(value) for key, value in service.env.items()}}
    return subprocess.run([program("pillion"), *map(str, words)], user="nobody", group="nogroup",
                          extra_groups=[], env=environment, capture_output=True, text=True, timeout=60)
