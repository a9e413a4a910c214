"""pillion-secrets against a Vault with the faults of real ones: last good files stay, no fault becomes a storm."""
import os
import signal
import time

import pytest

from support.fake_vault import FakeVault
from support.pillion_testing import wait_until
from support.secrets_testing import SecretsProgram, vault_toml

FILE = """
[[file]]
path = "@dir@/out/db-password"
secret = "secret/data/orders"
field = "db_password"
"""
PASSWORD = "hunter2-never-in-a-log"


@pytest.fixture
def vault():
    with FakeVault() as server:
        server.put("orders", {"db_password": PASSWORD, "port": 5432})
        yield server


@pytest.fixture
def out(workspace):
    (workspace / "out").mkdir()
    return workspace / "out"


def start(workspace, vault, toml=FILE, before="", **options):
    return SecretsProgram(workspace, before + vault_toml(vault, workspace, **options) + toml)


def reread(ambassador):
    """Every known path is read again at once, as after a reload."""
    ambassador.program.signal(signal.SIGHUP)


def assert_no_secret_leaked(ambassador, vault):
    texts = ambassador.log + "".join(ambassador.messages) + ambassador.admin("/secrets").body.decode() \
        + ambassador.admin("/metrics").body.decode()
    for process_file in ("cmdline", "environ"):
        with open(f"/proc/{ambassador.program.pid}/{process_file}", "rb") as file:
            texts += file.read().decode(errors="replace")
    for secret in [PASSWORD, *vault.secret_ids, *vault.tokens, vault.role_id]:
        assert secret not in texts


def test_a_secret_of_vault_becomes_a_file(workspace, vault, out):
    vault.kv1["legacy/orders"] = {"key": "of kv v1"}
    with start(workspace, vault, FILE + """
        [[file]]
        path = "@dir@/out/port"
        secret = "secret/data/orders"
        field = "port"
        [[file]]
        path = "@dir@/out/legacy"
        secret = "legacy/orders"
        field = "key"
    """, extra='namespace = "team/orders"') as ambassador:
        ambassador.wait_ready()
        assert (out / "db-password").read_text() == PASSWORD
        assert (out / "port").read_text() == "5432"
        assert (out / "legacy").read_text() == "of kv v1"
        assert (out / "db-password").stat().st_mode & 0o7777 == 0o400
        assert len(vault.logins) == 1
        assert len(vault.seen("GET", "secret/data/orders")) == 1  # one read for two files
        for request in vault.requests:
            assert request.headers["X-Vault-Request"] == "true"
            assert request.headers["X-Vault-Namespace"] == "team/orders"
        assert ambassador.files()[f"{out}/db-password"]["version"] == 1
        assert_no_secret_leaked(ambassador, vault)
        assert ambassador.stop() == 0
        assert ambassador.receipt == {"files_written": "3"}


def test_a_new_version_is_written_at_the_next_refresh(workspace, vault, out):
    with start(workspace, vault, before='refresh = "1s"\n') as ambassador:
        ambassador.wait_ready()
        vault.put("orders", {"db_password": "second"})
        wait_until(lambda: (out / "db-password").read_text() == "second")
        assert ambassador.files()[f"{out}/db-password"]["version"] == 2
        assert len(vault.logins) == 1


def test_the_token_is_renewed_and_replaced_at_the_end_of_its_life(workspace, vault, out):
    vault.token_ttl, vault.token_max_ttl = 4, 9
    with start(workspace, vault) as ambassador:
        ambassador.wait_ready()
        wait_until(lambda: len(vault.logins) >= 2)
        renewals = vault.seen("POST", "renew-self")
        assert len(renewals) >= 2
        assert all(request.status == 200 for request in renewals)
        # Never without a token: what was valid was replaced before it ended.
        assert ambassador.metric("pillion_secrets_token_valid") == 1
        assert "not valid any more" not in ambassador.log
        assert vault.most_within(1) <= 8


