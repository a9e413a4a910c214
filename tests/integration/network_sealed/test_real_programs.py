"""Real clients and servers in sealed services: what people run, not what we wrote."""
import os
import shutil
import subprocess

import pytest

from support.pillion_testing import PYTHON, free_port, requires_root, run, wait_until
from support.remote_host import remote  # noqa: F401  (a fixture)

pytestmark = requires_root

CALLER = '''
        [service]
        name = "@name@"
        stop_grace = "10s"
        drain_delay = "0s"
        [network]
        mode = "sealed"
        [app]
        command = ["/bin/sleep", "infinity"]
        [sidecar.proxy]
        use = "proxy"
'''
NOBODY = 65534


def program_or_skip(name):
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def in_app(service, *words, check=0):
    result = service.command("exec", "--no-tty", service.name, "app", "--", *words)
    assert result.returncode == check, result.stdout + result.stderr
    return result.stdout


class RemoteServer:
    """A server program on the remote host, ended by handle."""

    def __init__(self, remote, argv, port, **options):
        # Only its network: the workspace lies below the machine's own /run.
        enter = ["nsenter", "-t", str(remote.pid), "-n", "--"]
        self.process = subprocess.Popen([*enter, *map(str, argv)], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, **options)
        self.remote, self.port = remote, port

    def __enter__(self):
        probe = f"import socket; socket.create_connection(('{self.remote.v4}', {self.port}), 5)"
        wait_until(lambda: run([PYTHON, "-c", probe]).returncode == 0, 30, "the remote server")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def test_curl_and_python_reach_the_world_over_both_families(services, remote):
    service = services(CALLER).start()
    assert '"pid"' in in_app(service, "curl", "-sS", "-m", "10", f"http://{remote.v4}/identity")
    script = f"import urllib.request; print(urllib.request.urlopen('http://{remote.v4}/healthz', timeout=10).status)"
    assert in_app(service, PYTHON, "-c", script) == "200\n"
    # Speaks first, over IPv6.
    script = f"import socket; print(len(socket.create_connection(('{remote.v6}', 81), 10).recv(9)))"
    assert in_app(service, PYTHON, "-c", script) == "9\n"


@pytest.mark.parametrize("port", [6379, 6399])
def test_redis_cli_talks_to_a_remote_redis(services, remote, port, workspace):
    server = program_or_skip("redis-server")
    client = program_or_skip("redis-cli")
    service = services(CALLER).start()
    with RemoteServer(remote, [server, "--port", port, "--bind", remote.v4, "--save", "", "--protected-mode", "no",
                               "--dir", workspace], port):
        ask = [client, "-h", remote.v4, "-p", str(port)]
        assert in_app(service, *ask, "SET", "key", "x" * 100_000) == "OK\n"
        assert in_app(service, *ask, "GET", "key") == "x" * 100_000 + "\n"
        # A pipeline, and a connection that is idle first.
        assert in_app(service, "sh", "-c", f"(sleep 0.5; echo INCR n; echo INCR n) | {' '.join(ask)}") == "1\n2\n"


def test_redis_is_served_from_a_sealed_service(services, workspace):
    server = program_or_skip("redis-server")
    client = program_or_skip("redis-cli")
    service = services(f'''
        [service]
        name = "@name@"
        stop_grace = "10s"
        drain_delay = "0s"
        [network]
        mode = "sealed"
        publish = ["@port:redis@:6379"]
        [app]
        command = ["{server}", "--port", "6379", "--save", "", "--protected-mode", "no", "--dir", "/tmp"]
        ports = [{{ name = "redis", port = 6379, protocol = "tcp" }}]
        startup_probe = {{ tcp = {{}}, period = "200ms", failure_threshold = 50 }}
        [sidecar.proxy]
        use = "proxy"
    ''').start()
    ask = [client, "-h", "127.0.0.1", "-p", str(service.port("redis"))]
    assert run([*ask, "SET", "key", "value"]).stdout == "OK\n"
    assert run([*ask, "GET", "key"]).stdout == "value\n"


def test_psql_talks_to_a_remote_postgresql(services, remote, workspace):
    initdb, postgres, psql = (program_or_skip(name) for name in ("initdb", "postgres", "psql"))
    data = workspace / "data"
    data.mkdir()
    os.chown(data, NOBODY, NOBODY)
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    run([*as_nobody, initdb, "-D", data, "-U", "tester", "--auth=trust", "--no-sync"], check=0, cwd=data)
    with open(data / "pg_hba.conf", "a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    port = free_port()
    service = services(CALLER).start()
    argv = [*as_nobody, postgres, "-D", data, "-h", remote.v4, "-p", port, "-k", data, "-c", "fsync=off"]
    with RemoteServer(remote, argv, port, cwd=data):
        ask = [psql, "-h", remote.v4, "-p", str(port), "-U", "tester", "-d", "postgres", "-At", "-c"]
        assert in_app(service, *ask, "select 6 * 7") == "42\n"
        assert len(in_app(service, *ask, "select repeat('x', 1000000)")) == 1_000_001


def test_getaddrinfo_finds_ipv4_addresses_with_addrconfig_too(services, remote):
    service = services(CALLER + f'''
        [sidecar.proxy.config.upstream.backend]
        address = ["{remote.v4}:80"]
        hosts = ["backend.example"]
    ''').start()
    assert "240.240.0.1" in in_app(service, "getent", "ahostsv4", "backend.example")
    script = ("import socket; print(socket.getaddrinfo('backend.example', 80, socket.AF_INET, socket.SOCK_STREAM, 0, "
              "socket.AI_ADDRCONFIG)[0][4][0])")
    assert in_app(service, PYTHON, "-c", script) == "240.240.0.1\n"
