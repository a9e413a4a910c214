"""pillion-secrets against a real server that speaks Vault's API, when there is one.

Set PILLION_TEST_VAULT to the program of OpenBao or Vault (`bao`, `vault`), or have one of them on the PATH. To get one:
a distribution's package where there is one, or a checkout of OpenBao and `go build -o bao .` in it (Go ≥ what its
go.mod says; about ten minutes on two cores).
"""
import json
import os
import shutil
import subprocess

import pytest

from support.pillion_testing import Program, free_port, http_request, wait_until
from support.secrets_testing import SecretsProgram

SERVER = os.environ.get("PILLION_TEST_VAULT") or shutil.which("bao") or shutil.which("vault")
pytestmark = pytest.mark.skipif(not SERVER, reason="no real Vault: set PILLION_TEST_VAULT to a `bao` or `vault` program")


class RealVault:
    def __init__(self, workspace):
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.workspace = workspace
        config = workspace / "server.hcl"
        cluster = free_port()
        config.write_text(f"""
            disable_mlock = true
            api_addr = "{self.address}"
            cluster_addr = "http://127.0.0.1:{cluster}"
            listener "tcp" {{
              address = "127.0.0.1:{self.port}"
              cluster_address = "127.0.0.1:{cluster}"
              tls_disable = true
            }}
            storage "inmem" {{}}
        """)
        self.program = Program([SERVER, "server", f"-config={config}"], workspace)
        self.token = None

    def call(self, method, path, body=None, token=None):
        headers = {"X-Vault-Token": token or self.token} if token or self.token else {}
        reply = http_request(method, f"{self.address}/v1/{path}", body=json.dumps(body) if body is not None else None,
                             headers=headers)
        assert reply.status in (200, 204), (method, path, reply)
        return reply.json() if reply.body else None

    def initialise(self):
        wait_until(lambda: http_request("GET", self.address + "/v1/sys/seal-status").status == 200)
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.key, self.token = made["keys"][0], made["root_token"]
        self.unseal()
        self.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self.call("POST", "sys/mounts/legacy", {"type": "kv", "options": {"version": "1"}})
        self.call("POST", "sys/auth/approle", {"type": "approle"})
        self.call("PUT", "sys/policies/acl/orders",
                  {"policy": 'path "secret/data/*" { capabilities = ["read", "create", "update"] }\n'
                             'path "legacy/*" { capabilities = ["read", "list"] }'})
        self.call("POST", "auth/approle/role/orders", {"token_policies": ["orders"], "token_ttl": "4s",
                                                       "token_max_ttl": "10s"})

    def unseal(self):
        self.call("PUT", "sys/unseal", {"key": self.key})
        wait_until(lambda: http_request("GET", self.address + "/v1/sys/health").status == 200)

    def credentials(self):
        role_id = self.call("GET", "auth/approle/role/orders/role-id")["data"]["role_id"]
        (self.workspace / "role-id").write_text(role_id)
        secret_id = self.call("POST", "auth/approle/role/orders/secret-id", {})["data"]["secret_id"]
        (self.workspace / "secret-id").write_text(secret_id)

    def put(self, name, fields):
        self.call("POST", f"secret/data/{name}", {"data": fields})


@pytest.fixture
def vault(workspace):
    server = RealVault(workspace)
    try:
        server.initialise()
        yield server
    finally:
        server.program.close()


def test_the_whole_life_with_a_real_server(workspace, vault):
    out = workspace / "out"
    out.mkdir()
    vault.credentials()
    vault.put("orders", {"db_password": "first", "n": 5})
    vault.call("POST", "legacy/orders", {"key": "of kv v1"})
    toml = f"""
        refresh = "1s"
        [vault]
        address = "{vault.address}"
        retry = {{ base = "50ms", max = "500ms" }}
        [vault.auth.approle]
        role_id_file = "@dir@/role-id"
        secret_id_file = "@dir@/secret-id"
        [proxy]
        listen = "127.0.0.1:@port:vault@"
        [[file]]
        path = "@dir@/out/db-password"
        secret = "secret/data/orders"
        field = "db_password"
        [[file]]
        path = "@dir@/out/legacy"
        secret = "legacy/orders"
        field = "key"
    """
    with SecretsProgram(workspace, toml) as ambassador:
        ambassador.wait_ready()
        assert (out / "db-password").read_text() == "first"
        assert (out / "legacy").read_text() == "of kv v1"

        vault.put("orders", {"db_password": "second"})
        wait_until(lambda: (out / "db-password").read_text() == "second")
        assert ambassador.files()[f"{out}/db-password"]["version"] == 2

        local = f"http://127.0.0.1:{ambassador.port('vault')}/v1"
        body = json.dumps({"data": {"written": "by the app"}})
        assert http_request("POST", local + "/secret/data/from-app", body=body).status == 200
        assert http_request("GET", local + "/secret/data/from-app").json()["data"]["data"]["written"] == "by the app"
        assert http_request("LIST", local + "/legacy").json()["data"]["keys"] == ["orders"]
        assert http_request("GET", local + "/sys/mounts").status == 403  # the policy's word

        # Four seconds of life, ten at most: renewed, then replaced, and never without.
        wait_until(lambda: ambassador.metric("pillion_secrets_logins_total") >= 2, 40)
        assert ambassador.metric("pillion_secrets_renewals_total") >= 1
        assert "not valid any more" not in ambassador.log

        vault.call("PUT", "sys/seal")
        wait_until(lambda: "Vault is sealed" in ambassador.files()[f"{out}/db-password"].get("problem", ""))
        assert (out / "db-password").read_text() == "second"
        vault.unseal()
        vault.put("orders", {"db_password": "third"})
        wait_until(lambda: (out / "db-password").read_text() == "third")

        vault.call("DELETE", "secret/data/orders")
        wait_until(lambda: "version 3 was deleted" in ambassador.files()[f"{out}/db-password"].get("problem", ""))
        assert (out / "db-password").read_text() == "third"
        assert ambassador.stop() == 0


def test_a_wrapped_secret_id_of_a_real_server(workspace, vault):
    out = workspace / "out"
    out.mkdir()
    vault.credentials()
    vault.put("orders", {"db_password": "x"})
    reply = http_request("POST", f"{vault.address}/v1/auth/approle/role/orders/secret-id", body="{}",
                         headers={"X-Vault-Token": vault.token, "X-Vault-Wrap-TTL": "300s"})
    (workspace / "secret-id").write_text(reply.json()["wrap_info"]["token"])
    with SecretsProgram(workspace, f"""
        [vault]
        address = "{vault.address}"
        [vault.auth.approle]
        role_id_file = "@dir@/role-id"
        secret_id_file = "@dir@/secret-id"
        wrapped = true
        [[file]]
        path = "@dir@/out/db-password"
        secret = "secret/data/orders"
        field = "db_password"
        [proxy]
        enabled = false
    """) as ambassador:
        ambassador.wait_ready()
        assert (out / "db-password").read_text() == "x"
        assert ambassador.stop() == 0


def test_which_server_was_tried():
    print(subprocess.run([SERVER, "version"], capture_output=True, text=True, check=True).stdout)
