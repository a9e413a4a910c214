"""`pillion doctor` on running services: well, with a helper down, with an init task that hangs, not running; and without a
network of its own.
"""
import json
import os
import signal

from support.pillion_testing import requires_root

SERVICE = '''
        [network]
        mode = "MODE"
        publish = ["@port:web@:8080"]
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        user = "10001:10001"
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [sidecar.proxy]
        use = "proxy"
        backoff = { base = "60s", max = "60s" }
'''


def examine(service, *options):
    """Exit code and findings."""
    result = service.command("doctor", service.name, "--json", *options)
    services = json.loads(result.stdout)["services"]
    assert [one["service"] for one in services] == [service.name]
    return result.returncode, services[0]["findings"]


def complaints(findings):
    """Name servers are the machine's business: it may have none that answers."""
    return [one for one in findings if one["verdict"] in ("problem", "warning") and one["check"] not in
            ("dns", "forwarding")]


@requires_root
def test_a_bridged_service_that_is_well(services):
    service = services(SERVICE.replace("MODE", "bridged"))
    service.start()
    _, findings = examine(service)
    assert complaints(findings) == []
    checks = {one["check"] for one in findings if one["verdict"] == "ok"}
    assert {"service", "children", "rules", "proxy-outbound", "proxy-inbound", "capture", "app"} <= checks
    assert any("the app listens on port 8080, as uid 10001" in one["found"] for one in findings)
    text = service.command("doctor", service.name).stdout
    assert text.startswith(service.name) and " checks: " in text


@requires_root
def test_a_sealed_service_that_is_well(services):
    service = services(SERVICE.replace("MODE", "sealed"))
    service.start()
    _, findings = examine(service)
    assert complaints(findings) == []
    assert {"capture", "proxy-outbound"} <= {one["check"] for one in findings if one["verdict"] == "ok"}


@requires_root
def test_a_proxy_that_is_down_is_named(services):
    service = services(SERVICE.replace("MODE", "bridged"))
    service.start()
    for _ in range(2):  # the first restart is immediate
        seen = service.child("proxy")
        handle = os.pidfd_open(seen["pid"])
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
        service.wait_for(lambda: service.child("proxy")["state"] == "backoff" or
                         service.child("proxy")["generation"] > seen["generation"] and
                         service.child("proxy")["state"] == "running", what="the proxy's next life")
    service.wait_for(lambda: service.child("proxy")["state"] == "backoff", what="the proxy to wait")
    code, findings = examine(service)
    problems = [one for one in findings if one["verdict"] == "problem" and one["check"] == "children"]
    assert code == 1
    assert problems[0]["found"].startswith("proxy is not ready")
    assert f"pillion why {service.name} proxy" in problems[0]["remedy"]


def test_a_service_that_shares_the_machines_network(services):
    service = services('''
        [network]
        mode = "host"
        intercept = { inbound = false, outbound = false }
        [app]
        command = ["/bin/sleep", "1000"]
    ''')
    service.start()
    code, findings = examine(service)
    assert code == 0
    assert any("shares this machine's network" in one["found"] for one in findings)


def test_an_init_task_that_does_not_finish(services):
    service = services('''
        [network]
        mode = "host"
        intercept = { inbound = false, outbound = false }
        [init.schema]
        command = ["/bin/sleep", "1000"]
        [app]
        command = ["/bin/sleep", "1000"]
    ''')
    service.start(wait=False)
    service.wait_for(lambda: (service.child("schema") or {}).get("pid"), what="the init task")
    _, findings = examine(service)
    init = [one for one in findings if one["check"] == "init"]
    assert init[0]["verdict"] == "warning"
    assert "the init task schema has not finished" in init[0]["found"]
    assert init[0]["remedy"] == f"pillion logs {service.name} schema"


def test_a_service_that_does_not_run(services):
    service = services('[app]\ncommand = ["/bin/true"]\n')
    code, findings = examine(service)
    assert code == 1
    assert [one["check"] for one in findings] == ["service"]
    assert findings[0]["remedy"] == f"pillion start {service.name}"
