"""External checks by HTTP/2 and over TLS: the same questions and verdicts as by HTTP/1.1 in plain text."""
import time

import pytest

from support.http2_lab import Http2Backend, Reply
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream
from support.tls_lab import Authority, TlsBackend

CHECK = '''
[upstream.waf]
address = ["127.0.0.1:PORT"]
hosts = ["*.waf.test", "waf.test"]
MORE
[rule.waf]
paths = ["/checked"]
check = { upstream = "waf", path = "/verdict?a=b", send_body = true, take_headers = ["X-User"], timeout = "20s" }
'''


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca").issue("waf", dns=["waf.test"])


def config_of(backend, protocol="http2", identity=None, name="waf.test"):
    tls = f'tls = {{ server_name = "{name}", ca_file = "{identity.bundle}" }}' if identity else ""
    return upstream(1) + CHECK.replace("PORT", str(backend.port)).replace("MORE", f'protocol = "{protocol}"\n{tls}')


def ask(lab, body=b"fine", extra=""):
    with lab.client("publish") as client:
        client.send(f"POST /checked HTTP/1.1\r\nHost: h.test\r\nX-Mixed-Case: Kept\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
                    f"{extra}Content-Length: {len(body)}\r\n\r\n")
        return client.send(body).read_response()


def verdict(request):
    if b"evil" in request.body:
        return Reply(403, (("content-type", "text/html"), ("x-inner", "1")), b"no!")
    return Reply(200, (("x-user", "ann"),), b"yes" * 1000, (("x-trailer", "1"),))


@pytest.mark.parametrize("with_tls", [False, True])
def test_a_check_by_http2_allows_and_denies(workspace, identity, with_tls):
    tls = identity.server_context(alpn=["h2"]) if with_tls else None
    with Http2Backend(verdict, tls=tls) as waf, RawBackend(answer()) as app:
        with ProxyLab(workspace, config_of(waf, identity=identity if with_tls else None), app_port=app.port) as lab:
            assert ask(lab)[0] == 200
            question = waf.requests[0]
            headers = dict(question.headers)
            assert (headers[":method"], headers[":path"], headers[":authority"]) == ("POST", "/verdict?a=b", "waf.test")
            assert headers[":scheme"] == ("https" if with_tls else "http")
            assert headers["x-mixed-case"] == "Kept" and headers["x-original-uri"] == "/checked"
            assert headers["x-original-method"] == "POST" and headers["content-length"] == "4"
            assert "connection" not in headers and "host" not in headers and question.body == b"fine"
            status, headers, body = ask(lab, b"evil")
            assert (status, body) == (403, b"no!") and headers["content-type"] == "text/html" and "x-inner" not in headers
            for _ in range(5):
                assert ask(lab)[0] == 200
            assert waf.connections == 1


def test_a_large_body_goes_to_the_check_as_its_windows_open(workspace):
    body = bytes(range(256)) * 12_000
    with Http2Backend(verdict) as waf, RawBackend(answer()) as app:
        # The app answers at the head; what matters is what the check saw.
        with ProxyLab(workspace, config_of(waf), app_port=app.port) as lab:
            assert ask(lab, body)[0] == 200
            assert waf.requests[0].body == body


def test_a_check_by_http1_over_tls_allows_and_a_wrong_name_denies(workspace, identity):
    heads = []

    def serve(connection):
        while True:
            heads.append(connection.read_head())
            connection.read_exactly(4)
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with TlsBackend(identity.server_context(), serve) as waf, RawBackend(answer()) as app:
        with ProxyLab(workspace, config_of(waf, "http", identity), app_port=app.port) as lab:
            assert ask(lab)[0] == 200 and heads[0].startswith("POST /verdict?a=b HTTP/1.1\r\nHost: waf.test\r\n")
        with ProxyLab(workspace, config_of(waf, "http", identity, "other.test"), app_port=app.port) as lab:
            status, _, body = ask(lab)
            assert status == 503 and b"TLS handshake failed" in body


@pytest.mark.parametrize("failure,reason", [
    ("refused", b"refused"), ("reset", b"reset the stream"), ("large", b"larger than 64 KiB"), ("tls", b"TLS handshake failed"),
    ("goaway", b""),
])
def test_a_check_by_http2_that_fails_denies(workspace, identity, failure, reason):
    replies = {"large": Reply(200, (), b"x" * 70_000), "tls": Reply()}
    asked = []

    def on_event(connection, event):
        if type(event).__name__ != "RequestReceived" or failure not in ("reset", "goaway"):
            return False
        asked.append(event)
        if failure == "reset":
            connection.reset_stream(event.stream_id)
            return True
        if len(asked) > 1:
            return False
        connection.close_connection(last_stream_id=0)  # not seen: asked again, by a new connection
        return True

    backend = Http2Backend(lambda request: replies.get(failure, Reply(200, (("x-user", "ann"),))), on_event=on_event)
    with backend as waf, RawBackend(answer()) as app:
        config = config_of(waf, identity=identity if failure == "tls" else None)
        if failure == "refused":
            config = config.replace(f":{waf.port}", ":1")  # where nobody listens
        with ProxyLab(workspace, config, app_port=app.port) as lab:
            begun = time.monotonic()
            status, _, body = ask(lab)
            if failure == "goaway":
                assert status == 200 and len(asked) == 2 and waf.connections == 2
            else:
                assert status == 503 and b"the check waf failed" in body and reason in body, body
            assert time.monotonic() - begun < 19  # not by its timeout
