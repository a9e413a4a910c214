"""The packages: what is in them, that lintian is content, and that the .deb installs into a clean Debian 12."""
import os
import shutil
import stat
import subprocess

import pytest

from support.pillion_testing import REPOSITORY, requires_root, run

USERS = {"pillion-proxy": 1337, "pillion-logs": 1338, "pillion-secrets": 1339, "pillion-egress": 1340,
         "pillion-metrics": 1341}
FILES = ["/usr/bin/pillion", "/usr/bin/pillion-keeper", "/usr/bin/pillion-netns", "/usr/bin/pillion-proxy",
         "/usr/bin/pillion-logs", "/usr/bin/pillion-metrics", "/usr/bin/pillion-secrets",
         "/usr/lib/systemd/system/pillion@.service",
         "/usr/lib/sysusers.d/pillion.conf", "/etc/pillion/example.toml.sample",
         "/usr/share/man/man8/pillion.8.gz", "/usr/share/bash-completion/completions/pillion"]
# The project has no mail address or archive yet; a removal stops services by systemctl on purpose.
# pillion-init is linked statically on purpose: it must run in a namespace of any mounts, and stay small.
LINTIAN_ACCEPTED = ("bogus-mail-host,bogus-mail-host-in-debian-changelog,maintainer-script-calls-systemctl,"
                    "statically-linked-binary")
SERVICE_WITH_TWO_MISTAKES = '[app]\ncomand = ["/bin/true"]\n[sidecar.proxy]\nuse = "prxy"\n'


def test_the_deb_holds_programs_unit_manuals_and_depends_on_libraries(deb):
    listing = run(["dpkg-deb", "-c", deb], check=0).stdout
    missing = [path for path in FILES if f".{path}\n" not in listing]
    assert not missing, missing
    assert "/tests/" not in listing
    depends = run(["dpkg-deb", "-f", deb, "Depends"], check=0).stdout
    for library in ("libc6", "libuv1", "libcurl4", "libnftables1"):
        assert library in depends


def test_the_rpm_holds_the_same_files(packages):
    found = list(packages.glob("*.rpm"))
    if not found:
        pytest.skip("no rpmbuild here (make package installs it)")
    listing = run(["rpm", "-qpl", found[0]], check=0).stdout.splitlines()
    assert not [path for path in FILES if path not in listing]
    assert "1337" in run(["rpm", "-qp", "--scripts", found[0]], check=0).stdout


def test_lintian_finds_no_error(deb):
    if not shutil.which("lintian"):
        pytest.skip("no lintian here (make package installs it)")
    result = run(["lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", LINTIAN_ACCEPTED, deb],
                 timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_unit_gives_the_stop_to_the_keeper_alone():
    unit = (REPOSITORY / "packaging" / "systemd" / "pillion@.service").read_text().splitlines()
    for line in ("Type=notify", "NotifyAccess=all", "Delegate=yes", "KillMode=mixed", "TimeoutStopSec=3660"):
        assert line in unit
    if shutil.which("systemd-analyze"):
        result = run(["systemd-analyze", "verify", REPOSITORY / "packaging" / "systemd" / "pillion@.service"])
        assert "Unknown" not in result.stderr, result.stderr


def in_root(root, *words):
    return subprocess.run(["chroot", str(root), *words], capture_output=True, text=True, timeout=60, check=False,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})


@requires_root
def test_apt_installs_it_with_its_users(clean_root):
    assert in_root(clean_root, "dpkg-query", "-W", "-f", "${db:Status-Status}", "pillion").stdout == "installed"
    passwd = dict(line.split(":")[0::2][:2] for line in (clean_root / "etc/passwd").read_text().splitlines())
    assert {name: int(passwd[name]) for name in USERS} == USERS


@requires_root
def test_check_works_there(clean_root):
    good = in_root(clean_root, "pillion", "check", "/usr/share/doc/pillion/examples/minimal.toml")
    assert good.returncode == 0, good.stdout + good.stderr
    (clean_root / "etc/pillion/bad.toml").write_text(SERVICE_WITH_TWO_MISTAKES)
    bad = in_root(clean_root, "pillion", "check", "/etc/pillion/bad.toml")
    assert bad.returncode == 78
    assert "bad.toml:2:1" in bad.stderr and "did you mean `proxy`" in bad.stderr


@requires_root
def test_every_program_finds_its_libraries_there(clean_root):
    for path in [path for path in FILES if path.startswith("/usr/bin/")]:
        assert "not found" not in in_root(clean_root, "ldd", path).stdout, path
        assert os.stat(f"{clean_root}{path}").st_mode & stat.S_IXOTH
    assert in_root(clean_root, "pillion", "--version").returncode == 0


@requires_root
def test_the_adjusted_example_file_survives_a_removal_and_a_purge_takes_it(clean_root):
    mine = clean_root / "etc/pillion/mine.toml"
    mine.write_text("# mine\n")
    result = in_root(clean_root, "dpkg", "--purge", "pillion")
    assert result.returncode == 0, result.stderr
    assert mine.exists() and not (clean_root / "usr/bin/pillion").exists()
    assert not (clean_root / "etc/pillion/example.toml.sample").exists()
