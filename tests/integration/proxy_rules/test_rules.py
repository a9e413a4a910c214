"""Rules about requests: who may do what, decisions on bodies that are held, external checks, and what the app is told
of its client."""
import collections
import socket
import subprocess
import threading

import pytest

from support.http2_lab import Http2Backend, Http2Client, Reply
from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream

MIB = 1 << 20


def recorder(requests):
    """Notes (head, body) of each request with a Content-Length, or chunked, and answers 200."""
    def serve(connection):
        while True:
            head = connection.read_head()
            body, lower = b"", head.lower()
            if "content-length:" in lower:
                body = connection.read_exactly(int(lower.split("content-length:")[1].split("\r\n")[0]))
            elif "chunked" in lower:
                while (size := int(connection.read_until(b"\r\n"), 16)) > 0:
                    body += connection.read_exactly(size)
                    connection.read_until(b"\r\n")
                connection.read_until(b"\r\n")
            requests.append((head, body))
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return serve


def post(body, path="/", extra="", kind="application/json"):
    return (f"POST {path} HTTP/1.1\r\nHost: h.test\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
            ).encode() + (body if isinstance(body, bytes) else body.encode())


Answer = collections.namedtuple("Answer", "status headers body")


def read(client):
    return Answer(*client.read_response())


def ask(lab, data, listener="publish"):
    with lab.client(listener) as client:
        return read(client.send(data))


def curl_http2(url, body, directory):
    """The status of a POST by HTTP/2."""
    path = directory / "body"
    path.write_bytes(body)
    command = ["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", f"@{path}"]
    return subprocess.run([*command, "-m", "30", url], capture_output=True, text=True, timeout=60).stdout


DENY_ADMINS = '''
[rule.no-admins]
paths = ["/api/*"]
json_pointer = "/user/role"
json_matches = "^admin$"
action = "deny"
status = 422
[rule.tenant]
paths = ["/tenants"]
body_matches = "tenant=([a-z]+)"
set_headers = { X-Tenant = "$1" }
'''


def test_a_value_in_a_json_body_decides(workspace):
    requests = []
    with RawBackend(recorder(requests)) as app, ProxyLab(workspace, DENY_ADMINS + upstream(1), app_port=app.port) as lab:
        denied = ask(lab, post('{"user": {"role": "admin"}}', "/api/users"))
        assert denied.status == 422 and b"the rule no-admins denies it (RF)" in denied.body
        assert ask(lab, post('{"user": {"role": "guest"}}', "/api/users")).status == 200
        assert ask(lab, post('{"user": {"role": "admin"}}', "/other")).status == 200
        assert ask(lab, post('{"user": {"role": "guest", "role": "admin"}}', "/api/users")).status == 400
        assert ask(lab, post('{"user"', "/api/users")).status == 400
        assert ask(lab, post(b"\x1f\x8b", "/api/users", "Content-Encoding: gzip\r\n")).status == 415
        assert ask(lab, post("{}", "/x/%2e%2e/api/%2fusers")).status == 400
        assert [body for _, body in requests] == [b'{"user": {"role": "guest"}}', b'{"user": {"role": "admin"}}']
        records = lab.log(7)
        assert [record["status"] for record in records] == [422, 200, 200, 400, 400, 415, 400]
        assert records[0]["response_code_details"] == "denied_by_rule" and records[0]["bytes_received"] == 27


def test_what_matched_becomes_a_header_that_the_client_cannot_set(workspace):
    requests = []
    with RawBackend(recorder(requests)) as app, ProxyLab(workspace, DENY_ADMINS + upstream(1), app_port=app.port) as lab:
        assert ask(lab, post("a=1&tenant=acme", "/tenants", "x-tenant: evil\r\n", "text/plain")).status == 200
        assert ask(lab, post("a=1", "/tenants", "x-tenant: own\r\n", "text/plain")).status == 200
        first, second = (head for head, _ in requests)
        assert "X-Tenant: acme\r\n" in first and "evil" not in first
        assert "x-tenant: own\r\n" in second  # the rule did not match


