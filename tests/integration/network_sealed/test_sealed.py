"""A sealed service: nothing but lo inside, helpers outside, the proxy as the only way in and out.

`pillion run` works on the test's machine; the remote host is another namespace (support/remote_host.py).
"""
import http.client
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from support.leaks import processes_of
from support.network_lab import PROBE
from support.pillion_testing import PYTHON, http_get, requires_root
from support.remote_host import remote  # noqa: F401  (a fixture)

pytestmark = requires_root

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


def call(service, url):
    return http_get(f"http://127.0.0.1:{service.port('web')}/call?url={url}").json()


def outbound(service):
    lines = (line.split(" ", 3)[-1] for line in service.log("proxy").splitlines() if " stdout " in line)
    records = [json.loads(line) for line in lines if line.startswith("{")]
    return [record for record in records if record.get("direction") == "outbound"]


def broker_of(service):
    """The pid of the service's socket broker, or None."""
    for pid in processes_of(service.name):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == "pillion-broker":
                return pid
        except OSError:
            pass
    return None


def test_the_app_sees_only_lo_and_reaches_the_world_through_the_proxy(services, remote):
    service = services(SERVICE).start()
    links = json.loads(service.inside(["ip", "-j", "link"]).stdout)
    assert [link["ifname"] for link in links] == ["lo"]
    called = call(service, f"http://{remote.v4}/echo")
    assert called["status"] == 200, called
    assert any(key.lower() == "via" for key in json.loads(called["body"])["headers"])
    service.wait_for(lambda: [r for r in outbound(service) if r["upstream_address"] == f"{remote.v4}:80"], 10,
                     "an outbound record with the address that the app called")


def test_a_server_that_speaks_first_is_reached_over_ipv6(services, remote):
    service = services(SERVICE).start()
    result = service.inside([PYTHON, PROBE, "dial", remote.v6, "81"])
    assert json.loads(result.stdout)["local"] == f"[{remote.v6}]:81", result.stdout + result.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_published_port_is_reached_from_the_host_and_the_app_sees_the_proxy(services, host):
    service = services(SERVICE).start()
    reply = http_get(f"http://{host}:{service.port('web')}/identity")
    assert reply.status == 200 and reply.json()["peer"] == "127.0.0.6"


def test_the_true_client_address_of_a_remote_client_is_logged(services, remote):
    service = services(SERVICE).start()
    url = f"http://{remote.host4}:{service.port('web')}/identity"
    assert remote.run(["curl", "-sf", "-m", "10", url]).returncode == 0
    service.wait_for(lambda: f'"downstream_address":"{remote.v4}:' in service.log("proxy"), 10,
                     "the remote client's own address in the access log")


def test_udp_other_than_dns_is_refused_at_once_and_counted_by_destination(services):
    service = services(SERVICE).start()
    script = ("import socket,sys\ns=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET,"
              "socket.SOCK_DGRAM)\ns.settimeout(5)\ns.connect((sys.argv[1],123))\ns.send(b'x')\ns.recv(1)")
    for address in ("203.0.113.9", "2001:db8:ffff::9"):
        result = service.inside([PYTHON, "-c", script, address])
        assert "ConnectionRefusedError" in result.stderr, result.stderr
    rules = service.inside(["nft", "list", "table", "inet", "pillion"]).stdout
    assert "203.0.113.9 . 123" in rules and "2001:db8:ffff::9 . 123" in rules


def test_with_unknown_refused_only_upstreams_are_reached_and_http_is_told_why(services, remote):
    service = services(SERVICE + f'''
        [sidecar.proxy.config.outbound]
        unknown = "refuse"
        [sidecar.proxy.config.upstream.allowed]
        address = ["{remote.v4}:80"]
    ''').start()
    assert call(service, "http://allowed/echo")["status"] == 200
    refused = call(service, f"http://{remote.v4}/echo")
    assert refused["status"] == 502 and refused["body"], refused
    # Not HTTP: the connection ends, and nothing ever reached the remote server.
    dialled = service.inside([PYTHON, PROBE, "dial", remote.v6, "81"])
    assert remote.v6 not in dialled.stdout, dialled.stdout
    service.wait_for(lambda: any(r["response_code_details"] == "destination_not_allowed" for r in outbound(service)),
                     10, "the refusal in the access log")


def test_connections_go_on_while_the_broker_is_killed_again_and_again(services):
    # As plain TCP every client connection needs a socket of its own into the namespace.
    service = services(SERVICE.replace('protocol = "http" }]', 'protocol = "tcp" }]')).start()
    url = f"http://127.0.0.1:{service.port('web')}/identity"
    failures, answers, done = [], [], threading.Event()

    def ask():
        while not done.is_set():
            try:
                answers.append(http_get(url, headers={"Connection": "close"}).status)
            except OSError as error:
                failures.append(repr(error))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(5):
            old = service.wait_for(lambda: broker_of(service), 10, "a broker")
            os.kill(old, signal.SIGKILL)
            service.wait_for(lambda: broker_of(service) not in (None, old), 10, "the broker's successor")
    finally:
        # More than the proxy keeps in stock, so that the successors' sockets were used.
        service.wait_for(lambda: failures or len(answers) > 400, 60, "400 answers")
        done.set()
        asker.join()
    assert not failures and set(answers) == {200}, failures[:3]
    assert service.child("proxy")["restarts"] == 0


