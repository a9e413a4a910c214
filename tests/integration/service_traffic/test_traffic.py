"""Traffic through a whole service: capture, names, large bodies, errors that say what is wrong."""
import hashlib
import http.client
import json
import os

from support.pillion_testing import HttpApp, RawClient, http_get, http_request, requires_root, wait_until

SERVICE = '''
        [service]
        name = "@name@"
        [network]
        publish = ["@port:web@:8080"]
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [sidecar.proxy]
        use = "proxy"
'''


def access_log(service):
    """The proxy's access log: JSON objects among its output lines."""
    records = []
    for line in service.log("proxy").splitlines():
        text = line.split(" ", 3)[-1]
        if text.startswith("{"):
            record = json.loads(text)
            if "direction" in record:
                records.append(record)
    return records


def peak_memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


@requires_root
def test_inbound_and_outbound_go_through_the_proxy_exactly_once(services):
    """Also the redirect-loop test: the proxy's own call out must not be captured again."""
    with HttpApp("0.0.0.0") as upstream:
        service = services(SERVICE).start()
        web = f"http://127.0.0.1:{service.port('web')}"
        reply = http_get(f"{web}/echo", headers={"X-Request-ID": "abc-123"})
        assert reply.status == 200
        assert reply.headers["X-Request-ID"] == "abc-123"
        assert "pillion" in reply.headers["Via"]
        seen = {key.lower(): value for key, value in reply.json()["headers"].items()}
        assert seen["x-request-id"] == "abc-123" and "via" in seen

        url = f"http://host.pillion.internal:{upstream.port}/echo"
        called = http_get(f"{web}/call?url={url}").json()
        assert called["status"] == 200, called
        assert len(upstream.requests) == 1
        assert any(key.lower() == "via" for key in upstream.requests[0][2])
        records = service.wait_for(
            lambda: [r for r in access_log(service) if r["direction"] == "outbound"], 10,
            "an outbound access log record")
        assert len(records) == 1 and records[0]["status"] == 200
        identity = http_get(f"{web}/identity").json()
        assert identity["peer"] == "127.0.0.6"


@requires_root
def test_an_upstream_name_resolves_inside_and_is_routed_by_the_proxy(services):
    with HttpApp("0.0.0.0") as upstream:
        service = services(SERVICE + f'''
        [sidecar.proxy.config.upstream.payments]
        address = ["host.pillion.internal:{upstream.port}"]
        ''').start()
        web = f"http://127.0.0.1:{service.port('web')}"
        called = http_get(f"{web}/call?url=http://payments/charge").json()
        assert called["status"] == 404, called  # the fake knows no /charge, so it was asked
        assert upstream.requests[0][:2] == ("GET", "/charge")
        assert upstream.requests[0][2]["Host"] == "payments"


@requires_root
def test_a_refused_upstream_is_a_502_with_a_reason(services):
    service = services(SERVICE + '''
        [sidecar.proxy.config.upstream.nobody]
        address = ["127.0.0.1:1"]
    ''').start()
    web = f"http://127.0.0.1:{service.port('web')}"
    called = http_get(f"{web}/call?url=http://nobody/").json()
    assert called["status"] == 502, called
    assert "refused" in called["body"].lower()


@requires_root
def test_a_large_upload_passes_in_flat_memory(services):
    service = services(SERVICE).start()
    pid = service.child("proxy")["pid"]
    before = peak_memory_kib(pid)
    block, count = os.urandom(1 << 20), 50
    digest = hashlib.sha256()
    connection = http.client.HTTPConnection("127.0.0.1", service.port("web"), timeout=60)
    connection.putrequest("POST", "/echo")
    connection.putheader("Content-Length", str(count << 20))
    connection.endheaders()
    for _ in range(count):
        connection.send(block)
        digest.update(block)
    reply = json.loads(connection.getresponse().read())
    connection.close()
    assert reply["length"] == count << 20
    assert reply["sha256"] == digest.hexdigest()
    assert http_get(f"http://127.0.0.1:{service.port('web')}/chunked/52428800", timeout=60).body.count(b"x") == 52428800
    grown = peak_memory_kib(pid) - before
    assert grown < 8 * 1024, f"the proxy grew by {grown} KiB"


@requires_root
def test_a_header_beyond_the_limit_is_431_and_a_smuggled_request_400(services):
    service = services(SERVICE).start()
    with RawClient(service.port("web")) as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x" * 70000 + "\r\n\r\n")
        assert client.read_response()[0] == 431
        assert client.is_closed_by_peer()
    with RawClient(service.port("web")) as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.read_response()[0] == 400
        assert client.is_closed_by_peer()


@requires_root
def test_a_body_beyond_a_configured_limit_is_413(services):
    service = services(SERVICE + '''
        [sidecar.proxy.config.limits]
        body_size = "1KiB"
    ''').start()
    web = f"http://127.0.0.1:{service.port('web')}"
    assert http_request("POST", f"{web}/echo", body=b"x" * 1024).status == 200
    assert http_request("POST", f"{web}/echo", body=b"x" * 1025).status == 413


@requires_root
def test_every_health_and_admin_endpoint_answers(services):
    service = services(SERVICE).start()

    def ask(port, path, method="GET"):
        return service.inside(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method,
                               f"http://127.0.0.1:{port}{path}"]).stdout

    for path in ("/ready", "/server_info", "/stats/prometheus", "/clusters", "/config_dump"):
        assert ask(9901, path) == "200", path
    assert ask(15021, "/healthz/ready") == "200"
    assert ask(15090, "/stats/prometheus") == "200"
    assert ask(9901, "/healthcheck/fail", "POST") == "200"
    wait_until(lambda: ask(15021, "/healthz/ready") == "503", 10, "health to fail")
    assert ask(9901, "/healthcheck/ok", "POST") == "200"
    wait_until(lambda: ask(15021, "/healthz/ready") == "200", 10, "health to return")