@pytest.mark.parametrize("downstream", ["http1", "http1-chunked", "http2"])
@pytest.mark.parametrize("upstream_version", ["http", "http2"])
def test_a_body_of_megabytes_is_held_and_then_passed_on_whole(workspace, downstream, upstream_version):
    body = bytes(range(256)) * (3 * MIB // 256)
    seen = []

    def serve(request):
        seen.append(bytes(request.body))
        return Reply(200, body=b"ok")

    requests = []
    backend = RawBackend(recorder(requests)) if upstream_version == "http" else Http2Backend(serve)
    rule = '[rule.all]\nside = "outbound"\nbody_larger_than = "1MiB"\nset_headers = { X-Big = "yes" }\n'
    config = upstream(backend.port, f'protocol = "{upstream_version}"') + rule
    with backend, ProxyLab(workspace, config) as lab:
        if downstream == "http2":
            assert curl_http2(lab.url(), body, workspace) == "200"
        elif downstream == "http1":
            assert ask(lab, post(body), "explicit").status == 200
        else:
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[at:at + 70000]), body[at:at + 70000])
                              for at in range(0, len(body), 70000))
            head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert ask(lab, head + chunks + b"0\r\n\r\n", "explicit").status == 200
        if upstream_version == "http":
            head, received = requests[0]
            assert received == body and "X-Big: yes" in head and f"Content-Length: {len(body)}" in head
        else:
            assert seen == [body]


def test_a_body_above_the_cap_is_413_at_once(workspace):
    rule = '[limits]\ninspected_body_size = "1MiB"\n[rule.all]\nbody_matches = "x"\naction = "deny"\n'
    requests = []
    with RawBackend(recorder(requests)) as app, ProxyLab(workspace, upstream(1) + rule, app_port=app.port) as lab:
        # By Content-Length: before any of the body, and no 100 comes before it.
        head = f"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {MIB + 1}\r\n\r\n".encode()
        assert ask(lab, head).status == 413
        # Chunked: as soon as it is too much, though the client would go on.
        with lab.client("publish") as client:
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"10000\r\n" + b"a" * 65536 + b"\r\n").send((b"10000\r\n" + b"a" * 65536 + b"\r\n") * 16)
            assert read(client).status == 413
        declared = [("content-length", str(MIB + 1))]
        client = Http2Client(lab.ports["publish"])
        assert client.wait(client.open("POST", "/", declared, end=False)).status == 413
        assert ask(lab, post(b"a" * MIB)).status == 200
        assert len(requests) == 1
        assert {record["response_flags"] for record in lab.log(4)} == {"LE", ""}


def test_who_waits_for_100_continue_is_asked_for_the_body_by_us(workspace):
    requests = []
    with RawBackend(recorder(requests)) as app, ProxyLab(workspace, DENY_ADMINS + upstream(1), app_port=app.port) as lab, \
            lab.client("publish") as client:
        client.send(b"POST /api/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 Continue")
        assert read(client.send(b"{}")).status == 200
        assert "expect" not in requests[0][0].lower()


def test_memory_of_held_bodies_is_given_back(workspace):
    rule = '[rule.all]\nbody_matches = "nothing"\naction = "deny"\n'
    requests = []
    with RawBackend(recorder(requests)) as app, ProxyLab(workspace, upstream(1) + rule, app_port=app.port) as lab:
        before = lab.memory_kib()
        for _ in range(20):
            assert ask(lab, post(b"a" * (2 * MIB))).status == 200
        assert lab.has_grown_less(before, kib=24 * 1024)
        assert all(len(body) == 2 * MIB for _, body in requests)


