"""TLS that is not terminated goes to the upstream that its ClientHello names, exactly or by a pattern."""
import socket
import ssl

import pytest

from support.proxy_lab import ProxyLab, RawBackend, answer
from support.tls_lab import Authority

ALERT_DECODE_ERROR = b"\x15\x03\x03\x00\x02\x02\x32"
ALERT_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"


class TlsBackend(RawBackend):
    """Says its name, the protocol agreed on, and back what it reads."""

    def __init__(self, identity, name):
        self.context = identity.server_context(alpn=["echo/1", "h2"])
        self.name = name
        super().__init__(None)

    def _run(self, connection):
        try:
            with self.context.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(f"{self.name} {tls.selected_alpn_protocol()}\n".encode())
                while data := tls.recv(65536):
                    tls.sendall(data)
        except OSError:
            pass


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca").issue("x", dns=["a.test", "b.test", "c.test", "d.test", "*.wide.test", "exact.wide.test"])


@pytest.fixture
def backends(identity):
    with TlsBackend(identity, "a") as a, TlsBackend(identity, "b") as b:
        yield a, b


def config_of(a, b):
    return (f'[upstream.a]\naddress = ["127.0.0.1:{a.port}"]\nhosts = ["a.test"]\nprotocol = "tls"\n'
            f'[upstream.b]\naddress = ["127.0.0.1:{b.port}"]\nhosts = ["B.test"]\nprotocol = "tcp"\n'
            f'[upstream.web]\naddress = ["127.0.0.1:{a.port}"]\nhosts = ["c.test"]\n')


def lab_of(workspace, backends, fallback=""):
    return ProxyLab(workspace, config_of(*backends), explicit=f'fallback = "{fallback}"', explicit_protocol="tls")


def greet(port, identity, name, alpn=None):
    context = ssl.create_default_context(cafile=str(identity.bundle))
    context.check_hostname = name is not None
    if alpn:
        context.set_alpn_protocols(alpn)
    with socket.create_connection(("127.0.0.1", port), 20) as raw, context.wrap_socket(raw, server_hostname=name) as tls:
        tls.sendall(b"x" * 100_000)
        reader = tls.makefile("rb")
        line = reader.readline().decode().strip()
        assert reader.read(100_000) == b"x" * 100_000
        return line


