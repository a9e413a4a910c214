"""A sealed service of an ordinary user: everything in a user namespace, nothing on the machine needs root.

The tests are root, to be able to become a user that has nothing; `pillion run` is that user.
"""
import json
import os
import random
import signal
import subprocess

import pytest

from support.leaks import processes_of
from support.network_lab import PROBE
from support.pillion_testing import PYTHON, http_get, program, requires_root, run
from support.remote_host import remote  # noqa: F401  (a fixture)

UID = random.randrange(40000, 60000)
SERVICE = '''
        [service]
        name = "@name@"
        stop_grace = "10s"
        drain_delay = "0s"
        [network]
        mode = "sealed"
        publish = ["@port:web@:8080"]
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [sidecar.proxy]
        use = "proxy"
'''


def can_make_user_namespace():
    words = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "unshare", "-U", "-n", "true"]
    return subprocess.run(words, capture_output=True).returncode == 0


pytestmark = [requires_root, pytest.mark.skipif(
    os.geteuid() == 0 and not can_make_user_namespace(), reason="this machine forbids unprivileged user namespaces")]


def in_app(service, *argv):
    """Runs a command beside the app, as the service's user."""
    return service.command("exec", "--no-tty", service.name, "app", "--", *argv)


def test_the_app_of_an_ordinary_user_sees_only_lo_and_reaches_the_world_through_the_proxy(services, remote):
    service = services(SERVICE, uid=UID).start()
    links = json.loads(in_app(service, "ip", "-j", "link").stdout)
    assert [link["ifname"] for link in links] == ["lo"]
    called = http_get(f"http://127.0.0.1:{service.port('web')}/call?url=http://{remote.v4}/echo").json()
    assert called["status"] == 200, called
    assert any(key.lower() == "via" for key in json.loads(called["body"])["headers"])
    dialled = in_app(service, PYTHON, PROBE, "dial", remote.v6, "81")
    assert json.loads(dialled.stdout)["local"] == f"[{remote.v6}]:81", dialled.stdout + dialled.stderr


def test_the_app_keeps_its_user_and_has_no_capability_even_in_its_user_namespace(services):
    service = services(SERVICE, uid=UID).start()
    for child in ("app", "proxy"):
        pid = service.child(child)["pid"]
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
        assert set(status["Uid"].split()) == {str(UID)}
        assert all(int(status[key], 16) == 0 for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
        assert status["NoNewPrivs"].strip() == "1"
    assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino  # the proxy is outside


def test_the_app_has_a_view_of_its_own_as_with_root(services):
    service = services(SERVICE, uid=UID).start()
    refused = in_app(service, "touch", "/etc/pillion-test")
    assert "Read-only file system" in refused.stderr
    assert in_app(service, "sh", "-c", "echo x > /tmp/pillion-test-rootless").returncode == 0
    assert not os.path.exists("/tmp/pillion-test-rootless")
    assert "use mode" not in service.output
    assert "nameserver 127.0.0.1" in in_app(service, "cat", "/etc/resolv.conf").stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_published_port_is_reached_from_the_host_and_the_app_sees_the_proxy(services, host):
    service = services(SERVICE, uid=UID).start()
    reply = http_get(f"http://{host}:{service.port('web')}/identity")
    assert reply.status == 200 and reply.json()["peer"] == "127.0.0.6" and reply.json()["uid"] == UID


def test_an_upstream_is_called_by_its_name_and_other_udp_is_refused_at_once(services, remote):
    service = services(SERVICE + f'''
        [sidecar.proxy.config.upstream.backend]
        address = ["{remote.v4}:80"]
        hosts = ["backend.example"]
    ''', uid=UID).start()
    reply = in_app(service, "curl", "-sS", "-m", "10", "http://backend.example/identity")
    assert json.loads(reply.stdout)["pid"], reply.stderr
    script = ("import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.settimeout(5)\n"
              "s.connect(('203.0.113.9',123))\ns.send(b'x')\ns.recv(1)")
    assert "ConnectionRefusedError" in in_app(service, PYTHON, "-c", script).stderr


def test_it_survives_a_killed_supervisor_broker_and_proxy(services):
    service = services(SERVICE, uid=UID).start()
    url = f"http://127.0.0.1:{service.port('web')}/identity"
    before = service.child("app")["pid"]
    os.kill(service.status()["supervisor_pid"], signal.SIGKILL)
    service.wait_ready()
    for name in ("pillion-broker", "pillion-proxy"):
        victim = service.wait_for(lambda: next(
            (pid for pid in processes_of(service.name) if open(f"/proc/{pid}/comm").read().strip() == name), None))
        os.kill(victim, signal.SIGKILL)
        assert http_get(url, timeout=30).status == 200
    assert service.child("app")["pid"] == before
    # As ever: what is captured after the supervisor's restart is what was before.
    service.wait_for(lambda: (service.child("proxy") or {}).get("restarts") == 1, 20, "the proxy's second generation")
    assert json.loads(in_app(service, "ip", "-j", "link").stdout)[0]["ifname"] == "lo"


def test_root_may_ask_and_stop_the_service_of_a_user(services):
    service = services(SERVICE, uid=UID).start()
    environment = {"PILLION_RUNTIME_DIR": service.runtime_parent}
    shown = run(["pillion", "status", service.name, "--json"], env=environment, check=0)
    assert json.loads(shown.stdout)["ready"]
    run(["pillion", "stop", service.name], env=environment, check=0)
    service.process.wait()


def test_another_user_is_refused(services):
    service = services(SERVICE, uid=UID).start()
    words = ["setpriv", f"--reuid={UID + 1}", f"--regid={UID + 1}", "--clear-groups", program("pillion"), "status",
             service.name]
    assert run(words, env={"PILLION_RUNTIME_DIR": service.runtime_parent}).returncode != 0


def test_a_port_below_1024_is_refused_with_what_to_do(services):
    service = services(SERVICE.replace("@port:web@", "81"), uid=UID).start(wait=False)
    if int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read()) <= 81:
        pytest.skip("this machine lets every user listen on port 81")
    assert service.process.wait() == 71
    assert "cannot listen on [::]:81: Permission denied; without root publish a port from 1024 on" in service.output
    assert "net.ipv4.ip_unprivileged_port_start" in service.output


def test_without_user_namespaces_the_setting_and_what_to_do_are_named(services):
    """In a user namespace of the test's own, in which no further one may be made."""
    service = services(SERVICE, uid=UID)
    holder = subprocess.Popen(["unshare", "-U", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        for name in ("gid_map", "uid_map"):
            with open(f"/proc/{holder.pid}/{name}", "w") as file:
                file.write("0 0 100000")
        enter = ["nsenter", "-t", str(holder.pid), "-U", "-S", "0", "-G", "0"]
        run([*enter, "sh", "-c", "echo 0 > /proc/sys/user/max_user_namespaces"], check=0)
        refused = run([*enter, *service.identity, program("pillion"), "run", service.file], env=service.env)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert refused.returncode == 71
    assert refused.stderr == (
        'pillion: mode = "sealed" without root needs a user namespace: cannot make a user namespace: No space left on '
        "device: user.max_user_namespaces = 0 forbids it; as root: sysctl -w user.max_user_namespaces=10000. Or start "
        'it as root, or set mode = "host" in [network]\n')
