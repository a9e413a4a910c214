"""Connections of TLS 1.3 after their handshake, with clients that others wrote: every cipher, new keys, large bodies
both ways, slow readers, and what breaks the rules."""
import hashlib
import os
import socket
import ssl
import subprocess
import threading

import pytest

from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, upstream
from support.tls_lab import Authority

BODY = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca").issue("orders", dns=["orders.test"])


def serve_bodies(connection):
    """Answers with the digest of what was sent, and with the body for /body."""
    while True:
        head = connection.read_head()
        length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
        sent = connection.read_exactly(int(length[0].split(":")[1])) if length else b""
        reply = BODY if " /body " in head else hashlib.sha256(sent).hexdigest().encode()
        connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(reply)}\r\n\r\n")
        connection.send(reply)


class TlsLab(ProxyLab):
    def write(self, config):
        table = '[inbound]\nmutual_tls = "strict"\nrequire_client_certificate = false\n'
        self.text = self.text.replace("[inbound]\n", table)
        super().write(config)


@pytest.fixture
def proxy(workspace, identity):
    with RawBackend(serve_bodies) as backend:
        with TlsLab(workspace, identity.table() + upstream(backend.port), app_port=backend.port) as lab:
            yield lab


def curl(proxy, identity, *arguments):
    done = subprocess.run(["curl", "-sS", "--max-time", "60", "--cacert", str(identity.bundle), "--resolve",
                           f"orders.test:{proxy.ports['publish']}:127.0.0.1", *arguments], capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def connect(proxy, identity):
    raw = socket.create_connection(("127.0.0.1", proxy.ports["publish"]), 30)
    return identity.client_context(with_certificate=False).wrap_socket(raw, server_hostname="orders.test")


def url(proxy, path="/"):
    return f"https://orders.test:{proxy.ports['publish']}{path}"


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_bodies_pass_both_ways_with_every_cipher(proxy, identity, workspace, suite):
    file = workspace / "body"
    file.write_bytes(BODY)
    options = ["--tls13-ciphers", suite, "--tlsv1.3"]
    assert curl(proxy, identity, *options, url(proxy, "/body")) == BODY
    digest = curl(proxy, identity, *options, "--data-binary", f"@{file}", "-H", "Expect:", url(proxy))
    assert digest.decode() == hashlib.sha256(BODY).hexdigest()


def test_version_1_2_goes_on_with_openssl(proxy, identity):
    assert curl(proxy, identity, "--tls-max", "1.2", url(proxy, "/body")) == BODY


def test_a_slow_reader_gets_every_byte(proxy, identity):
    tls = connect(proxy, identity)
    tls.sendall(b"GET /body HTTP/1.1\r\nHost: orders.test\r\nConnection: close\r\n\r\n")
    data = b""
    while chunk := tls.recv(100 if len(data) < 100_000 else 65536):  # three megabytes fit nowhere else meanwhile
        data += chunk
    assert data.endswith(BODY)


def test_requests_that_come_byte_by_byte_and_many_at_once_are_answered(proxy, identity):
    tls = connect(proxy, identity)
    request = b"GET / HTTP/1.1\r\nHost: orders.test\r\n\r\n"
    for byte in request:
        tls.sendall(bytes([byte]))
    tls.sendall(request * 50)
    data = b""
    while data.count(b"HTTP/1.1 200") < 51:
        data += tls.recv(65536)


class Client:
    """openssl s_client, whose lines K and k make new keys."""

    def __init__(self, proxy, identity):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.ports['publish']}", "-CAfile", str(identity.bundle),
             "-servername", "orders.test", "-tls1_3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = b""
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: b"Verify return code: 0" in self.output, what="the handshake")

    def _read(self):
        while data := self.process.stdout.read1(65536):
            self.output += data

    def say(self, text, expected, count):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()
        wait_until(lambda: self.output.count(expected) == count, what=f"{expected} {count} times\n{self.output[-2000:]}")

    def close(self):
        self.process.kill()
        self.process.wait()


def test_a_client_may_renew_its_keys_and_ask_for_new_ones(proxy, identity):
    client = Client(proxy, identity)
    try:
        request = "GET / HTTP/1.1\r\nHost: orders.test\r\n\r\n"
        client.say(request, b"HTTP/1.1 200", 1)
        for round_number, command in enumerate(["k\n", "K\n", "K\n", "k\n"], 1):
            client.say(command, b"KEYUPDATE", round_number)
            client.say(request, b"HTTP/1.1 200", round_number + 1)
    finally:
        client.close()


def test_a_session_is_resumed_and_serves_again(proxy, identity):
    context = identity.client_context(with_certificate=False)
    session = None
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", proxy.ports["publish"]), 30) as raw:
            with context.wrap_socket(raw, server_hostname="orders.test", session=session) as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: orders.test\r\n\r\n")
                assert tls.recv(65536).startswith(b"HTTP/1.1 200")
                assert tls.session_reused == (session is not None)
                session = tls.session


def test_bytes_that_are_no_record_are_told_and_end_the_connection(proxy, identity):
    raw = socket.create_connection(("127.0.0.1", proxy.ports["publish"]), 30)
    tls = identity.client_context(with_certificate=False).wrap_socket(raw, server_hostname="orders.test")
    tls.sendall(b"GET / HTTP/1.1\r\nHost: orders.test\r\n\r\n")
    assert tls.recv(65536).startswith(b"HTTP/1.1 200")
    plain = socket.socket(fileno=os.dup(tls.fileno()))
    plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError, match="(?i)bad.record.mac"):
        while tls.recv(65536):
            pass
    plain.close()


def test_a_body_cut_off_without_close_notify_is_no_whole_request(proxy, identity):
    raw = socket.create_connection(("127.0.0.1", proxy.ports["publish"]), 30)
    tls = identity.client_context(with_certificate=False).wrap_socket(raw, server_hostname="orders.test")
    # What the proxy still sends of its own, session tickets, would meet a closed socket and reset the connection.
    tls.sendall(b"GET / HTTP/1.1\r\nHost: orders.test\r\n\r\n")
    assert tls.recv(65536).startswith(b"HTTP/1.1 200")
    tls.sendall(b"POST / HTTP/1.1\r\nHost: orders.test\r\nContent-Length: 100\r\n\r\nhalf")
    tls.shutdown(socket.SHUT_RDWR)  # of the socket alone: TLS says nothing
    assert "DC" in proxy.log(2)[1]["response_flags"]