def hello_of(name):
    """The bytes of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_the_name_leads_to_its_upstream_and_alpn_is_theirs(workspace, backends, identity):
    with lab_of(workspace, backends) as lab:
        assert greet(lab.ports["explicit"], identity, "a.test", ["h2", "echo/1"]) == "a echo/1"
        assert greet(lab.ports["explicit"], identity, "b.test") == "b None"
        records = lab.log(2)
        assert [record["upstream"] for record in records] == ["a", "b"]
        assert {record["protocol"] for record in records} == {"tcp"} and records[0]["bytes_sent"] > 100_000


@pytest.mark.parametrize("name", ["unknown.test", None, "c.test"])
def test_a_name_that_leads_nowhere_gets_an_alert_or_the_fallback(workspace, backends, identity, name):
    # c.test belongs to an upstream that is HTTP: TLS cannot be passed on to it.
    with lab_of(workspace, backends) as lab:
        with lab.client() as client:
            assert client.send(hello_of(name)).read_to_end() == ALERT_UNRECOGNIZED_NAME
        record = lab.log(1)[0]
        assert record["response_flags"] == "NR" and record["response_code_details"] == "no_upstream_for_server_name"
    with lab_of(workspace, backends, fallback="b") as lab:
        assert greet(lab.ports["explicit"], identity, "d.test" if name == "unknown.test" else name and "d.test") == "b None"


def test_a_hello_in_many_segments_and_records_is_waited_for(workspace, backends, identity):
    hello = hello_of("a.test")
    body = hello[5:]
    pieces = [b"\x16\x03\x01" + len(body[at:at + 40]).to_bytes(2, "big") + body[at:at + 40] for at in range(0, len(body), 40)]
    for stream in (hello, b"".join(pieces)):
        with lab_of(workspace, backends) as lab, lab.client() as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in stream:
                client.send(bytes([byte]))
            reply = client.read_exactly(5)
            assert reply[0] == 0x16 and reply[1] == 3  # a ServerHello, though OpenSSL may refuse such pieces later


@pytest.mark.parametrize("data,details", [
    (b"\x16\x03\x01\x00\x05\x01\x00\x80\x00\x00", "client_hello_refused"),     # announces 32 KiB
    (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "client_hello_refused"),     # no hello
    (b"\x16\x03\x01\xff\xff", "client_hello_refused"),
])
def test_a_bad_hello_gets_an_alert(workspace, backends, data, details):
    with lab_of(workspace, backends, fallback="a") as lab:
        with lab.client() as client:
            assert client.send(data).read_to_end() == ALERT_DECODE_ERROR
        assert lab.log(1)[0]["response_code_details"] == details


def test_what_is_no_tls_is_closed(workspace, backends):
    with lab_of(workspace, backends, fallback="a") as lab:
        with lab.client() as client:
            assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").is_closed_by_peer()
        assert lab.log(1)[0]["response_code_details"] == "not_tls"


def test_a_client_that_says_nothing_is_closed_after_the_handshakes_time(workspace, backends):
    lab = ProxyLab(workspace, config_of(*backends) + '[timeouts]\ntls_handshake = "1s"\n', explicit='fallback = "a"',
                   explicit_protocol="tls")
    hello = hello_of("a.test")
    with lab, lab.client() as client:
        client.send(hello[:20])
        assert client.is_closed_by_peer()
        assert lab.log(1)[0]["response_code_details"] == "client_hello_timeout"


def test_a_listener_with_an_upstream_does_not_ask_for_a_name(workspace, backends, identity):
    with ProxyLab(workspace, config_of(*backends), explicit='upstream = "a"', explicit_protocol="tls") as lab:
        assert greet(lab.ports["explicit"], identity, "b.test") == "a None"


def test_detection_finds_names_before_the_fallback(workspace, backends, identity):
    lab = ProxyLab(workspace, config_of(*backends), explicit='fallback = "b"', explicit_protocol="auto")
    with lab:
        assert greet(lab.ports["explicit"], identity, "a.test") == "a None"
        assert greet(lab.ports["explicit"], identity, "d.test") == "b None"
        assert sum(lab.metric("pillion_proxy_detected_tcp_total").values()) == 2


def test_a_host_names_the_fallback_for_http(workspace):
    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with RawBackend(serve) as known, RawBackend(serve) as other:
        config = (f'[upstream.known]\naddress = ["127.0.0.1:{known.port}"]\n'
                  f'[upstream.other]\naddress = ["127.0.0.1:{other.port}"]\n')
        with ProxyLab(workspace, config, explicit='fallback = "other"') as lab:
            for host in ("known", "unknown"):
                with lab.client() as client:
                    assert client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").read_response()[0] == 200
            assert [record["upstream"] for record in lab.log(2)] == ["known", "other"]


def test_a_pattern_takes_the_names_below_it_that_no_longer_name_takes(workspace, backends, identity):
    a, b = backends
    config = (f'[upstream.a]\naddress = ["127.0.0.1:{a.port}"]\nhosts = ["*.wide.test", "*"]\nprotocol = "tls"\n'
              f'[upstream.b]\naddress = ["127.0.0.1:{b.port}"]\nhosts = ["exact.wide.test", "*.b.test"]\nprotocol = "tls"\n')
    with ProxyLab(workspace, config, explicit='fallback = "b"', explicit_protocol="tls") as lab:
        port = lab.ports["explicit"]
        assert greet(port, identity, "x.wide.test") == "a None"
        assert greet(port, identity, "exact.wide.test") == "b None"
        assert greet(port, identity, "d.test") == "a None"   # by "*"
        assert greet(port, identity, None) == "b None"       # no name at all


def test_a_pattern_takes_the_hosts_of_http_requests(workspace):
    with RawBackend(answer("wide")) as wide, RawBackend(answer("exact")) as exact:
        config = (f'[upstream.wide]\naddress = ["127.0.0.1:{wide.port}"]\nhosts = ["*.wide.test"]\n'
                  f'[upstream.exact]\naddress = ["127.0.0.1:{exact.port}"]\nhosts = ["exact.wide.test"]\n')
        with ProxyLab(workspace, config, explicit='upstream = ""') as lab:
            for host, body in (("a.wide.test", b"wide"), ("a.b.WIDE.test:80", b"wide"), ("exact.wide.test", b"exact"),
                               ("exact.wide.test.", b"exact"), ("wide.test", b"no upstream")):
                with lab.client() as client:
                    client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
                    assert body in client.read_to_end(), host
            assert [record["response_flags"] for record in lab.log(5)] == ["", "", "", "", "NR"]
