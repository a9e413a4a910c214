"""The local Vault address: the app's own requests reach Vault with a token that the app never sees."""
import json
import threading
import time

import pytest

from support.fake_vault import FakeVault
from support.pillion_testing import RawClient, http_request, wait_until
from support.secrets_testing import SecretsProgram, vault_toml


@pytest.fixture
def vault():
    with FakeVault() as server:
        server.put("orders", {"db_password": "x"})
        yield server


class Proxy(SecretsProgram):
    def __init__(self, workspace, vault, extra="", options=""):
        super().__init__(workspace, vault_toml(vault, workspace, extra=options)
                         + f'[proxy]\nlisten = "127.0.0.1:@port:vault@"\n{extra}')

    def ask(self, path, method="GET", **options):
        return http_request(method, f"http://127.0.0.1:{self.port('vault')}{path}", **options)


@pytest.fixture
def proxy(workspace, vault):
    with Proxy(workspace, vault) as program:
        program.wait_ready()
        yield program


def test_the_token_is_added_and_the_apps_own_replaced(vault, proxy):
    reply = proxy.ask("/v1/secret/data/orders", headers={"X-Vault-Token": "the app's", "Authorization": "Bearer x",
                                                         "X-Vault-Namespace": "mine"})
    assert reply.status == 200
    assert reply.json()["data"]["data"] == {"db_password": "x"}
    request = vault.seen("GET", "secret/data/orders")[0]
    assert request.token in vault.tokens
    assert request.headers["X-Vault-Request"] == "true"
    assert request.headers["X-Vault-Namespace"] == "mine"
    assert "Authorization" not in request.headers
    for secret in vault.tokens:
        assert secret not in proxy.log


def test_it_is_ready_after_the_login_though_there_are_no_files(vault, proxy):
    assert proxy.metric("pillion_secrets_logins_total") == 1
    assert proxy.status == "all 0 files are written"


def test_methods_bodies_queries_and_end_to_end_headers_arrive(vault, proxy):
    body = json.dumps({"data": {"a": "b" * 100_000}})
    reply = proxy.ask("/v1/echo?list=true&x=%2F", "POST", body=body,
                      headers={"Content-Type": "application/json", "X-Vault-Wrap-TTL": "60s", "TE": "trailers",
                               "Connection": "close, X-Local", "X-Local": "1"})
    assert reply.status == 200
    seen = vault.seen("POST", "echo")[0]
    assert seen.path == "/v1/echo?list=true&x=%2F"
    assert seen.body == body.encode()
    assert seen.headers["X-Vault-Wrap-TTL"] == "60s"
    assert not {"TE", "X-Local"} & set(seen.headers)
    assert reply.headers["X-Vault"] == "yes"
    assert "X-Hop" not in reply.headers
    assert proxy.ask("/v1/echo", "LIST").json()["method"] == "LIST"
    assert proxy.ask("/v1/secret/data/none").status == 404


def test_large_bodies_pass_and_larger_ones_are_413(vault, proxy):
    assert proxy.ask("/v1/echo", "PUT", body=b"x" * (8 << 20)).json()["body_length"] == 8 << 20
    with RawClient(proxy.port("vault")) as client:
        client.send(f"PUT /v1/echo HTTP/1.1\r\nHost: v\r\nContent-Length: {33 << 20}\r\n\r\n")
        assert client.read_response()[0] == 413


def test_identical_reads_in_flight_are_one_request(vault, proxy):
    vault.delay = 0.5
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(proxy.ask("/v1/secret/data/orders")))
               for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [200] * 20
    sent = len(vault.seen("GET", "secret/data/orders"))
    assert sent < 20
    assert proxy.metric("pillion_secrets_proxy_coalesced_total") == 20 - sent
    vault.delay = 0
    assert proxy.ask("/v1/secret/data/orders").status == 200
    assert len(vault.seen("GET", "secret/data/orders")) == sent + 1  # in flight only: nothing is cached


def test_a_flood_from_the_app_is_paced_and_nothing_fails(vault, proxy):
    statuses = []

    def ask(worker):
        for i in range(15):
            statuses.append(proxy.ask(f"/v1/secret/data/orders?n={worker}.{i}").status)

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 150
    assert vault.most_within(1) <= 115
    assert vault.in_flight_max <= 10


def test_our_own_token_cannot_be_ended_by_the_app(vault, proxy):
    for path in ("/v1/auth/token/revoke-self", "/v1/auth/token/%72evoke-self", "/v1/x/../auth/token/revoke-self"):
        reply = proxy.ask(path, "POST")
        assert reply.status == 403
        assert "this path is not for the app" in reply.json()["errors"][0]
    assert not vault.seen("POST", "revoke")


def test_vault_down_is_502_and_says_why(vault, proxy):
    vault.stop()
    reply = proxy.ask("/v1/secret/data/orders")
    assert reply.status == 502
    assert "pillion-secrets: cannot GET http://127.0.0.1" in reply.json()["errors"][0]
    vault.start()
    assert proxy.ask("/v1/secret/data/orders").status == 200


def test_a_sealed_vault_at_the_start_is_503_with_the_reason(workspace, vault):
    vault.sealed = True
    with Proxy(workspace, vault) as proxy:
        proxy.wait_status("waiting for the login to Vault: cannot log in to Vault: Vault answered 503: Vault is sealed")
        reply = proxy.ask("/v1/secret/data/orders")
        assert reply.status == 503
        assert "Vault is sealed" in reply.json()["errors"][0]
        vault.sealed = False
        proxy.wait_ready()
        assert proxy.ask("/v1/secret/data/orders").status == 200


def test_a_hanging_vault_is_504(workspace, vault):
    with Proxy(workspace, vault, options='timeout = "300ms"') as proxy:
        proxy.wait_ready()
        vault.delay = 2
        reply = proxy.ask("/v1/secret/data/orders")
        assert reply.status == 504
        assert "no complete response within 300 ms" in reply.json()["errors"][0]


def test_a_403_through_the_proxy_finds_a_revoked_token_out(vault, proxy):
    vault.revoke_all()
    assert proxy.ask("/v1/secret/data/orders").status == 403
    wait_until(lambda: len(vault.logins) == 2)
    wait_until(lambda: proxy.ask("/v1/secret/data/orders").status == 200)


def test_the_request_header_is_required_when_asked_for(workspace, vault):
    with Proxy(workspace, vault, extra="require_request_header = true") as proxy:
        proxy.wait_ready()
        reply = proxy.ask("/v1/secret/data/orders")
        assert reply.status == 412
        assert "X-Vault-Request" in reply.json()["errors"][0]
        assert proxy.ask("/v1/secret/data/orders", headers={"X-Vault-Request": "true"}).status == 200


def test_a_request_in_flight_is_answered_during_the_drain(vault, proxy):
    vault.delay = 1
    replies = []
    thread = threading.Thread(target=lambda: replies.append(proxy.ask("/v1/secret/data/orders")))
    thread.start()
    wait_until(lambda: vault.seen("GET", "secret/data/orders"))
    begin = time.monotonic()
    assert proxy.stop() == 0
    thread.join()
    assert replies[0].status == 200
    assert time.monotonic() - begin < 20


def test_a_client_that_leaves_early_does_no_harm(vault, proxy):
    vault.delay = 0.3
    for _ in range(5):
        with RawClient(proxy.port("vault")) as client:
            client.send("GET /v1/secret/data/orders HTTP/1.1\r\nHost: v\r\n\r\n")
    vault.delay = 0
    assert proxy.ask("/v1/secret/data/orders").status == 200