def test_a_broker_that_does_not_answer_is_a_503_that_says_so_and_comes_back(services):
    service = services(SERVICE).start()
    web = f"http://127.0.0.1:{service.port('web')}"
    broker = service.wait_for(lambda: broker_of(service), 10, "a broker")
    os.kill(broker, signal.SIGSTOP)
    try:
        # An app that closes without an answer uses its connection up, and with it one of the stock.
        replies = (http_get(f"{web}/close") for _ in range(300))
        reply = next((reply for reply in replies if reply.status == 503), None)
        assert reply is not None and b"socket broker does not answer" in reply.body
    finally:
        os.kill(broker, signal.SIGCONT)
    service.wait_for(lambda: http_get(f"{web}/identity").status == 200, 10, "the app to be reached again")


def test_a_killed_proxy_refuses_nobody(services):
    service = services(SERVICE).start()
    url = f"http://127.0.0.1:{service.port('web')}/identity"
    os.kill(service.child("proxy")["pid"], signal.SIGKILL)
    # The host socket is the keeper's: the connection waits for the successor.
    assert http_get(url, timeout=30).status == 200
    service.wait_for(lambda: (service.child("proxy") or {}).get("restarts") == 1, 20, "the proxy's second generation")
    assert http_get(url, timeout=30).status == 200


class Load:
    """Clients that ask all the time, each on a connection of its own; `answers` and `failures` say what they got."""

    def __init__(self, url, clients=4):
        self.url, self.answers, self.failures, self.done = url, [], [], threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(clients)]

    def ask(self):
        while not self.done.is_set():
            try:
                self.answers.append(http_get(self.url, headers={"Connection": "close"}).status)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("mode", ["sealed", "bridged"])
def test_a_proxy_that_is_replaced_under_load_fails_no_request(services, mode):
    service = services(SERVICE.replace('mode = "sealed"', f'mode = "{mode}"') + '''
        [sidecar.proxy.config.drain]
        minimum = "300ms"
    ''').start()
    with Load(f"http://127.0.0.1:{service.port('web')}/identity") as load:
        for generation in (2, 3):
            service.wait_for(lambda: len(load.answers) > 20 * generation, 30, "answers before")
            restarted = service.command("restart", "--wait", service.name, "proxy")
            assert restarted.returncode == 0, restarted.stdout + restarted.stderr
        before = len(load.answers)
        service.wait_for(lambda: len(load.answers) > before + 20, 30, "answers of the last proxy")
    # The host's socket stays with the keeper: connections wait for the successor, none is refused or cut.
    assert not load.failures and set(load.answers) == {200}, (load.failures[:3], set(load.answers))


def test_a_proxy_that_is_killed_under_load_refuses_nobody(services):
    service = services(SERVICE).start()
    with Load(f"http://127.0.0.1:{service.port('web')}/identity") as load:
        for restarts in (1, 2):
            service.wait_for(lambda: len(load.answers) > 20 * restarts, 30, "answers before")
            os.kill(service.child("proxy")["pid"], signal.SIGKILL)
            service.wait_for(lambda: (service.child("proxy") or {}).get("restarts") == restarts, 20, "the successor")
        before = len(load.answers)
        service.wait_for(lambda: len(load.answers) > before + 20, 30, "answers of the last proxy")
    # Only what was under way in the killed process is lost.
    assert not [failure for failure in load.failures if "Refused" in failure], load.failures[:3]
    assert len(load.failures) <= 2 * len(load.threads) and set(load.answers) == {200}


def test_the_broker_and_the_app_survive_a_killed_supervisor(services):
    service = services(SERVICE).start()
    before = service.child("app")["pid"]
    url = f"http://127.0.0.1:{service.port('web')}/identity"
    os.kill(service.status()["supervisor_pid"], signal.SIGKILL)
    service.wait_ready()
    assert service.child("app")["pid"] == before
    service.wait_for(lambda: broker_of(service), 10, "a broker")
    assert http_get(url).status == 200


def test_a_third_party_helper_runs_inside_and_leaves_through_the_proxy(services, remote):
    service = services(SERVICE + f'''
        [adapter.caller]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "9000"]
    ''').start()
    ask = ["curl", "-sf", "-m", "10", f"http://127.0.0.1:9000/call?url=http://{remote.v4}/echo"]
    reply = service.wait_for(lambda: service.inside(ask).stdout, 20, "the helper's answer")
    assert json.loads(reply)["status"] == 200, reply
    assert any(r["upstream_address"] == f"{remote.v4}:80" for r in service.wait_for(lambda: outbound(service), 10))
