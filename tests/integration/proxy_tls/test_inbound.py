"""TLS from clients: who is let in, who is refused and how that is told, and what the app learns."""
import socket
import ssl
import subprocess
import threading

import pytest

from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream
from support.tls_lab import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def identity(authority):
    return authority.issue("orders", uris=["spiffe://prod/orders"], dns=["orders.test"])


@pytest.fixture(scope="module")
def client(authority):
    return authority.issue("shop", uris=["spiffe://prod/shop"])


class MutualLab(ProxyLab):
    """The app's port behind TLS; `more` goes into the table `inbound`."""

    def __init__(self, directory, identity, app_port, mode="strict", more="", config="", protocol="http", **options):
        self.more = f'mutual_tls = "{mode}"\n{more}\n'
        super().__init__(directory, identity.table() + upstream(app_port) + config, app_port=app_port, app_protocol=protocol, **options)

    def write(self, config):
        if "mutual_tls" not in self.text:
            self.text = self.text.replace("[inbound]\n", "[inbound]\n" + self.more)
        super().write(config)


def request_over(context, port, path="/", name="orders.test", extra=""):
    with socket.create_connection(("127.0.0.1", port), 10) as raw, context.wrap_socket(raw, server_hostname=name) as tls:
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\n{extra}Connection: close\r\n\r\n".encode())
        data = b""
        while chunk := tls.recv(65536):
            data += chunk
        return data.decode("latin-1"), {"version": tls.version(), "session": tls.session}


def recording(heads):
    def serve(connection):
        while True:
            heads.append(connection.read_head())
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return serve


def test_a_client_with_a_certificate_is_served_and_the_app_learns_its_identity(workspace, identity, client):
    heads = []
    with RawBackend(recording(heads)) as app, MutualLab(workspace, identity, app.port) as proxy:
        reply, tls = request_over(client.client_context(), proxy.ports["publish"],
                                  extra="X-Forwarded-Client-Cert: URI=spiffe://prod/admin\r\n")
        assert "200 OK" in reply and tls["version"] == "TLSv1.3"
        xfcc = [line for line in heads[0].split("\r\n") if line.lower().startswith("x-forwarded-client-cert:")]
        assert len(xfcc) == 1 and "By=spiffe://prod/orders;Hash=" in xfcc[0] and ";URI=spiffe://prod/shop" in xfcc[0]
        record = proxy.log()[0]
        assert record["downstream_peer_uri_san"] == "spiffe://prod/shop"
        assert record["downstream_tls_version"] == "TLSv1.3"


def test_plain_clients_cannot_claim_an_identity(workspace):
    heads = []
    with RawBackend(recording(heads)) as app, ProxyLab(workspace, upstream(app.port), app_port=app.port) as proxy:
        with proxy.client("publish") as one:
            one.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://prod/admin\r\n"
                     "Connection: close, X-Forwarded-Client-Cert\r\n\r\n")
            assert one.read_response()[0] == 200
        assert "client-cert" not in heads[0].lower()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_both_versions_and_kinds_of_key_work(workspace, authority, client, version, key):
    identity = authority.issue("orders", uris=["spiffe://prod/orders"], key=key)
    with RawBackend(answer()) as app, MutualLab(workspace, identity, app.port) as proxy:
        context = client.client_context()
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        reply, _ = request_over(context, proxy.ports["publish"])
        assert "200 OK" in reply


def refused(proxy, context, details, records=1):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        reply, _ = request_over(context, proxy.ports["publish"])
        assert reply, "closed without an answer"  # TLS 1.3: the client's side finishes first
        raise AssertionError(reply)
    record = proxy.log(records)[-1]
    assert (record["response_flags"], record["response_code_details"]) == ("DTF", details), record


@pytest.mark.parametrize("case, details", [
    ("none", "tls_no_certificate"), ("expired", "tls_certificate_expired"), ("stranger", "tls_certificate_not_trusted"),
    ("other", "tls_peer_refused"), ("nameless", "tls_peer_refused"), ("two names", "tls_peer_refused")])
