"""packaging/bootstrap.sh installs what is missing and only that; its list is enough to configure a clean Debian 12."""
import shutil
import subprocess
from pathlib import Path

import pytest

from support.pillion_testing import REPOSITORY, is_debian_mirror_reachable, requires_root, run

BOOTSTRAP = REPOSITORY / "packaging" / "bootstrap.sh"
TOOLS = ("sh", "awk", "sed", "grep", "dirname", "cat", "env", "id")


def listed(section):
    """The packages of one section of the list."""
    text = (REPOSITORY / "packaging" / "apt-packages.txt").read_text()
    body = text.split(f"[{section}]", 1)[1].split("\n[", 1)[0]
    return [line for line in body.splitlines() if line and not line.startswith("#")]


@pytest.fixture
def machine(tmp_path):
    """machine(installed, uid=0, apt=True, sudo=False) -> (result, what apt-get was asked for)."""
    def make(installed, uid=0, apt=True, sudo=False):
        shims = tmp_path / "bin"
        shims.mkdir()
        asked = tmp_path / "asked"
        for tool in TOOLS:
            (shims / tool).symlink_to(shutil.which(tool))
        scripts = {"id": f"echo {uid}"}
        if apt:
            scripts["dpkg-query"] = "\n".join(f"echo installed {package}" for package in installed) or ":"
            scripts["apt-get"] = f'echo "$@" >> {asked}'
        if sudo:
            scripts["sudo"] = f'echo sudo >> {asked}; exec "$@"'
        for name, text in scripts.items():
            (shims / name).unlink(missing_ok=True)
            (shims / name).write_text(f"#!/bin/sh\n{text}\n")
            (shims / name).chmod(0o755)
        result = run(["/bin/sh", BOOTSTRAP, "run"], env={"PATH": shims})
        return result, asked.read_text() if asked.exists() else ""
    return make


def test_with_everything_there_it_does_nothing(machine):
    result, asked = machine(listed("run"), uid=1000)
    assert (result.returncode, result.stderr, asked) == (0, "", "")


def test_it_installs_only_what_is_missing(machine):
    result, asked = machine(listed("run")[1:])
    assert result.returncode == 0
    assert f"install -y --no-install-recommends {listed('run')[0]}\n" in asked
    assert listed("run")[1] not in asked


def test_it_asks_sudo_when_not_root(machine):
    assert "sudo" in machine([], uid=1000, sudo=True)[1]


def test_without_root_and_sudo_it_says_what_to_run(machine):
    result, asked = machine([], uid=1000)
    assert result.returncode == 1 and asked == ""
    assert f"apt-get install {listed('run')[0]}" in result.stderr


def test_without_apt_it_names_the_packages_and_goes_on(machine):
    result, _ = machine([], apt=False)
    assert result.returncode == 0 and "has no apt" in result.stderr


@requires_root
def test_the_listed_packages_are_enough_to_configure_in_a_clean_root(workspace):
    if not shutil.which("mmdebstrap"):
        pytest.skip("no mmdebstrap here (make package installs it)")
    if not is_debian_mirror_reachable():
        pytest.skip("no Debian mirror can be reached: the list of packages is NOT tested")
    root = workspace / "root"
    sources = next(path for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
                   if path.exists())
    run(["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(listed('build'))}", "bookworm", root, sources],
        timeout=500, check=0)
    shutil.copytree(REPOSITORY, root / "src", ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
    for command in ("packaging/bootstrap.sh build", "cmake --preset release"):
        result = subprocess.run(["chroot", str(root), "/bin/sh", "-c", f"cd /src && {command}"], capture_output=True,
                                text=True, timeout=120, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr
