"""pillion-secrets with local files as the source: no server, every file with its owner and mode."""
import os
import signal
import socket
import stat

import pytest

from support.pillion_testing import PYTHON, Program, http_request, program, requires_root, run, wait_until
from support.secrets_testing import SecretsProgram

SECRET = "hunter2-never-in-a-log"


@pytest.fixture
def out(workspace):
    (workspace / "out").mkdir()
    (workspace / "out").chmod(0o711)
    return workspace / "out"


def shape(path):
    status = os.stat(path)
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def test_files_are_written_with_mode_and_followed_when_the_source_changes(workspace, out):
    (workspace / "source").write_bytes(SECRET.encode() + b"\n\x00\xff")
    (workspace / "env").write_text('# of orders\nexport API_KEY="k1"\nOTHER=x\n')
    with SecretsProgram(workspace, """
        [[file]]
        path = "@dir@/out/whole"
        secret = "@dir@/source"
        [[file]]
        path = "@dir@/out/api-key"
        secret = "@dir@/env"
        field = "API_KEY"
        mode = "0440"
    """) as ambassador:
        ambassador.wait_ready()
        assert (out / "whole").read_bytes() == SECRET.encode() + b"\n\x00\xff"
        assert shape(out / "whole") == (0o400, os.getuid(), os.getgid())
        assert (out / "api-key").read_text() == "k1"
        assert shape(out / "api-key")[0] == 0o440
        assert ambassador.status == "all 2 files are written"
        assert ambassador.admin("/ready").status == 200

        (workspace / "env").write_text("API_KEY=k2\n")
        wait_until(lambda: (out / "api-key").read_text() == "k2")
        (workspace / "new").write_bytes(b"replaced")
        os.replace(workspace / "new", workspace / "source")
        wait_until(lambda: (out / "whole").read_bytes() == b"replaced")

        assert ambassador.stop() == 0
        assert ambassador.receipt == {"files_written": "4"}
        assert "STOPPING=1" in ambassador.messages
        assert sorted(os.listdir(out)) == ["api-key", "whole"]
        assert SECRET not in ambassador.log + "".join(ambassador.messages)


def test_it_waits_for_a_missing_secret_and_says_which_and_why(workspace, out):
    (workspace / "env").write_text("OTHER=x\n")
    with SecretsProgram(workspace, """
        [[file]]
        path = "@dir@/out/a"
        secret = "@dir@/missing"
        [[file]]
        path = "@dir@/out/b"
        secret = "@dir@/env"
        field = "B"
    """) as ambassador:
        ambassador.wait_status(f"waiting for {workspace}/missing for {workspace}/out/a: "
                               f"cannot open {workspace}/missing: No such file or directory (and 1 more)")
        assert not ambassador.is_ready
        assert ambassador.admin("/ready").status == 503
        (workspace / "missing").write_text("here")
        ambassador.wait_status(f"{workspace}/env has no field `B` (it has: OTHER)")
        assert not ambassador.is_ready
        (workspace / "env").write_text("B=there\n")
        ambassador.wait_ready()
        assert (out / "a").read_text() == "here"
        assert (out / "b").read_text() == "there"


def test_a_source_that_disappears_or_breaks_leaves_the_last_good_file(workspace, out):
    (workspace / "source.json").write_text('{"a": "good"}')
    with SecretsProgram(workspace, """
        [[file]]
        path = "@dir@/out/a"
        secret = "@dir@/source.json"
        field = "a"
    """) as ambassador:
        ambassador.wait_ready()
        inode = (out / "a").stat().st_ino
        (workspace / "source.json").write_text('{"a": "torn')
        wait_until(lambda: ambassador.files()[f"{out}/a"]["state"] == "stale")
        assert ambassador.files()[f"{out}/a"]["problem"] == f"cannot use {workspace}/source.json: it is not valid JSON"
        (workspace / "source.json").unlink()
        wait_until(lambda: "No such file" in ambassador.files()[f"{out}/a"]["problem"])
        assert (out / "a").read_text() == "good"
        assert (out / "a").stat().st_ino == inode
        assert ambassador.admin("/ready").status == 200  # once written, always ready
        (workspace / "source.json").write_text('{"a": "better"}')
        wait_until(lambda: (out / "a").read_text() == "better")
        assert ambassador.files()[f"{out}/a"]["state"] == "current"
        assert "torn" not in ambassador.log


