"""What pillion-secrets has issued never leaves by pillion-logs, wherever and however it stands in a record."""
import base64
import json
import os
import stat
import urllib.parse

import pytest

from support.fake_vault import FakeVault
from support.log_lab import LogLab
from support.pillion_testing import free_port, http_get, requires_root, run, wait_until
from support.secrets_testing import SecretsProgram, vault_toml

AWKWARD = 'p"a\\ss wörd/42&more'


@pytest.fixture
def vault():
    vault = FakeVault()
    yield vault
    vault.stop()


@pytest.fixture
def lab(workspace):
    directory = workspace / "logs"
    directory.mkdir()
    return LogLab(directory)


def secrets_toml(vault, directory, names):
    files = "".join(f"""
[[file]]
path = "@dir@/{name}"
secret = "secret/data/orders"
field = "{name}"
""" for name in names)
    return 'refresh = "1s"\nfingerprints = "@dir@/issued"\n' + files + vault_toml(vault, directory)


def configure(lab, issued):
    lab.configure('file = "@dir@/app.log"', 'file = { path = "@dir@/out.json" }',
                  f'[fields]\nredact_issued = ["{issued}"]\n[admin]\nlisten = "127.0.0.1:{free_port()}"')


def append(lab, *lines):
    with open(lab.path("app.log"), "a") as file:
        file.write("".join(text + "\n" for text in lines))


def test_an_issued_secret_is_taken_out_wherever_it_stands(workspace, vault, lab):
    vault.put("orders", {"password": AWKWARD, "pin": "1234567890123", "key": "first-key-0001", "short": "abc1234"})
    names = ["password", "pin", "key", "short"]
    with SecretsProgram(workspace, secrets_toml(vault, workspace, names)) as ambassador:
        ambassador.wait_ready()
        issued = workspace / "issued"
        assert stat.S_IMODE(issued.stat().st_mode) == 0o640
        text = issued.read_text()
        assert not any(value in text for value in (AWKWARD, "1234567890123", "first-key-0001"))
        configure(lab, issued)
        with lab.start() as logs:
            encoded = urllib.parse.quote(AWKWARD, safe="")
            append(lab,
                   json.dumps({"message": f"login with {AWKWARD}", "n": 1}),
                   json.dumps({"n": 2, "deep": {"list": [1, {"dsn": f"postgres://u:{encoded}@db/x"}]}}),
                   json.dumps({"n": 3, "pin": 1234567890123, "pins": [1234567890123, 5]}),
                   json.dumps({"n": 4, AWKWARD: "as a key"}),
                   json.dumps({"n": 5, "message": "x"})[:-1] + ',"u":"p\\u0022a\\\\ss w\\u00f6rd\\/42&more"}',
                   "2024-01-15 14:32:01 INFO n=6 key=first-key-0001 and first-key-0001first-key-0001",
                   json.dumps({"n": 7, "message": base64.b64encode((AWKWARD + ":tail").encode()).decode()}),
                   "2024-01-15 14:32:01 INFO n=8 short=abc1234 first-key-000 untouched")
            wait_until(lambda: len(lab.records()) == 8)
            # A new value is taken out from its first moment on, the old one still.
            vault.put("orders", {"password": AWKWARD, "pin": "1234567890123", "key": "second-key-02", "short": "abc"})
            wait_until(lambda: (workspace / "key").read_text() == "second-key-02")
            append(lab, "2024-01-15 14:32:02 INFO n=9 old=first-key-0001 new=second-key-02")
            # What the app asks Vault for itself, and the token that a login gave it.
            answer = http_get(f"http://127.0.0.1:{ambassador.port('vault')}/v1/secret/data/orders").json()
            vault.kv1["db/creds/app"] = {"username": "v-app-8f3a2b1c", "password": "dyn-4711-abcdef"}
            http_get(f"http://127.0.0.1:{ambassador.port('vault')}/v1/db/creds/app")
            assert answer["data"]["data"]["key"] == "second-key-02"
            append(lab, "2024-01-15 14:32:02 INFO n=10 user=v-app-8f3a2b1c with dyn-4711-abcdef")
            wait_until(lambda: len(lab.records()) == 10)
            port = lab.config.read_text().rsplit(":", 1)[1].strip(' "\n')
            metrics = http_get(f"http://127.0.0.1:{port}/stats/prometheus").body.decode()
            assert logs.stop() == 0, logs.output
        assert ambassador.stop() == 0
    out = lab.path("out.json").read_text()
    for secret in (AWKWARD, json.dumps(AWKWARD)[1:-1], encoded, "1234567890123", "first-key-0001", "second-key-02",
                   "v-app-8f3a2b1c", "dyn-4711-abcdef", base64.b64encode(AWKWARD.encode()).decode()[:20]):
        assert secret not in out, secret
    records = {record["n"]: record for record in lab.records()}
    assert records[1]["message"] == "login with [REDACTED]"
    assert records[2]["deep"]["list"][1]["dsn"] == "postgres://u:[REDACTED]@db/x"
    assert records[3]["pin"] == "[REDACTED]" and records[3]["pins"] == ["[REDACTED]", 5]
    assert records[4]["[REDACTED]"] == "as a key" and records[5]["u"] == "[REDACTED]"
    assert records[6]["key"] == "[REDACTED]" and records[6]["message"] == "and [REDACTED][REDACTED]"
    assert records[7]["message"].startswith("[REDACTED]")
    assert records[8]["short"] == "abc1234" and records[8]["message"] == "first-key-000 untouched"
    assert "pillion_logs_issued_secrets_redacted_total" in metrics


