"""Services of one host call each other by name, whatever the modes, and however they come and go."""
import json
import os
import signal

import pytest

from support.pillion_testing import PYTHON, http_get, requires_root

pytestmark = requires_root

SERVICE = '''
        [service]
        name = "@name@"
        stop_grace = "10s"
        drain_delay = "0s"
        [network]
        mode = "MODE"
        publish = ["@port:@name@@:8080"]
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        readiness_probe = { http = { path = "/healthz" }, period = "200ms" }
        [sidecar.proxy]
        use = "proxy"
'''
# The address at the end of the answer to a query for a name of one label.
ASK = '''
import socket, sys
name = sys.argv[1].encode()
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(20)
client.connect(("127.0.0.1", 53))
client.send(b"\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0" + bytes([len(name)]) + name + b"\\0\\0\\1\\0\\1")
print(socket.inet_ntoa(client.recv(4096)[-4:]))
'''


@pytest.fixture
def host(services, workspace):
    """host(mode) makes a service; all of one test share a runtime directory, as on a machine."""
    shared = workspace / "run"
    shared.mkdir(mode=0o755)

    def make(mode, toml=SERVICE, uid=None):
        text = toml.replace("MODE", mode)
        if uid is not None:
            os.chown(shared, uid, uid)
        service = services(text, uid=uid)
        service.runtime_parent = service.env["PILLION_RUNTIME_DIR"] = shared
        return service

    return make


def call(caller, url):
    """What the caller's app got from its HTTP client."""
    reply = http_get(f"http://127.0.0.1:{caller.port(caller.name)}/call?url={url}")
    return reply.json()


def status_of(caller, url):
    return call(caller, url).get("status")


def wait_for_status(caller, url, status):
    return caller.wait_for(lambda: status_of(caller, url) == status, 20, f"{url} to give {status}")


@pytest.mark.parametrize("caller_mode", ["bridged", "sealed"])
@pytest.mark.parametrize("called_mode", ["bridged", "sealed"])
def test_a_service_is_called_by_its_name_and_the_port_of_its_app(host, caller_mode, called_mode):
    called = host(called_mode).start()
    caller = host(caller_mode).start()
    for name in (called.name, f"{called.name}.pillion.internal"):
        answer = call(caller, f"http://{name}:8080/identity")
        assert answer["status"] == 200, answer
        assert json.loads(answer["body"])["pid"] == called.child("app")["pid"]
    # The host's port will do, too, and both directions work.
    assert call(caller, f"http://{called.name}:{called.port(called.name)}/identity")["status"] == 200
    wait_for_status(called, f"http://{caller.name}:8080/identity", 200)


def test_a_service_that_starts_later_is_reached_without_a_restart(host):
    caller = host("sealed").start()
    before = {child["name"]: child["pid"] for child in caller.status()["children"]}
    called = host("bridged")
    assert status_of(caller, f"http://{called.name}:8080/identity") != 200
    called.start()
    wait_for_status(caller, f"http://{called.name}:8080/identity", 200)
    assert {child["name"]: child["pid"] for child in caller.status()["children"]} == before


@pytest.mark.parametrize("mode", ["bridged", "sealed"])
def test_a_stopped_service_is_refused_at_once_with_a_reason_and_is_back_when_it_starts_again(host, mode):
    caller = host(mode).start()
    called = host("sealed").start()
    url = f"http://{called.name}:8080/identity"
    wait_for_status(caller, url, 200)
    called.stop()
    refused = caller.wait_for(lambda: (answer := call(caller, url))["status"] == 503 and answer, 20, "a refusal")
    assert f'the service "{called.name}" is not running on this host' in refused["body"], refused
    caller.wait_for(lambda: '"service_not_running"' in caller.log("proxy"), 10, "the refusal in the access log")
    called.start()
    wait_for_status(caller, url, 200)


def test_another_port_than_the_published_ones_is_refused_with_their_list(host):
    called = host("bridged").start()
    caller = host("sealed").start()
    answer = call(caller, f"http://{called.name}:9999/")
    assert answer["status"] == 502 and f"does not publish port 9999; it publishes 8080, {called.port(called.name)}" in \
        answer["body"], answer


