"""Requests that two parsers could read differently are refused and the connection is closed; nothing of them
reaches the upstream."""
import pytest

from support.proxy_lab import ProxyLab, RawBackend, upstream

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    heads = []

    def serve(connection):
        while True:
            heads.append(connection.read_head())
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with RawBackend(serve) as backend, ProxyLab(tmp_path_factory.mktemp("strict"), upstream(backend.port)) as proxy:
        proxy.heads = heads
        yield proxy


def post(*fields, body=""):
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n{body}"


CASES = {
    "TE and CL": (400, post("Transfer-Encoding: chunked", "Content-Length: 4", body="0\r\n\r\n")),
    "CL and TE": (400, post("Content-Length: 4", "Transfer-Encoding: chunked", body="0\r\n\r\n")),
    "TE twice": (400, post("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body="0\r\n\r\n")),
    "TE with a comma first": (400, post("Transfer-Encoding: ,chunked", body="0\r\n\r\n")),
    "TE with a parameter": (400, post("Transfer-Encoding: chunked;x", body="0\r\n\r\n")),
    "TE not last": (400, post("Transfer-Encoding: chunked, gzip", body="0\r\n\r\n")),
    "TE unknown": (501, post("Transfer-Encoding: gzip, chunked", body="0\r\n\r\n")),
    "TE with a vertical tab": (400, post("Transfer-Encoding: \x0bchunked", body="0\r\n\r\n")),
    "TE with space before the colon": (400, post("Transfer-Encoding : chunked", body="0\r\n\r\n")),
    "TE folded": (400, post("Transfer-Encoding:\r\n chunked", body="0\r\n\r\n")),
    "TE after a bare LF": (400, post("X: y\nTransfer-Encoding: chunked", body="0\r\n\r\n")),
    "TE after a bare CR": (400, post("X: y\rTransfer-Encoding: chunked", body="0\r\n\r\n")),
    "TE in 1.0": (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "CL differing": (400, post("Content-Length: 3", "Content-Length: 4", body="abcd")),
    "CL list": (400, post("Content-Length: 3, 3", body="abc")),
    "CL signed": (400, post("Content-Length: +3", body="abc")),
    "CL negative": (400, post("Content-Length: -3", body="abc")),
    "CL hexadecimal": (400, post("Content-Length: 0x3", body="abc")),
    "CL with underscore": (400, post("Content-Length: 1_0", body="abc")),
    "CL empty": (400, post("Content-Length:", body="abc")),
    "CL overflowing": (400, post("Content-Length: 18446744073709551619", body="abc")),
    "NUL in a field": (400, post("X: a\0b")),
    "no Host": (400, "GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "bad Host": (400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "bare LF lines": (400, "GET / HTTP/1.1\nHost: h\n\n"),
    "empty field name": (400, post(": x")),
    "leading whitespace": (400, "GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    "https target": (400, "GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    "fragment": (400, "GET /#a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "HTTP/2 version": (505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    "chunk size 0x": (400, post("Transfer-Encoding: chunked", body="0x3\r\nabc\r\n0\r\n\r\n")),
    "chunk size +": (400, post("Transfer-Encoding: chunked", body="+3\r\nabc\r\n0\r\n\r\n")),
    "chunk with LF": (400, post("Transfer-Encoding: chunked", body="3\nabc\r\n0\r\n\r\n")),
    "chunk too long": (400, post("Transfer-Encoding: chunked", body="3\r\nabcd\r\n0\r\n\r\n")),
    "chunk size overflow": (400, post("Transfer-Encoding: chunked", body="fffffffffffffffff\r\n")),
    "too many fields": (431, post(*["X: y"] * 101)),
    "too large": (431, post("X: " + "y" * 62000)),
    "long target": (414, "GET /" + "a" * 62000 + " HTTP/1.1\r\nHost: h\r\n\r\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_and_nothing_after_it_is_parsed(lab, name):
    status, request = CASES[name]
    with lab.client() as client:
        client.send(request.encode("latin-1") + SMUGGLED.encode())
        got, headers, _ = client.read_response()
        assert got == status
        assert headers["connection"] == "close"
        assert client.read_to_end() == b""
    assert not any("smuggled" in head for head in lab.heads)


def test_a_chunked_body_that_breaks_midway_never_completes_upstream(tmp_path):
    completed = []

    def serve(connection):
        connection.read_head()
        data = connection.read_until(b"0\r\n\r\n")
        completed.append(data)

    with RawBackend(serve) as backend, ProxyLab(tmp_path, upstream(backend.port)) as proxy:
        with proxy.client() as client:
            client.send(post("Transfer-Encoding: chunked", body="3\r\nabc\r\n"))
            client.send("zz\r\n0\r\n\r\n" + SMUGGLED)
            assert client.read_response()[0] == 400
        assert not completed
        assert proxy.log()[0]["response_flags"] == "DPE"


@pytest.mark.parametrize("reply", [
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "-ERR not http\r\n",
])
def test_an_ambiguous_response_is_a_502(tmp_path, reply):
    def serve(connection):
        connection.read_head()
        connection.send(reply)
        connection.socket.recv(1)

    with RawBackend(serve) as backend, ProxyLab(tmp_path, upstream(backend.port)) as proxy:
        status, headers, body = proxy.client().send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response()
        assert status == 502 and b"(UPE)" in body and "http_protocol_error" in headers["proxy-status"]


def test_bytes_after_a_response_do_not_poison_the_next(tmp_path):
    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        connection.socket.recv(1)

    with RawBackend(serve) as backend, ProxyLab(tmp_path, upstream(backend.port)) as proxy:
        client = proxy.client()
        for _ in range(2):
            assert client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response()[2] == b"ok"
        assert len(backend.peers) == 2


def test_a_body_limit_is_a_413(tmp_path):
    def serve(connection):
        connection.read_until(b"0\r\n\r\n")  # never comes

    with RawBackend(serve) as backend, \
            ProxyLab(tmp_path, upstream(backend.port) + '[limits]\nbody_size = "1KiB"\n') as proxy:
        assert proxy.client().send(post("Content-Length: 2000")).read_response()[0] == 413
        chunk = "400\r\n" + "x" * 1024 + "\r\n"
        client = proxy.client().send(post("Transfer-Encoding: chunked", body=chunk)).send(chunk)
        assert client.read_response()[0] == 413


def test_a_loop_of_the_proxy_through_itself_is_508(tmp_path):
    with ProxyLab(tmp_path, upstream("@explicit@")) as proxy:
        status, _, body = proxy.client().send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response()
        assert status == 508 and b"(LOOP)" in body
