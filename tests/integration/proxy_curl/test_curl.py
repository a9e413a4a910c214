"""curl with each of its options that change what it says or expects on the wire, through the proxy."""
import gzip
import hashlib
import json
import subprocess

import pytest

from support.pillion_testing import HttpApp
from support.proxy_lab import ProxyLab, RawBackend, upstream
from support.tls_lab import Authority

BODY = bytes(range(256)) * 4096  # a megabyte
DIGEST = hashlib.sha256(BODY).hexdigest()


class Curl:
    def __init__(self, *arguments, stdin=b"", exit_code=0):
        write = "\n%{json}"
        done = subprocess.run(["curl", "-q", "-sS", "-m", "30", "-w", write, *map(str, arguments)], input=stdin, capture_output=True,
                              timeout=60, check=False)
        assert done.returncode == exit_code, (done.returncode, done.stderr, done.stdout[-500:])
        self.body, _, facts = done.stdout.rpartition(b"\n")
        self.facts = json.loads(facts)
        self.status, self.version = self.facts["response_code"], self.facts["http_version"]

    def json(self):
        return json.loads(self.body)


def digest_of(reply):
    told = reply.json()
    return told["sha256" if "sha256" in told else "body_sha256"]


@pytest.fixture(scope="module")
def app():
    with HttpApp() as one:
        yield one


@pytest.fixture(scope="module")
def proxy(app, tmp_path_factory):
    with ProxyLab(tmp_path_factory.mktemp("curl"), upstream(app.port)) as one:
        yield one


@pytest.fixture
def url(proxy, app):
    app.requests.clear()
    app.respond = None
    return lambda path="/echo": proxy.url(path=path)


@pytest.mark.parametrize("options, version", [
    (["--http1.0"], "1.1"), (["--http1.1"], "1.1"), (["--http2"], "1.1"), (["--http2-prior-knowledge"], "2"), ([], "1.1")])
def test_every_version_is_served(url, app, options, version):
    upload = ["--data-binary", "@-", "-X", "PUT"] if "--http1.0" in options else ["-T", "-"]  # 1.0 has no chunks
    for method in (["-d", "x=1"], ["--head"], ["-X", "DELETE"], upload, []):
        reply = Curl(*options, *method, url(), stdin=b"some")
        assert (reply.status, reply.version) == (200, version)
    assert [one[0] for one in app.requests] == ["POST", "HEAD", "DELETE", "PUT", "GET"]
    assert [one[3] for one in app.requests] == [3, 0, 0, 4, 0]