def test_a_client_is_refused(workspace, tmp_path, authority, identity, case, details):
    peer = {
        "none": lambda: identity,
        "expired": lambda: authority.issue("old", uris=["spiffe://prod/shop"], expired=True),
        "stranger": lambda: Authority(tmp_path / "other").issue("x", uris=["spiffe://prod/shop"]),
        "other": lambda: authority.issue("evil", uris=["spiffe://test/shop"]),
        "nameless": lambda: authority.issue("nameless", dns=["shop.test"]),
        "two names": lambda: authority.issue("two", uris=["spiffe://prod/shop", "spiffe://prod/admin"]),
    }[case]()
    context = peer.client_context(with_certificate=case != "none")
    context.load_verify_locations(authority.bundle)
    with RawBackend(answer()) as app, \
            MutualLab(workspace, identity, app.port, more='allowed_peers = ["spiffe://prod"]') as proxy:
        refused(proxy, context, details)
        assert proxy.metric("pillion_proxy_tls_failures_total") == {"": 1.0}
        assert "refused a TLS connection" in proxy.program.stderr
        assert app.peers == []


def test_allowed_peers_are_whole_ids_or_trust_domains(workspace, authority, identity, client):
    with RawBackend(answer()) as app, \
            MutualLab(workspace, identity, app.port, more='allowed_peers = ["spiffe://prod/shop"]') as proxy:
        assert "200 OK" in request_over(client.client_context(), proxy.ports["publish"])[0]
        longer = authority.issue("longer", uris=["spiffe://prod/shop/2"])
        refused(proxy, longer.client_context(), "tls_peer_refused", records=2)


def test_rules_authorize_by_identity_method_and_path(workspace, authority, identity, client):
    rules = '''
[rule.shop-reads]
peers = ["spiffe://prod/shop"]
methods = ["GET"]
paths = ["/orders/*"]
action = "allow"
[rule.rest]
action = "deny"
'''
    other = authority.issue("other", uris=["spiffe://prod/other"])
    with RawBackend(recording([])) as app, MutualLab(workspace, identity, app.port, config=rules) as lab:
        for who, path, status in ((client, "/orders/1", 200), (other, "/orders/1", 403), (client, "/admin", 403),
                                  (client, "/orders/../admin", 403)):
            assert request_over(who.client_context(), lab.ports["publish"], path)[0].startswith(f"HTTP/1.1 {status} ")
        assert [record["response_flags"] for record in lab.log(4)] == ["", "RF", "RF", "RF"]


def test_strict_refuses_plain_text_and_permissive_takes_both(workspace, identity, client):
    with RawBackend(answer()) as app:
        with MutualLab(workspace, identity, app.port) as proxy, proxy.client("publish") as one:
            one.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert one.read_to_end() in (b"", b"\x15\x03\x01\x00\x02\x02\x46")
            assert proxy.log()[0]["response_flags"] == "DTF"
            assert "it speaks HTTP without TLS, and the port's mutual_tls is strict" in proxy.program.output
        with MutualLab(workspace, identity, app.port, mode="permissive") as proxy:
            with proxy.client("publish") as one:
                one.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert one.read_response()[0] == 200
            assert "200 OK" in request_over(client.client_context(), proxy.ports["publish"])[0]
            assert proxy.metric("pillion_proxy_tls_plain_total") == {"": 1.0}
            assert proxy.metric("pillion_proxy_detection_seconds_count") == {
                '{listener="publish",detected="tls"}': 1, '{listener="publish",detected="plain"}': 1}


def test_without_the_requirement_a_client_may_come_without_a_certificate(workspace, identity, client):
    with RawBackend(answer()) as app, \
            MutualLab(workspace, identity, app.port, more="require_client_certificate = false") as proxy:
        assert "200 OK" in request_over(client.client_context(with_certificate=False), proxy.ports["publish"])[0]
        assert "200 OK" in request_over(client.client_context(), proxy.ports["publish"])[0]
        assert [one["downstream_peer_uri_san"] for one in proxy.log(2)] == ["", "spiffe://prod/shop"]


def test_sessions_are_resumed_by_ticket_by_any_worker(workspace, identity, client):
    with RawBackend(answer()) as app, MutualLab(workspace, identity, app.port, config="") as proxy:
        context = client.client_context()
        _, first = request_over(context, proxy.ports["publish"])
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", proxy.ports["publish"])) as raw, \
                    context.wrap_socket(raw, server_hostname="orders.test", session=first["session"]) as tls:
                assert tls.session_reused
                tls.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert b"200 OK" in tls.recv(4096)
        assert proxy.metric("pillion_proxy_tls_resumed_total") == {"": 4.0}
        assert {one["downstream_peer_uri_san"] for one in proxy.log(5)} == {"spiffe://prod/shop"}