def test_a_token_that_cannot_be_renewed_is_replaced_before_its_end(workspace, vault, out):
    vault.token_ttl, vault.renewable = 2, False
    with start(workspace, vault) as ambassador:
        ambassador.wait_ready()
        wait_until(lambda: len(vault.logins) >= 3)
        assert not vault.seen("POST", "renew-self")
        gaps = [later.time - earlier.time for earlier, later in zip(vault.logins, vault.logins[1:])]
        assert all(gap >= 1.5 for gap in gaps)


def test_a_sealed_vault_at_the_start_is_waited_for_and_named(workspace, vault, out):
    vault.sealed = True
    with start(workspace, vault) as ambassador:
        ambassador.wait_status("secret/data/orders for " + str(out / "db-password")
                               + ": cannot log in to Vault: Vault answered 503: Vault is sealed")
        assert not ambassador.is_ready
        assert ambassador.admin("/ready").status == 503
        wait_until(lambda: len(vault.requests) >= 6)
        assert vault.most_within(1) <= 40
        vault.sealed = False
        ambassador.wait_ready()
        assert (out / "db-password").read_text() == PASSWORD


def test_an_outage_leaves_the_last_good_file_and_is_over_by_itself(workspace, vault, out):
    with start(workspace, vault) as ambassador:
        ambassador.wait_ready()
        inode = (out / "db-password").stat().st_ino
        vault.put("orders", {"db_password": "after the outage"})
        vault.stop()
        reread(ambassador)
        wait_until(lambda: ambassador.files()[f"{out}/db-password"]["state"] == "stale")
        problem = ambassador.files()[f"{out}/db-password"]["problem"]
        assert problem.startswith("cannot read secret/data/orders: cannot GET http://127.0.0.1:")
        assert (out / "db-password").read_text() == PASSWORD
        assert (out / "db-password").stat().st_ino == inode
        assert ambassador.admin("/ready").status == 200
        vault.start()
        wait_until(lambda: (out / "db-password").read_text() == "after the outage")
        assert ambassador.files()[f"{out}/db-password"]["state"] == "current"
        assert len(vault.logins) == 1  # its token was good all the time


def test_a_revoked_token_is_found_out_and_replaced_once(workspace, vault, out):
    toml = FILE + "".join(f"""
        [[file]]
        path = "@dir@/out/{i}"
        secret = "secret/data/s{i}"
        field = "v"
    """ for i in range(8))
    for i in range(8):
        vault.put(f"s{i}", {"v": f"first {i}"})
    with start(workspace, vault, toml) as ambassador:
        ambassador.wait_ready()
        for i in range(8):
            vault.put(f"s{i}", {"v": f"second {i}"})
        vault.revoke_all()
        reread(ambassador)
        for i in range(8):
            wait_until(lambda i=i: (out / str(i)).read_text() == f"second {i}")
        assert len(vault.logins) == 2  # nine 403s, one login
        assert len(vault.seen("GET", "lookup-self")) == 1


def test_a_denied_path_is_the_policys_word_and_does_not_disturb_the_others(workspace, vault, out):
    vault.put("other", {"v": "x"})
    vault.denied.add("secret/data/orders")
    with start(workspace, vault, FILE + """
        [[file]]
        path = "@dir@/out/other"
        secret = "secret/data/other"
        field = "v"
    """) as ambassador:
        wait_until(lambda: (out / "other").exists())
        ambassador.wait_status("the token is valid: its policies do not allow this path")
        wait_until(lambda: len(vault.seen("GET", "secret/data/orders")) >= 4)
        assert len(vault.logins) == 1
        vault.denied.clear()
        ambassador.wait_ready()


