"""TLS towards upstreams: whom we trust, what we show, resumption, and what the caller is told when it fails."""
import pytest

from support.pillion_testing import http_request
from support.proxy_lab import ProxyLab, answer
from support.tls_lab import Authority, TlsBackend


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def identity(authority):
    return authority.issue("shop", uris=["spiffe://prod/shop"])


@pytest.fixture(scope="module")
def users(authority):
    return authority.issue("users", uris=["spiffe://prod/users"], dns=["users.test"], ips=["127.0.0.1"])


def upstream(port, tls, more=""):
    return f'[upstream.b]\naddress = ["127.0.0.1:{port}"]\ntls = {{ {tls} }}\n{more}\n'


def test_a_spiffe_id_is_verified_and_ours_is_shown(workspace, identity, users):
    with TlsBackend(users.server_context(requires_client=True), answer()) as backend, \
            ProxyLab(workspace, identity.table() + upstream(backend.port, 'spiffe_id = "spiffe://prod/users"')) as proxy:
        assert http_request("GET", proxy.url()).status == 200
        assert dict(backend.peers[0]["subjectAltName"]) == {"URI": "spiffe://prod/shop"}


def test_a_trust_domain_a_name_and_an_address_are_verified(workspace, authority, identity, users):
    for tls in ('spiffe_id = "spiffe://prod"', 'server_name = "users.test"', f'ca_file = "{authority.bundle}"'):
        with TlsBackend(users.server_context(), answer()) as backend, \
                ProxyLab(workspace, identity.table() + upstream(backend.port, tls)) as proxy:
            assert http_request("GET", proxy.url()).status == 200, tls


@pytest.mark.parametrize("case, tls, words", [
    ("wrong id", 'spiffe_id = "spiffe://prod/payments"', "certificate verify failed"),
    ("wrong name", 'server_name = "other.test"', "ostname mismatch"),
    ("expired", 'spiffe_id = "spiffe://prod"', "expired"),
    ("stranger", 'spiffe_id = "spiffe://prod"', "self-signed|unable to get local issuer"),
    ("plain", 'spiffe_id = "spiffe://prod"', "wrong version number|packet length too long")])
def test_an_upstream_that_is_not_who_it_should_be_is_a_502_that_says_why(workspace, tmp_path, authority, identity, users,
                                                                         case, tls, words):
    import re

    from support.proxy_lab import RawBackend
    peer = users
    if case == "expired":
        peer = authority.issue("old", uris=["spiffe://prod/users"], expired=True)
    if case == "stranger":
        peer = Authority(tmp_path / "other").issue("users", uris=["spiffe://prod/users"])
    if case == "plain":
        backend = RawBackend(lambda connection: (connection.socket.recv(4096), connection.send("HTTP/1.1 400 Bad\r\n\r\n")))
    else:
        backend = TlsBackend(peer.server_context(), answer())
    with backend, ProxyLab(workspace, identity.table() + upstream(backend.port, tls)) as proxy:
        reply = http_request("GET", proxy.url())
        assert reply.status == 502 and re.search(words, reply.body.decode()), reply.body
        record = proxy.log()[0]
        assert (record["response_flags"], record["response_code_details"]) == ("UF", "upstream_tls_failure")


def test_sessions_with_an_upstream_are_resumed(workspace, identity, users):
    def once(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with TlsBackend(users.server_context(), once) as backend, \
            ProxyLab(workspace, identity.table() + upstream(backend.port, 'spiffe_id = "spiffe://prod"')) as proxy:
        for _ in range(4):
            assert http_request("GET", proxy.url()).status == 200
        assert (backend.handshakes, backend.resumed) == (4, 3)


def test_a_pooled_connection_survives_the_tickets_that_come_after_the_handshake(workspace, identity, users):
    with TlsBackend(users.server_context(), answer()) as backend, \
            ProxyLab(workspace, identity.table() + upstream(backend.port, 'spiffe_id = "spiffe://prod"')) as proxy:
        for method in ("GET", "POST", "POST", "GET"):
            headers = {"Content-Length": "0"} if method == "POST" else {}
            assert http_request(method, proxy.url(), headers=headers).status == 200
        assert backend.handshakes == 1
        assert [one["reused_connection"] for one in proxy.log(4)] == [False, True, True, True]


def test_without_an_identity_the_systems_authorities_decide(workspace, users):
    with TlsBackend(users.server_context(), answer()) as backend, \
            ProxyLab(workspace, upstream(backend.port, 'server_name = "users.test"')) as proxy:
        reply = http_request("GET", proxy.url())
        assert reply.status == 502 and b"unable to get local issuer" in reply.body


def test_the_version_can_be_raised(workspace, identity, users):
    import ssl
    context = users.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with TlsBackend(context, answer()) as backend:
        for version, status in (("1.2", 200), ("1.3", 502)):
            tls = f'spiffe_id = "spiffe://prod", min_version = "{version}"'
            with ProxyLab(workspace, identity.table() + upstream(backend.port, tls)) as proxy:
                assert http_request("GET", proxy.url()).status == status


def test_tcp_is_relayed_into_tls(workspace, identity, users):
    def echo(connection):
        while data := connection.socket.recv(65536):
            connection.send(data)

    with TlsBackend(users.server_context(requires_client=True), echo) as backend, \
            ProxyLab(workspace, identity.table() + upstream(backend.port, 'spiffe_id = "spiffe://prod"', 'protocol = "tcp"'),
                     explicit_protocol="tcp") as proxy:
        with proxy.client() as one:
            one.send(b"hello")
            assert one.read_exactly(5) == b"hello"