@requires_root
def test_owner_and_group_are_set_and_an_unprivileged_run_says_what_it_lacks(workspace, out):
    (workspace / "source").write_text("x")
    toml = """
        [[file]]
        path = "@dir@/out/a"
        secret = "@dir@/source"
        owner = "12345:23456"
    """
    with SecretsProgram(workspace, toml) as ambassador:
        ambassador.wait_ready()
        assert shape(out / "a") == (0o400, 12345, 23456)
        ambassador.stop()
    (out / "a").unlink()
    os.chown(out, 65534, 65534)
    (workspace / "notify").unlink()
    with SecretsProgram(workspace, toml, argv=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                               program("pillion-secrets"), "--config",
                                               workspace / "secrets.toml"]) as ambassador:
        ambassador.wait_status(f"cannot give {out}/a to uid 12345, gid 23456: uid 65534 lacks CAP_CHOWN")
        assert not ambassador.is_ready
        assert os.listdir(out) == []


def test_fail_ends_with_71_and_start_degraded_gets_ready_without(workspace, out):
    toml = """
        on_unavailable = "@mode@"
        [[file]]
        path = "@dir@/out/a"
        secret = "@dir@/missing"
    """
    with SecretsProgram(workspace, toml.replace("@mode@", "fail")) as ambassador:
        assert ambassador.program.wait() == 71
        assert f"giving up: no {workspace}/missing" in ambassador.log
    (workspace / "notify").unlink()
    with SecretsProgram(workspace, toml.replace("@mode@", "start-degraded")) as ambassador:
        ambassador.wait_ready()
        assert "waiting for" in ambassador.status
        (workspace / "missing").write_text("late")
        wait_until(lambda: (out / "a").exists())
        ambassador.wait_status("all 1 files are written")


def test_hangup_reloads_the_configuration_or_keeps_the_old_one(workspace, out):
    (workspace / "source").write_text("x")
    first = """
        [[file]]
        path = "@dir@/out/a"
        secret = "@dir@/source"
    """
    with SecretsProgram(workspace, first) as ambassador:
        ambassador.wait_ready()
        ambassador.write_config(first + "\n[nonsense]\n")
        ambassador.program.signal(signal.SIGHUP)
        ambassador.wait_log("the new configuration is not valid: keeping the old one")
        assert "nonsense" in ambassador.log  # every problem is shown
        ambassador.write_config(first + """
        [[file]]
        path = "@dir@/out/b"
        secret = "@dir@/source"
        """)
        inode = (out / "a").stat().st_ino
        ambassador.program.signal(signal.SIGHUP)
        wait_until(lambda: (out / "b").exists())
        assert (out / "a").stat().st_ino == inode
        assert ambassador.stop() == 0
        assert ambassador.receipt == {"files_written": "2"}


def test_bad_configuration_is_78_with_every_problem_and_nothing_opened(workspace):
    (workspace / "bad.toml").write_text('refresh = 5\n[[file]]\npath = "relative"\n')
    result = run(["pillion-secrets", "--config", workspace / "bad.toml"], check=78)
    assert "bad.toml:1:" in result.stderr
    assert "bad.toml:3:" in result.stderr
    assert run(["pillion-secrets"]).returncode == 78
    assert "pillion-secrets" in run(["pillion-secrets", "--version"], check=0).stdout


def test_admin_is_served_on_the_listener_that_was_handed_over(workspace, out):
    (workspace / "source").write_text("x")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(workspace / "admin"))
    listener.listen(16)
    config = workspace / "own.toml"
    config.write_text(f'[[file]]\npath = "{out}/a"\nsecret = "{workspace}/source"\n')
    listener.setblocking(False)
    hand_over = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
    with Program([PYTHON, "-c", hand_over, listener.fileno(), program("pillion-secrets"), "--config", config],
                 workspace, env={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "admin"},
                 pass_fds=[listener.fileno()]) as ambassador:
        wait_until(lambda: (out / "a").exists())
        url = f"unix:{workspace}/admin:"
        wait_until(lambda: http_request("GET", url + "/ready").status == 200)
        assert b"pillion_secrets_file_written" in http_request("GET", url + "/metrics").body
        assert ambassador.stop() == 0
    listener.close()


def test_memory_is_not_readable_by_others_of_its_user(workspace, out):
    (workspace / "source").write_text("x")
    with SecretsProgram(workspace, """
        [[file]]
        path = "@dir@/out/a"
        secret = "@dir@/source"
    """) as ambassador:
        ambassador.wait_ready()
        limits = open(f"/proc/{ambassador.program.pid}/limits").read()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
        assert os.stat(f"/proc/{ambassador.program.pid}/environ").st_uid == 0  # of a process that is not dumpable