def test_tokens_that_never_work_do_not_become_a_storm_of_logins(workspace, vault, out):
    # As a replica that does not know the primary's tokens yet: every login succeeds, every use fails.
    with start(workspace, vault, before="") as ambassador:
        ambassador.wait_ready()
        kept = (out / "db-password").read_text()
        vault.token_ttl = 3600
        new_token, vault.new_token = vault.new_token, lambda ttl=None: "s.unknown"
        vault.revoke_all()
        reread(ambassador)
        wait_until(lambda: len(vault.logins) >= 6)
        times = [request.time for request in vault.logins][-4:]
        assert times[-1] - times[0] > 0.07  # never less than half the base between two
        assert vault.most_within(1) <= 60
        assert (out / "db-password").read_text() == kept
        vault.new_token = new_token
        vault.put("orders", {"db_password": "known again"})
        wait_until(lambda: (out / "db-password").read_text() == "known again")


def test_a_secret_id_with_few_uses_is_not_wasted_and_a_new_one_is_noticed(workspace, vault, out):
    with start(workspace, vault, secret_id=vault.new_secret_id(uses=1)) as ambassador:
        ambassador.wait_ready()
        vault.revoke_all()
        vault.put("orders", {"db_password": "second"})
        reread(ambassador)
        ambassador.wait_log("cannot log in to Vault: Vault answered 400: invalid role or secret ID")
        assert (out / "db-password").read_text() == PASSWORD
        (workspace / "secret-id").write_text(vault.new_secret_id(uses=1) + "\n")
        wait_until(lambda: (out / "db-password").read_text() == "second")
        assert len([login for login in vault.logins if login.status == 200]) == 2


def test_missing_credential_files_are_named_and_waited_for(workspace, vault, out):
    toml = vault_toml(vault, workspace) + FILE
    secret_id = (workspace / "secret-id").read_text()
    (workspace / "secret-id").unlink()
    with SecretsProgram(workspace, toml) as ambassador:
        ambassador.wait_status(f"cannot log in to Vault: cannot open {workspace}/secret-id: No such file")
        (workspace / "secret-id").write_text("\n")
        ambassador.wait_status(f"{workspace}/secret-id is empty")
        (workspace / "secret-id").write_text(secret_id)
        ambassador.wait_ready()


def test_a_wrapped_secret_id_is_opened_once_and_a_strange_one_refused(workspace, vault, out):
    secret_id = vault.new_secret_id()
    toml = vault_toml(vault, workspace, secret_id=vault.wrap(secret_id, "sys/wrapping/wrap")) + FILE
    toml = toml.replace("role_id_file", "wrapped = true\nrole_id_file")
    with SecretsProgram(workspace, toml) as ambassador:
        ambassador.wait_status("the wrapping token was made by sys/wrapping/wrap, not for this role")
        assert not vault.seen("POST", "unwrap")
        (workspace / "secret-id").write_text(vault.wrap(secret_id))
        ambassador.wait_ready()
        vault.revoke_all()
        vault.put("orders", {"db_password": "second"})
        reread(ambassador)
        wait_until(lambda: (out / "db-password").read_text() == "second")
        assert len(vault.seen("POST", "unwrap")) == 1
        assert_no_secret_leaked(ambassador, vault)


def test_a_token_file_is_used_as_it_is_and_followed(workspace, vault, out):
    (workspace / "token").write_text(vault.new_token() + "\n")
    toml = f'[vault]\naddress = "{vault.address}"\nauth = {{ token_file = "@dir@/token" }}\n' + FILE
    with SecretsProgram(workspace, toml) as ambassador:
        ambassador.wait_ready()
        vault.revoke_all()
        vault.put("orders", {"db_password": "second"})
        (workspace / "token").write_text(vault.new_token())
        ambassador.wait_log("the credential has changed")
        reread(ambassador)
        wait_until(lambda: (out / "db-password").read_text() == "second")
        assert not vault.logins


@pytest.mark.parametrize("status,word", [(500, "scripted 500"), (502, "scripted 502"), (412, "scripted 412"),
                                         (429, "scripted 429"), (473, "scripted 473"), (400, "scripted 400")])
def test_a_passing_error_is_named_retried_and_forgotten(workspace, vault, out, status, word):
    vault.answer_next(status, count=3, path="secret/data/orders")
    with start(workspace, vault) as ambassador:
        ambassador.wait_status(f"Vault answered {status}: {word}")
        ambassador.wait_ready()
        assert len(vault.logins) == 1
        assert len(vault.seen("GET", "secret/data/orders")) == 4


