"""pillion-probe, by hand against real servers: what counts as well, which redirects are followed, what bounds it."""
import http.server
import socket
import threading
import time

import pytest

from support.pillion_testing import run
from support.tls_lab import Authority

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed")
health_app = pytest.importorskip("support.health_app")


PATIENT = ["--timeout", "20000"]


class Pages(http.server.BaseHTTPRequestHandler):
    """/status/N, /to?URL (302), /loop/N (N redirects, then 200), /header, /endless."""

    seen = []

    def do_GET(self):
        self.seen.append((self.path, dict(self.headers)))
        verb, _, rest = self.path[1:].replace("?", "/", 1).partition("/")
        if verb == "status":
            return self.answer(int(rest))
        if verb == "to":
            return self.answer(302, rest)
        if verb == "loop":
            return self.answer(200) if rest == "0" else self.answer(307, f"/loop/{int(rest) - 1}")
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            pass

    def answer(self, status, location=None):
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(name="pages")
def serve_pages():
    Pages.seen.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def probe(*words, **options):
    result = run(["pillion-probe", *words], **options)
    return result.returncode, result.stdout.strip()


@pytest.mark.parametrize("status, code", [(200, 0), (204, 0), (304, 0), (399, 0), (400, 1), (404, 1), (500, 1), (503, 1)])
def test_200_to_399_are_well(pages, status, code):
    assert probe("http", *PATIENT, f"{pages}/status/{status}") == (code, f"HTTP {status}")


def test_a_redirect_to_the_same_host_is_followed_to_its_end(pages):
    assert probe("http", *PATIENT, f"{pages}/to?/status/200") == (0, "HTTP 200")
    assert probe("http", *PATIENT, f"{pages}/to?/status/503") == (1, "HTTP 503")
    assert probe("http", *PATIENT, f"{pages}/to?{pages}/status/404") == (1, "HTTP 404")
    assert probe("http", *PATIENT, f"{pages}/loop/10") == (0, "HTTP 200")
    assert probe("http", *PATIENT, f"{pages}/loop/11") == (1, "more than 10 redirects")


def test_a_redirect_to_another_host_is_a_success_with_a_warning(pages):
    code, text = probe("http", *PATIENT, f"{pages}/to?http://login.example.org/x")
    assert (code, text) == (0, "HTTP 302, warning: a redirect to another host is not followed: "
                               "http://login.example.org/x")


def test_headers_are_sent_and_the_environments_proxy_is_not_used(pages):
    code, _ = probe("http", *PATIENT, "--header", "Host: shop.example.org", "--header", "X-Probe: a b", f"{pages}/status/200",
                    env={"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"})
    assert code == 0
    headers = Pages.seen[-1][1]
    assert (headers["Host"], headers["X-Probe"]) == ("shop.example.org", "a b")
    assert (headers["User-Agent"], headers["Connection"]) == ("pillion-probe", "close")


def test_a_body_without_end_is_not_read(pages):
    assert probe("http", *PATIENT, f"{pages}/endless") == (0, "HTTP 200")


def test_a_certificate_that_nobody_signed_is_accepted(workspace):
    identity = Authority(workspace / "ca").issue("orders")
    server = health_app.serve_https(0, identity.certificate, identity.key)
    url = f"https://127.0.0.1:{server.server_port}/health"
    assert probe("http", "--header", "X-Probe: yes", *PATIENT, url) == (0, "HTTP 200")
    assert probe("http", *PATIENT, url) == (1, "HTTP 503")
    server.shutdown()


def test_who_does_not_answer_fails_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for words in (["http", f"http://127.0.0.1:{port}/"], ["grpc", f"127.0.0.1:{port}"]):
            began = time.monotonic()
            code, text = probe(*words, "--timeout", "300")
            assert code == 1 and "timed out" in text.lower(), text
            assert time.monotonic() - began < 20
    code, text = probe("http", f"http://127.0.0.1:{port}/")
    assert code == 1 and "connect" in text.lower()


@pytest.fixture(name="health")
def serve_health():
    server, port = health_app.serve_grpc(0)
    yield f"127.0.0.1:{port}"
    health_app.set_well(True)
    server.stop(0).wait()


def test_grpc_health_says_how_the_server_and_a_service_of_it_are(health):
    def check(*words):
        return probe("grpc", *PATIENT, *words, health)
    assert check() == (0, "SERVING")
    assert check("--service", "orders") == (0, "SERVING")
    assert check("--service", "nobody") == (1, 'the server knows no service "nobody"')
    health_app.set_well(False)
    assert check() == (1, "NOT_SERVING")


class Nothing(grpc.GenericRpcHandler):
    def service(self, details):
        return None


def test_a_grpc_server_without_health_and_a_server_without_grpc_are_told(pages):
    server, port = health_app.serve_grpc(0, Nothing())
    assert probe("grpc", *PATIENT, f"127.0.0.1:{port}") == (
        1, "the server does not implement grpc.health.v1.Health")
    server.stop(0).wait()
    code, text = probe("grpc", *PATIENT, pages.removeprefix("http://"))
    assert code == 1 and text


def test_wrong_words_are_refused():
    for words in ([], ["http"], ["ftp", "x"], ["grpc", "--header", "a: b", "x:1"], ["http", "--timeout", "x", "http://a/"]):
        assert probe(*words)[0] == 64
    assert probe("http", "http://") == (2, '"http://" is not a URL')