def test_peers_methods_and_paths_are_authorized_and_the_connection_lives_on(workspace):
    rules = '''
[rule.health]
paths = ["/healthz"]
methods = ["GET", "HEAD"]
action = "allow"
[rule.nobody]
action = "deny"
'''
    requests = []
    with RawBackend(recorder(requests)) as app, ProxyLab(workspace, upstream(1) + rules, app_port=app.port) as lab, \
            lab.client("publish") as client:
        client.send(b"GET /secret HTTP/1.1\r\nHost: h\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read(client).status == 403
        assert read(client).status == 200
        assert read(client.send(b"DELETE /healthz HTTP/1.1\r\nHost: h\r\n\r\n")).status == 403
        assert read(client.send(b"GET //healthz/ HTTP/1.1\r\nHost: h\r\n\r\n")).status == 200
        assert len(requests) == 2
        assert Http2Client(lab.ports["publish"]).request("GET", "/secret").status == 403
        grpc = Http2Client(lab.ports["publish"]).request("POST", "/s/m", [("content-type", "application/grpc")], body=b"")
        assert grpc.status == 200 and grpc.headers["grpc-status"] == "7"


def test_a_rule_routes_to_an_upstream(workspace):
    rule = ('[rule.beta]\nside = "outbound"\njson_pointer = "/beta"\nupstream = "beta"\n'
            '[rule.in]\npaths = ["/beta"]\nupstream = "beta"\n')
    with RawBackend(recorder([])) as old, RawBackend(recorder([])) as beta:
        config = upstream(old.port) + f'[upstream.beta]\naddress = ["127.0.0.1:{beta.port}"]\n' + rule
        with ProxyLab(workspace, config, app_port=old.port) as lab:
            assert ask(lab, post('{"beta": true}'), "explicit").status == 200
            assert ask(lab, post('{"alpha": true}'), "explicit").status == 200
            assert ask(lab, post("{}", "/beta")).status == 200
            assert [record["upstream"] for record in lab.log(3)] == ["beta", "b", "beta"]


class Checker:
    """An external check: notes the questions, answers what `verdict(head, body)` says."""

    def __init__(self, verdict):
        self.questions = []
        self.verdict = verdict
        self.backend = RawBackend(self.serve)

    def serve(self, connection):
        while True:
            head = connection.read_head()
            body = connection.read_exactly(int(head.lower().split("content-length:")[1].split("\r\n")[0]))
            self.questions.append((head, body))
            connection.send(self.verdict(head, body))


CHECK = '''
[upstream.waf]
address = ["127.0.0.1:PORT"]
[rule.waf]
paths = ["/checked/*"]
check = { upstream = "waf", path = "/verdict", send_body = true, take_headers = ["X-User"], timeout = "2s" }
'''


def test_an_external_check_allows_with_headers_and_denies_with_its_answer(workspace):
    def verdict(head, body):
        if b"evil" in body:
            return ("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Type: text/html\r\nX-Inner: 1\r\n"
                    "Content-Length: 3\r\n\r\nno!")
        return "HTTP/1.1 200 OK\r\nX-User: ann\r\nX-Other: no\r\nContent-Length: 0\r\n\r\n"

    requests, checker = [], Checker(verdict)
    with RawBackend(recorder(requests)) as app, checker.backend:
        config = upstream(1) + CHECK.replace("PORT", str(checker.backend.port))
        with ProxyLab(workspace, config, app_port=app.port) as lab:
            good = ask(lab, post("fine", "/checked/a?q=1", "X-User: root\r\nCookie: c=1\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"))
            assert good.status == 200
            head, body = requests[0]
            assert body == b"fine" and "X-User: ann\r\n" in head and "root" not in head and "X-Other" not in head
            question, question_body = checker.questions[0]
            assert question.startswith("POST /verdict HTTP/1.1\r\nHost: waf\r\n") and question_body == b"fine"
            for line in ("X-Original-Method: POST", "X-Original-URI: /checked/a?q=1", "X-Original-Host: h.test",
                         "Cookie: c=1", "X-Forwarded-For: 127.0.0.1"):
                assert line + "\r\n" in question
            bad = ask(lab, post("evil", "/checked/a"))
            assert bad.status == 401 and bad.body == b"no!" and bad.headers["www-authenticate"] == "Basic"
            assert bad.headers["content-type"] == "text/html" and "x-inner" not in bad.headers
            two = Http2Client(lab.ports["publish"])
            assert two.request("POST", "/checked/b", body=b"fine").status == 200
            denied = two.request("POST", "/checked/b", body=b"evil")
            assert denied.status == 401 and denied.body == b"no!"
            assert ask(lab, post("evil", "/unchecked")).status == 200
            assert len(checker.questions) == 4 and len(checker.backend.peers) == 1  # one connection for all
            assert lab.log(2)[1]["response_code_details"] == "denied_by_check"


@pytest.mark.parametrize("failure", ["refused", "500", "silent", "malformed"])
@pytest.mark.parametrize("is_open", [False, True])
def test_a_check_that_fails_denies_unless_it_may_not(workspace, failure, is_open):
    def serve(connection):
        connection.read_head()
        if failure == "silent":
            connection.read_until(b"never")
        connection.send("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n" if failure == "500" else "what?\r\n\r\n")

    requests = []
    with RawBackend(recorder(requests)) as app, RawBackend(serve) as waf:
        if failure == "refused":
            waf.close()
        config = CHECK.replace("PORT", str(waf.port)).replace('"2s"', '"300ms"')
        if is_open:
            config = config.replace("send_body = true", "send_body = false, allow_on_failure = true")
        with ProxyLab(workspace, upstream(1) + config, app_port=app.port) as lab:
            reply = ask(lab, post("fine", "/checked/a", "X-User: root\r\n"))
            if is_open:
                assert reply.status == 200 and requests[0][1] == b"fine" and "root" not in requests[0][0]
            else:
                assert reply.status == 503 and b"the check waf failed" in reply.body and not requests


def test_a_client_that_leaves_while_it_is_checked_costs_nothing(workspace):
    asked, gone = threading.Event(), threading.Event()

    def serve(connection):
        connection.read_head()
        asked.set()
        try:
            connection.read_until(b"never")
        finally:
            gone.set()

    with RawBackend(serve) as waf, RawBackend(answer()) as app:
        with ProxyLab(workspace, upstream(1) + CHECK.replace("PORT", str(waf.port)).replace("2s", "60s"),
                      app_port=app.port) as lab:
            with lab.client("publish") as client:
                client.send(post("fine", "/checked/a"))
                assert asked.wait(10)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            assert gone.wait(10)
            assert lab.log(1)[0]["response_flags"] == "DC"


# ---- What the app is told of its client


def forwarded(requests):
    lines = requests[-1][0].split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
            if name.lower().startswith(("x-forwarded", "forwarded", "x-real-ip"))}