def test_http_0_9_is_refused(workspace):
    def serve(connection):
        connection.read_head()
        connection.send("just some text\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        assert Curl("--http0.9", proxy.url()).status == 502
        assert proxy.log()[0]["response_flags"] == "UPE"
        with proxy.client() as client:
            assert client.send("GET /\r\n\r\n").read_response()[0] == 400


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("how", [["-T", "-"], ["--data-binary", "@-"], ["-T", "-", "--expect100-timeout", "20"],
                                 ["-T", "-", "-H", "Expect:"], ["-T", "-", "-H", "Expect: 100-continue", "--limit-rate", "8M"]],
                         ids=lambda how: " ".join(how))
def test_uploads_arrive_whole(url, version, how):
    assert digest_of(Curl(version, *how, url(), stdin=BODY)) == DIGEST


@pytest.mark.parametrize("how", [["-T"], ["--expect100-timeout", "20", "-T"], ["-H", "Expect: 100-continue", "-T"]],
                         ids=lambda how: " ".join(how))
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
def test_files_arrive_whole(url, tmp_path, version, how):
    (tmp_path / "file").write_bytes(BODY)
    assert digest_of(Curl(version, *how, tmp_path / "file", url())) == DIGEST


def test_a_form_in_parts_arrives_whole(url, app):
    Curl("-F", "file=@-;filename=f", "-F", "word=value", url(), stdin=BODY)
    method, _, headers, length = app.requests[0]
    assert method == "POST" and headers["Content-Type"].startswith("multipart/form-data; boundary=") and length > len(BODY)


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0", "--http2-prior-knowledge"])
def test_downloads_arrive_whole(url, version):
    for path in ("/bytes/1000000", "/chunked/1000000"):
        assert len(Curl(version, url(path)).body) == 1000000
        assert len(Curl(version, "--limit-rate", "4M", "--no-buffer", url(path)).body) == 1000000
    assert Curl(version, "--head", url("/bytes/1000000")).facts["size_download"] == 0


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_compressed_bodies_are_left_alone(url, app, version):
    packed = gzip.compress(BODY)
    app.respond = lambda request: (200, {"Content-Encoding": "gzip", "ETag": '"e"'}, packed)
    assert Curl(version, "--compressed", url()).body == BODY
    assert "gzip" in {key.lower(): value for key, value in app.requests[-1][2].items()}["accept-encoding"]
    assert Curl(version, url()).body == packed
    assert Curl(version, "--raw", "--compressed", url()).body == packed


def test_transfer_codings_stay_on_their_hop(url, app):
    assert Curl("--tr-encoding", url()).status == 200
    assert "TE" not in app.requests[0][2]


def test_ranges_and_conditions_pass(url, app):
    app.respond = lambda request: (206, {"Content-Range": "bytes 3-5/10"}, request.headers["Range"].encode())
    assert Curl("-r", "3-5", url()).body == b"bytes=3-5"
    app.respond = lambda request: (304, {"ETag": '"e"'}, b"")
    assert Curl("-H", 'If-None-Match: "e"', url()).status == 304


def test_targets_are_not_normalised(workspace):
    seen = []

    def serve(connection):
        while True:
            seen.append(connection.read_head().split(" ")[1])
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    targets = ["/../a/./b", "/a%2Fb%00?q=%0d%0a", "//double//slash", "/?", "/a;b=c:@!$&'()*+,=~|{}^\\", "*"]
    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        for version in ("--http1.1", "--http1.0", "--http2-prior-knowledge"):
            for target in targets:
                Curl(version, "--path-as-is", "--request-target", target, "-X", "OPTIONS", proxy.url(path="/x"))
    assert seen == targets * 3


def test_it_is_a_proxy_for_plain_requests_but_makes_no_tunnel(proxy, url, app):
    via = ["-x", f"http://127.0.0.1:{proxy.ports['explicit']}"]
    reply = Curl(*via, "http://inner.test:81/echo?a")
    assert reply.status == 200 and app.requests[0][1] == "/echo?a" and app.requests[0][2]["Host"] == "inner.test:81"
    assert "Proxy-Connection" not in app.requests[0][2]
    assert Curl("--proxy1.0", f"127.0.0.1:{proxy.ports['explicit']}", "http://inner.test/echo").status == 200
    assert Curl(*via, "-p", "http://inner.test/echo", exit_code=56).facts["http_connect"] == 403
    assert Curl(*via, "https://inner.test/echo", exit_code=56).facts["http_connect"] == 403


def test_a_proxy_protocol_line_is_no_request(url):
    assert Curl("--haproxy-protocol", url()).status == 400


def transfers(*options, urls, write="%{num_connects} "):
    """What curl writes after each of several transfers of one run."""
    words = [word for url in urls for word in ("-o", "/dev/null", url)]
    done = subprocess.run(["curl", "-q", "-sS", "-m", "30", "-w", write, *options, *words], capture_output=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().split()


def test_connections_are_reused_and_closed_as_curl_asks(url):
    assert transfers(urls=[url()] * 5) == ["1", "0", "0", "0", "0"]
    assert transfers("--http1.0", urls=[url()] * 2) == ["1", "1"]
    assert transfers("--http1.0", "-H", "Connection: keep-alive", urls=[url()] * 3) == ["1", "0", "0"]
    assert transfers("-H", "Connection: close", urls=[url()] * 3) == ["1", "1", "1"]
    assert transfers("--no-keepalive", urls=[url()] * 2) == ["1", "0"]  # TCP's keepalive, not HTTP's


def test_many_transfers_at_once(url, tls):
    options = ["--parallel", "--parallel-max", "30"]
    write = "%{response_code}/%{http_version} "
    assert transfers("--http1.1", *options, urls=[url("/bytes/20000")] * 60, write=write) == ["200/1.1"] * 60
    # Not by prior knowledge: curl 7.88 loses its own connections then, whatever the server.
    assert transfers(*options, *tls.arguments[:-1], urls=[tls.arguments[-1]] * 60, write=write) == ["200/2"] * 60


def test_challenges_redirects_and_cookies_pass(url, app):
    def respond(request):
        if request.path == "/go":
            return 302, {"Location": "/there", "Set-Cookie": "a=1"}, b""
        if "Authorization" not in request.headers:
            return 401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'}, b"no"
        return 200, {}, (request.headers["Authorization"] + request.headers.get("Cookie", "")).encode()

    app.respond = respond
    reply = Curl("-L", "-b", "", "--anyauth", "-u", "user:word", "-d", "data", url("/go"))
    assert reply.status == 200 and reply.body.startswith(b"Digest username=") and reply.body.endswith(b"a=1")
    assert Curl("-u", "user:word", "--oauth2-bearer", "token", url()).body == b"Bearer token"


def test_early_hints_and_trailers_reach_curl(workspace):
    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                        "Trailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")

    with RawBackend(serve) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        for version in ("--http1.1", "--http2-prior-knowledge"):
            dump = subprocess.run(["curl", "-q", "-sS", version, "-D", "-", proxy.url()], capture_output=True, check=True, timeout=60)
            text = dump.stdout.decode().lower()
            heads, _, rest = text.partition("\r\n\r\nok")
            assert " 103" in heads and "link: </style.css>" in heads and "x-sum: 7" in rest, text


@pytest.fixture(scope="module")
def tls(app, tmp_path_factory):
    directory = tmp_path_factory.mktemp("curl-tls")
    authority = Authority(directory / "ca")
    identity = authority.issue("orders", uris=["spiffe://prod/orders"], dns=["orders.test"])

    class TlsLab(ProxyLab):
        def write(self, config):
            self.text = self.text.replace("[inbound]\n", '[inbound]\nmutual_tls = "strict"\n')
            super().write(config)

    with TlsLab(directory, identity.table(), app_port=app.port, explicit='upstream = ""') as one:
        port = one.ports["publish"]
        client = authority.issue("shop", uris=["spiffe://prod/shop"])
        one.arguments = [*client.curl(), "--resolve", f"orders.test:{port}:127.0.0.1", f"https://orders.test:{port}/echo"]
        yield one


@pytest.mark.parametrize("options, version", [
    ([], "2"), (["--http2"], "2"), (["--http1.1"], "1.1"), (["--no-alpn"], "1.1"), (["--http1.0"], "1.1"),
    (["--tlsv1.2", "--tls-max", "1.2"], "2"), (["--tlsv1.3"], "2"), (["--http2-prior-knowledge"], "2"),
    (["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"], "2"), (["--curves", "P-384"], "2"),
    (["--cert-status"], None), (["--tls-max", "1.1"], None), (["--tls-max", "1.2", "--ciphers", "AES128-SHA"], None)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_tls_options(tls, app, options, version):
    app.respond = None
    if version is None:
        done = subprocess.run(["curl", "-q", "-sS", *options, *tls.arguments], capture_output=True, check=False, timeout=60)
        assert done.returncode in (35, 56, 59, 91), done
        return
    reply = Curl(*options, *tls.arguments)
    assert (reply.status, reply.version) == (200, version)
