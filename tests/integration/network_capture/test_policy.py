"""How a running service captures: what `status` says about it, and what happens while the proxy is down."""
import json
import os
import signal

import pytest

from support.net_probe import __file__ as PROBE
from support.network_lab import Listener
from support.pillion_testing import PYTHON, http_get, requires_root

pytestmark = requires_root

APP = 10001
SERVICE = '''
        [network]
        publish = ["@port:web@:8080"]
        [network.intercept]
        when_proxy_down = "POLICY"
        backend = "BACKEND"
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        user = "10001:10001"
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [sidecar.proxy]
        use = "proxy"
        backoff = { base = "60s", max = "60s" }
'''


def kill(pid):
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)


def take_the_proxy_down(service):
    """The first restart is immediate; after the second death the supervisor waits."""
    first = service.child("proxy")
    kill(first["pid"])
    service.wait_for(lambda: (service.child("proxy") or {}).get("generation", 0) > first["generation"]
                     and service.child("proxy")["state"] == "running", what="the proxy's next generation")
    kill(service.child("proxy")["pid"])
    service.wait_for(lambda: service.child("proxy")["state"] == "backoff", what="the proxy to wait")


def dial(service, address, port, timeout):
    """As the app's user, inside."""
    result = service.inside([PYTHON, PROBE, "dial", "--uid", str(APP), "--timeout", str(timeout), address, str(port)])
    return json.loads(result.stdout)


def gateway(service):
    return json.loads((service.runtime_dir / "network.json").read_text())["gateway4"]


def start(services, policy="closed", backend="auto"):
    service = services(SERVICE.replace("POLICY", policy).replace("BACKEND", backend))
    service.start()
    return service


def test_status_says_how_and_why(services):
    service = start(services)
    network = service.status()["network"]
    assert "captured by nftables, inbound by tproxy (the kernel has it and the listener is transparent)" in network
    assert network.startswith("bridged 10.213.")
    assert network.endswith("while the proxy is down: closed")
    assert f"network: {network}" in service.command("status", service.name).stdout


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_a_call_to_the_services_own_address_goes_through_the_proxy(services, backend):
    """From the host, to the app's port: captured by TPROXY (nftables) or REDIRECT (iptables)."""
    service = start(services, backend=backend)
    facts = json.loads((service.runtime_dir / "network.json").read_text())
    reply = http_get(f"http://{facts['address4']}:8080/echo")
    assert reply.status == 200
    headers = {name.lower() for name in reply.json()["headers"]}
    assert "x-request-id" in headers, f"it went past the proxy: {headers}"


def test_a_service_runs_with_iptables(services):
    service = start(services, backend="iptables")
    assert "captured by iptables, inbound by redirect" in service.status()["network"]
    with Listener([PYTHON, PROBE, "listen", f"0.0.0.0:{service.port('outside')}"]):
        reply = dial(service, gateway(service), service.port("outside"), 10)
    assert reply["port"] == service.port("outside")


@pytest.mark.parametrize(("policy", "goes_past"), [("closed", False), ("open", True)])
def test_while_the_proxy_waits_to_be_restarted(services, policy, goes_past):
    service = start(services, policy)
    port = service.port("outside")
    with Listener([PYTHON, PROBE, "listen", f"0.0.0.0:{port}"]):
        assert dial(service, gateway(service), port, 10)["port"] == port  # by the proxy
        take_the_proxy_down(service)
        if not goes_past:
            assert dial(service, gateway(service), port, 1) == {"error": "timeout"}
            return
        service.wait_for(lambda: "connections go past it" in service.status()["network"], what="the lifted capture")
        assert dial(service, gateway(service), port, 10)["port"] == port