def test_tcp_ports_are_relayed_inside_tls(workspace, identity, client):
    def serve(connection):
        data = b""
        while chunk := connection.socket.recv(65536):
            data += chunk
        connection.send(b"got " + str(len(data)).encode())

    with RawBackend(serve) as app, MutualLab(workspace, identity, app.port, protocol="tcp") as proxy:
        done = subprocess.run(["openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", f"127.0.0.1:{proxy.ports['publish']}", "-cert",
                               client.certificate, "-key", client.key, "-CAfile", client.bundle, "-verify_return_error"],
                              input=b"x" * 300000, capture_output=True, timeout=30)
        record = proxy.log()[0]
        assert record["protocol"] == "tcp" and record["bytes_received"] == 300000, (record, done.stderr)
        assert record["downstream_peer_uri_san"] == "spiffe://prod/shop"


def test_large_bodies_pass_both_ways(workspace, identity, client):
    size = 3_000_000

    def serve(connection):
        connection.read_head()
        body = connection.read_exactly(size)
        connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + body)

    with RawBackend(serve) as app, MutualLab(workspace, identity, app.port) as proxy:
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        file = workspace / "body"
        file.write_bytes(body)
        done = subprocess.run(["curl", "-sS", "--http1.1", "--resolve", f"orders.test:{proxy.ports['publish']}:127.0.0.1",
                               *client.curl(), "--data-binary", f"@{file}", "-H", "Expect:",
                               f"https://orders.test:{proxy.ports['publish']}/"], capture_output=True, timeout=30)
        assert done.stdout == body, done.stderr


def test_a_silent_client_meets_the_handshake_timeout(workspace, identity):
    with RawBackend(answer()) as app, \
            MutualLab(workspace, identity, app.port, config='[timeouts]\ntls_handshake = "200ms"\n') as proxy:
        with proxy.client("publish") as one:
            one.send(b"\x16\x03\x01\x02\x00")
            assert one.read_to_end() == b""
        assert proxy.log()[0]["response_code_details"] == "tls_handshake_timeout"


def test_certificates_are_listed_and_rotated_under_load(workspace, authority, client):
    place = workspace / "live"
    place.mkdir()
    identity = authority.issue("orders", uris=["spiffe://prod/orders"], into=place)
    with RawBackend(answer()) as app, MutualLab(workspace, identity, app.port) as proxy:
        def serials():
            return [one["serial_number"] for one in proxy.admin("GET", "/certs").json()["certificates"]
                    if one["use"] == "identity"]

        served, failures, ending = [], [], threading.Event()

        def load():
            context = client.client_context()
            while not ending.is_set():
                try:
                    reply, tls = request_over(context, proxy.ports["publish"])
                    assert "200 OK" in reply
                    served.append(1)
                except Exception as error:  # noqa: BLE001
                    failures.append(error)

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        before = serials()
        for _ in range(3):
            authority.issue("orders", uris=["spiffe://prod/orders"], into=place)
            wait_until(lambda: serials() != before, what="the new certificate")
            before = serials()
        good = (place / "tls.crt").read_bytes()
        (place / "tls.crt").write_text("not a certificate")
        wait_until(lambda: proxy.metric("pillion_proxy_certificate_rotations_total")['{result="rejected"}'] >= 1,
                   what="the refusal of a bad file")
        assert serials() == before
        count = len(served)
        wait_until(lambda: len(served) > count + 5, what="requests after the refusal")
        (place / "tls.crt").write_bytes(good)
        ending.set()
        for thread in threads:
            thread.join()
        assert not failures, failures[:3]
        gauge = proxy.metric("pillion_proxy_certificate_expiry_timestamp_seconds")
        assert len(gauge) == 2 and all(value > 1_700_000_000 for value in gauge.values())
        assert "PRIVATE" not in proxy.admin("GET", "/certs").body.decode()


def test_a_wrong_key_stops_the_start_with_a_clear_error(workspace, authority):
    from support.pillion_testing import run
    mine = authority.issue("one")
    other = authority.issue("two")
    file = workspace / "proxy.toml"
    file.write_text(f'[identity]\ncertificate_file = "{mine.certificate}"\nkey_file = "{other.key}"\n'
                    f'trust_bundle_file = "{mine.bundle}"\n')
    done = run(["pillion-proxy", "--config", file], check=71)
    assert f"{other.key} is not the key of {mine.certificate}" in done.stderr