def test_retry_after_is_kept(workspace, vault, out):
    vault.answer_next(429, path="secret/data/orders", headers={"Retry-After": "2"})
    with start(workspace, vault) as ambassador:
        ambassador.wait_ready()
        first, second = vault.seen("GET", "secret/data/orders")
        assert second.time - first.time >= 2


def test_a_redirect_is_not_followed_with_our_token(workspace, vault, out):
    vault.answer_next(307, count=2, path="secret/data/orders", headers={"Location": "http://127.0.0.1:1/v1/x"})
    with start(workspace, vault) as ambassador:
        ambassador.wait_status("a redirect is not followed: set `address` to the active server")
        ambassador.wait_ready()


def test_half_an_answer_changes_nothing(workspace, vault, out):
    with start(workspace, vault) as ambassador:
        ambassador.wait_ready()
        vault.put("orders", {"db_password": "x" * 5000})
        vault.half_close = True
        reread(ambassador)
        wait_until(lambda: ambassador.files()[f"{out}/db-password"]["state"] == "stale")
        assert (out / "db-password").read_text() == PASSWORD
        vault.half_close = False
        wait_until(lambda: (out / "db-password").read_text() == "x" * 5000)


def test_a_slow_vault_times_out_and_is_asked_again(workspace, vault, out):
    vault.delay = 2
    with start(workspace, vault, extra='timeout = "300ms"') as ambassador:
        ambassador.wait_status("no complete response within 300 ms")
        vault.delay = 0
        ambassador.wait_ready()


def test_missing_secrets_deleted_versions_and_missing_fields_keep_the_file(workspace, vault, out):
    with start(workspace, vault) as ambassador:
        ambassador.wait_ready()
        path = f"{out}/db-password"
        vault.delete("orders")
        reread(ambassador)
        wait_until(lambda: "version 1 was deleted at 2024-01-15T14:32:01Z" in ambassador.files()[path].get("problem", ""))
        vault.put("orders", {"renamed": "x"})
        wait_until(lambda: "secret/data/orders has no field `db_password` (it has: renamed)"
                   in ambassador.files()[path].get("problem", ""))
        del vault.kv2["orders"]
        wait_until(lambda: "secret/data/orders does not exist" in ambassador.files()[path].get("problem", ""))
        assert (out / "db-password").read_text() == PASSWORD
        vault.put("orders", {"db_password": "back"})
        wait_until(lambda: (out / "db-password").read_text() == "back")


def test_no_storm_with_many_secrets_while_everything_fails(workspace, vault, out):
    toml = "".join(f"""
        [[file]]
        path = "@dir@/out/{i}"
        secret = "secret/data/s{i}"
        field = "v"
    """ for i in range(150))
    vault.delay = 0.05
    with start(workspace, vault, toml) as ambassador:
        wait_until(lambda: len(vault.requests) > 300)
        # The limiter: a burst of 50 and 50 a second after it, for all calls together (and ten may arrive late).
        assert vault.most_within(1) <= 115
        assert vault.in_flight_max <= 10
        vault.delay = 0
        for i in range(150):
            vault.put(f"s{i}", {"v": str(i)})
        ambassador.wait_ready(60)
        assert len(os.listdir(out)) == 150
        assert len(vault.logins) == 1


def test_fail_gives_up_at_the_first_refusal(workspace, vault, out):
    vault.sealed = True
    with start(workspace, vault, before='on_unavailable = "fail"\n') as ambassador:
        assert ambassador.program.wait() == 71
        assert "Vault is sealed" in ambassador.log


def test_a_stop_while_vault_hangs_is_quick(workspace, vault, out):
    vault.delay = 20
    with start(workspace, vault) as ambassador:
        wait_until(lambda: vault.in_flight > 0)
        begin = time.monotonic()
        assert ambassador.stop() == 0
        assert time.monotonic() - begin < 10
        assert ambassador.receipt == {"files_written": "0"}