CLAIMS = ("X-Forwarded-For: 6.6.6.6, 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 6.6.6.6\r\n"
          "Forwarded: for=6.6.6.6, for=9.9.9.9\r\nX-Forwarded-Client-Cert: Hash=0\r\nX-Forwarded-Port: 1\r\n")


@pytest.mark.parametrize("more,expected", [
    ("", {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "h.test"}),
    ('forwarded = "strip"', {}),
    ('forwarded = "pass"', {"x-forwarded-for": "6.6.6.6, 9.9.9.9", "x-forwarded-proto": "https", "x-forwarded-host": "evil",
                            "x-real-ip": "6.6.6.6", "forwarded": "for=6.6.6.6, for=9.9.9.9", "x-forwarded-port": "1"}),
    ("trusted_hops = 1", {"x-forwarded-for": "9.9.9.9, 127.0.0.1", "x-forwarded-proto": "https", "x-forwarded-host": "evil",
                          "x-real-ip": "6.6.6.6", "x-forwarded-port": "1",
                          "forwarded": 'for=9.9.9.9, for=127.0.0.1;proto=http;host="h.test"'}),
    ('trusted_hops = 1\ntrusted_proxies = ["10.0.0.0/8"]',
     {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "h.test"}),
])
@pytest.mark.parametrize("version", [1, 2])
def test_the_client_is_named_by_us_or_by_proxies_that_are_trusted(workspace, more, expected, version):
    class Lab(ProxyLab):
        def write(self, config):
            self.text = self.text.replace("[inbound]\n", f"[inbound]\n{more}\n")
            super().write(config)

    requests = []
    with RawBackend(recorder(requests)) as app, Lab(workspace, upstream(1), app_port=app.port) as lab:
        if version == 1:
            assert ask(lab, f"GET / HTTP/1.1\r\nHost: h.test\r\n{CLAIMS}\r\n".encode()).status == 200
        else:
            fields = [tuple(line.lower().split(": ", 1)) for line in CLAIMS.strip().split("\r\n")]
            assert Http2Client(lab.ports["publish"]).request("GET", "/", fields).status == 200
        seen = forwarded(requests)
        assert seen == expected
        # What the app itself says on its way out is its own business.
    requests.clear()


def test_what_the_app_says_of_its_client_leaves_as_it_is(workspace):
    requests = []
    with RawBackend(recorder(requests)) as backend, ProxyLab(workspace, upstream(backend.port)) as lab:
        assert ask(lab, f"GET / HTTP/1.1\r\nHost: h.test\r\n{CLAIMS}\r\n".encode(), "explicit").status == 200
        assert forwarded(requests)["x-forwarded-for"] == "6.6.6.6, 9.9.9.9"


def test_a_bad_rule_stops_the_start_and_a_reload_keeps_the_old_ones(workspace):
    with RawBackend(answer()) as app:
        with ProxyLab(workspace, upstream(1) + '[rule.a]\naction = "deny"\n', app_port=app.port) as lab:
            assert ask(lab, post("x")).status == 403
            lab.write(upstream(1) + '[rule.a]\nbody_matches = "("\naction = "deny"\n')
            lab.program.signal(1)
            wait_until(lambda: "the regular expression" in lab.program.output, what="the refusal")
            assert "rule a" in lab.program.output
            assert ask(lab, post("x")).status == 403
            lab.write(upstream(1) + '[rule.a]\nbody_matches = "y"\naction = "deny"\n')
            lab.program.signal(1)
            wait_until(lambda: ask(lab, post("x")).status == 200, what="the new rules")