def test_who_refuses_unknown_destinations_calls_only_declared_upstreams_and_is_told_why(host):
    policy = '''
        [sidecar.proxy.config.outbound]
        unknown = "refuse"
'''
    called, other = host("bridged").start(), host("sealed").start()
    declared = f'''
        [sidecar.proxy.config.upstream.{called.name}]
        address = ["127.0.0.1:{called.port(called.name)}"]
'''
    strict = host("sealed", toml=SERVICE + policy + declared).start()
    wait_for_status(strict, f"http://{called.name}/identity", 200)
    refused = call(strict, f"http://{other.name}:8080/identity")
    assert refused["status"] == 403 and f'may not call the service "{other.name}"' in refused["body"], refused
    strict.wait_for(lambda: '"service_not_allowed"' in strict.log("proxy"), 10, "the refusal in the access log")


def test_plain_tcp_reaches_a_service_and_is_reset_when_it_stopped(host):
    tcp = SERVICE.replace('protocol = "http" }]', 'protocol = "tcp" }]')
    called = host("sealed", toml=tcp).start()
    caller = host("sealed").start()
    connect = f"import socket\ns = socket.create_connection(('{called.name}', 8080), 10)\n"

    def ask(script):
        return caller.command("exec", "--no-tty", caller.name, "app", "--", PYTHON, "-c", connect + script)

    script = "s.sendall(b'GET /identity HTTP/1.0\\r\\n\\r\\n')\nprint(s.recv(4096)[:15])"
    assert "200 OK" in caller.wait_for(lambda: ask(script).stdout, 20), ask(script).stderr
    called.stop()
    caller.wait_for(lambda: f"{called.name} 240." in read_neighbours(caller) and
                    " stopped" in read_neighbours(caller), 20, "the stop to be known")
    # A client that waits for the server's greeting, as that of a database does.
    caller.wait_for(lambda: "ConnectionResetError" in ask("s.recv(1)").stderr, 20, "a reset")


def read_neighbours(service):
    return (service.runtime_dir / "etc" / "neighbours").read_text()


def test_a_port_on_loopback_is_for_sealed_callers_and_bridged_ones_are_told_why_not(host):
    called = host("bridged", toml=SERVICE.replace('publish = ["', 'publish = ["127.0.0.1:')).start()
    sealed, bridged = host("sealed").start(), host("bridged").start()
    wait_for_status(sealed, f"http://{called.name}:8080/identity", 200)
    refused = call(bridged, f"http://{called.name}:8080/identity")
    assert refused["status"] == 503 and "on a loopback address of the host" in refused["body"], refused


def test_names_of_services_are_answered_by_the_dns_of_a_sealed_one_and_stand_in_its_hosts_file(host):
    called, caller = host("bridged").start(), host("sealed").start()
    found = caller.wait_for(lambda: caller.command("exec", "--no-tty", caller.name, "app", "--", "getent", "hosts",
                                                   called.name).stdout, 20, "the name in the hosts file")
    address = found.split()[0]
    assert address.startswith("240.240.")
    asked = caller.inside([PYTHON, "-c", ASK, called.name])
    assert asked.stdout.strip() == address, asked.stdout + asked.stderr


def test_a_restarted_supervisor_and_a_killed_proxy_still_know_the_other_services(host):
    called, caller = host("sealed").start(), host("bridged").start()
    url = f"http://{called.name}:8080/identity"
    wait_for_status(caller, url, 200)
    for service in (called, caller):
        os.kill(service.status()["supervisor_pid"], signal.SIGKILL)
        service.wait_ready()
    os.kill(caller.child("proxy")["pid"], signal.SIGKILL)
    wait_for_status(caller, url, 200)
    called.stop()
    wait_for_status(caller, url, 503)


def test_rootless_services_of_one_user_call_each_other(host):
    called, caller = host("sealed", uid=43210).start(), host("sealed", uid=43210).start()
    wait_for_status(caller, f"http://{called.name}:8080/identity", 200)
    called.stop()
    wait_for_status(caller, f"http://{called.name}:8080/identity", 503)
