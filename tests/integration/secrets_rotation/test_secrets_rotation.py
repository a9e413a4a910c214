"""Rotation under the eyes of others: no wrong mode, owner or partial content is ever visible."""
import hashlib
import os
import signal
import threading

import pytest

from support.fake_vault import FakeVault
from support.pillion_testing import requires_root, wait_until
from support.secrets_testing import SecretsProgram, vault_toml, watch_directory

ROTATIONS = 200
OWNER, GROUP = 12345, 23456


def secret_of(version):
    """Long enough for several writes, and every part of it tells whether the rest belongs to it."""
    line = hashlib.sha256(str(version).encode()).hexdigest()
    return f"{version}\n" + f"{line}\n" * 600


def is_whole(content):
    version = content.split(b"\n", 1)[0].decode()
    return version.isdigit() and content == secret_of(int(version)).encode()


class Readers:
    """Threads that read a file as fast as they can and keep what they should never have seen."""

    def __init__(self, path, count):
        self.path, self.wrong, self.reads, self.is_stopping = path, [], 0, False
        self.threads = [threading.Thread(target=self._read) for _ in range(count)]

    def _read(self):
        while not self.is_stopping:
            try:
                with open(self.path, "rb") as file:
                    status = os.fstat(file.fileno())
                    content = file.read()
            except FileNotFoundError:
                self.wrong.append("the file was missing")
                continue
            self.reads += 1
            if not is_whole(content):
                self.wrong.append(f"partial: {len(content)} bytes")
            if (status.st_mode & 0o7777, status.st_uid, status.st_gid) != (0o440, OWNER, GROUP):
                self.wrong.append(f"shape: {status.st_mode:o} {status.st_uid} {status.st_gid}")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_stopping = True
        for thread in self.threads:
            thread.join()


@pytest.fixture
def vault():
    with FakeVault() as server:
        yield server


@requires_root
def test_two_hundred_rotations_show_nothing_but_whole_files(workspace, vault):
    out = workspace / "out"
    out.mkdir()
    vault.put("orders", {"key": secret_of(1)})
    toml = vault_toml(vault, workspace) + f"""
        [[file]]
        path = "@dir@/out/key"
        secret = "secret/data/orders"
        field = "key"
        owner = "{OWNER}:{GROUP}"
        mode = "0440"
    """
    with watch_directory(out) as watch, SecretsProgram(workspace, toml) as ambassador:
        ambassador.wait_ready()
        with Readers(out / "key", 3) as readers:
            for version in range(2, ROTATIONS + 2):
                vault.put("orders", {"key": secret_of(version)})
                ambassador.program.signal(signal.SIGHUP)  # reads again at once
                wait_until(lambda v=version: (out / "key").read_bytes() == secret_of(v).encode())
        assert readers.wrong == []
        assert readers.reads > ROTATIONS
        assert ambassador.stop() == 0
        assert ambassador.receipt == {"files_written": str(ROTATIONS + 1)}
    assert os.listdir(out) == ["key"]

    # The name itself is only ever moved into place; nothing under it is created, written or changed.
    own = [what for what, name, _ in watch.events if name == "key"]
    assert set(own) == {"moved_to"}
    assert len(own) == ROTATIONS + 1
    for what, name, seen in watch.events:
        if name == "key" and seen:
            assert seen[:3] == (0o440, OWNER, GROUP) and is_whole(seen[3]), (what, seen[:3])
        elif name != "key":
            assert name.startswith(".key.pillion-"), name
            # Never readable by anybody but us before it is finished: 0600 ours, then the wanted mode and owner.
            assert seen is None or seen[0] in (0o600, 0o440), seen[:3]
            if seen and seen[1] == OWNER:
                assert is_whole(seen[3])


def test_certificate_and_key_change_together_or_not_at_all(workspace, vault):
    out = workspace / "out"
    (out / "sub").mkdir(parents=True)
    vault.put("tls", {"certificate": "c1", "key": "k1"})
    toml = vault_toml(vault, workspace) + """
        [[file]]
        path = "@dir@/out/tls.crt"
        secret = "secret/data/tls"
        field = "certificate"
        [[file]]
        path = "@dir@/out/sub/tls.key"
        secret = "secret/data/tls"
        field = "key"
    """
    with SecretsProgram(workspace, toml) as ambassador:
        ambassador.wait_ready()
        vault.put("tls", {"certificate": "c2"})
        ambassador.program.signal(signal.SIGHUP)
        wait_until(lambda: ambassador.files()[f"{out}/sub/tls.key"]["state"] == "stale")
        assert (out / "tls.crt").read_text() == "c1"
        assert ambassador.files()[f"{out}/tls.crt"]["state"] == "stale"
        vault.put("tls", {"certificate": "c3", "key": "k3"})
        wait_until(lambda: (out / "sub/tls.key").read_text() == "k3")
        assert (out / "tls.crt").read_text() == "c3"