def test_an_app_that_logs_each_new_secret_at_once_never_gets_it_out(workspace, vault, lab):
    """The fingerprint is there before the file, so there is no moment in between."""
    vault.put("orders", {"key": "start-value-0"})
    path = workspace / "key"
    with SecretsProgram(workspace, secrets_toml(vault, workspace, ["key"])) as ambassador:
        ambassador.wait_ready()
        configure(lab, workspace / "issued")
        seen = []
        with lab.start() as logs:
            for version in range(6):
                value = f"rotated-value-{version}-{os.urandom(4).hex()}"
                vault.put("orders", {"key": value})

                def log_it():
                    current = path.read_text()
                    if not seen or current != seen[-1]:
                        seen.append(current)
                        append(lab, f"2024-01-15 14:32:01 INFO n={len(seen)} dsn=postgres://app:{current}@db")
                    return current == value
                wait_until(log_it)
            wait_until(lambda: len(lab.records()) == len(seen))
            assert logs.stop() == 0
        text = (workspace / "issued").read_text()
    assert not any(value in lab.path("out.json").read_text() for value in seen)
    assert {record["dsn"] for record in lab.records()} == {"postgres://app:[REDACTED]@db"}
    # What was replaced stays known, also to a second start of pillion-secrets.
    (workspace / "second").mkdir()
    toml = secrets_toml(vault, workspace, ["key"]).replace('"@dir@/issued"', f'"{workspace}/issued"')
    with SecretsProgram(workspace / "second", toml) as ambassador:
        ambassador.wait_ready()
        after = (workspace / "issued").read_text()
    known = {line.split()[2] for line in text.splitlines()[1:]}
    assert known <= {line.split()[2] for line in after.splitlines()[1:]}


@requires_root
def test_within_a_service_both_find_each_other(services):
    service = services('''
        [service]
        name = "@name@"
        [volume.secrets]
        path = "/run/secrets"
        tmpfs = "1MiB"
        [app]
        command = ["/bin/sh", "-c", """
            echo level=info n=1 key=$(cat /run/secrets/key); exec sleep 1000"""]
        mounts = ["secrets:ro"]
        [ambassador.vault]
        use = "secrets"
        mounts = ["secrets"]
        [[ambassador.vault.config.file]]
        path = "/run/secrets/key"
        source = "file"
        secret = "@dir@/key"
        [adapter.logs]
        use = "logs"
        inherit_env = ["PILLION_LOG_DIR"]
        [[adapter.logs.config.input]]
        child = "app"
        [[adapter.logs.config.output]]
        file = { path = "@dir@/out/out.json" }
    ''')
    (service.directory / "key").write_text("service-value-77")
    (service.directory / "key").chmod(0o644)
    out = service.directory / "out"
    out.mkdir()
    out.chmod(0o777)
    service.start()
    wait_until(lambda: (out / "out.json").read_text().endswith("}\n"))
    directory = service.runtime_dir / "issued"
    status = directory.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2750, 1339, 1338)
    published = (directory / "vault").stat()
    assert (stat.S_IMODE(published.st_mode), published.st_uid, published.st_gid) == (0o640, 1339, 1338)
    done = run(["pillion-logs", "ledger", "--service", service.file, "--child", "logs"], env=service.env, check=0)
    assert "child app" in done.stdout and "this run: read" in done.stdout
    assert "records read" in service.child("logs")["status"]
    service.stop()
    record = json.loads((out / "out.json").read_text().splitlines()[0])
    assert record["key"] == "[REDACTED]" and "service-value-77" not in (out / "out.json").read_text()
    assert record["pillion.child"] == "app"


def test_fingerprints_that_cannot_be_read_are_an_error_at_the_start(lab):
    lab.path("issued").write_text("no fingerprints\n")
    configure(lab, lab.path("issued"))
    with lab.start(wait_ready=False) as logs:
        assert logs.wait() == 78
    assert "fields.redact_issued" in logs.stderr and "not a file of fingerprints" in logs.stderr
