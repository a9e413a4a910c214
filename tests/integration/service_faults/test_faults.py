"""Children killed with SIGKILL, one by one, in a running service of every kind of helper."""
import os
import signal

import pytest

from support.pillion_testing import http_get, requires_root, wait_until

SERVICE = '''
        [service]
        name = "@name@"
        [network]
        publish = ["@port:web@:8080"]
        [volume.logs]
        path = "/var/log/app"
        [volume.secrets]
        path = "/run/secrets"
        tmpfs = "1MiB"
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        mounts = ["logs", "secrets:ro"]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [adapter.logs]
        use = "logs"
        mounts = ["logs:ro"]
        [[adapter.logs.config.input]]
        file = "/var/log/app/app.log"
        [ambassador.vault]
        use = "secrets"
        mounts = ["secrets"]
        [[ambassador.vault.config.file]]
        path = "/run/secrets/password"
        source = "file"
        secret = "@dir@/password"
        [sidecar.proxy]
        use = "proxy"
'''


def kill_child(service, name):
    """SIGKILL to the child's main process; returns its status before."""
    before = service.child(name)
    handle = os.pidfd_open(before["pid"])
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
    return before


@requires_root
@pytest.mark.parametrize("victim", ["logs", "vault", "proxy", "app"])
def test_a_killed_child_comes_back_alone_and_the_service_serves_again(services, victim):
    service = services(SERVICE)
    (service.directory / "password").write_text("secret")
    (service.directory / "password").chmod(0o644)
    service.start()
    web = f"http://127.0.0.1:{service.port('web')}/echo"
    assert http_get(web).status == 200
    others = {name: service.child(name)["pid"] for name in ("logs", "vault", "proxy", "app") if name != victim}
    before = kill_child(service, victim)

    def is_back():
        child = service.child(victim)
        return child.get("pid") and child["generation"] == before["generation"] + 1 and child["state"] == "running"

    service.wait_for(is_back, 30, f"{victim} to run again")
    service.wait_ready()
    wait_until(lambda: http_get(web).status == 200, 20, "the service to answer")
    assert service.child(victim)["restarts"] == 1
    for name, pid in others.items():
        assert service.child(name).get("pid") == pid, f"{name} was restarted too"


@requires_root
def test_connections_wait_while_a_killed_proxy_is_replaced(services):
    """The listeners belong to the keeper: nobody is refused."""
    service = services(SERVICE)
    (service.directory / "password").write_text("secret")
    (service.directory / "password").chmod(0o644)
    service.start()
    web = f"http://127.0.0.1:{service.port('web')}/echo"
    for _ in range(3):
        before = kill_child(service, "proxy")
        assert http_get(web).status == 200  # connects at once, is answered by the successor
        service.wait_ready()
        assert service.child("proxy")["pid"] != before["pid"]
