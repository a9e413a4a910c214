"""The packages, and a Debian 12 that has only them: made once for all tests of this scenario."""
import os
import shutil
from pathlib import Path

import pytest

from support.pillion_testing import REPOSITORY, is_debian_mirror_reachable, make_workspace, remove_workspace, run


@pytest.fixture(scope="session")
def packages():
    """Directory with a .deb and, where rpmbuild is, a .rpm of the programs under test."""
    workspace = make_workspace()
    build = Path(os.environ.get("PILLION_BUILD", REPOSITORY / "build" / "release"))
    run([REPOSITORY / "packaging" / "build-packages.sh", build, workspace], timeout=300, check=0)
    yield workspace
    remove_workspace(workspace)


@pytest.fixture(scope="session")
def deb(packages):
    return next(packages.glob("*.deb"))


@pytest.fixture(scope="session")
def clean_root(packages, deb):
    """A Debian 12 of its own with the .deb installed by apt."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("no mmdebstrap here (make package installs it)")
    if not is_debian_mirror_reachable():
        pytest.skip("no Debian mirror can be reached: the installation is NOT tested")
    root = packages / "root"
    sources = next((path for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
                    if path.exists()), None)
    # mmdebstrap names the file inside the root by its path outside: the hook makes it visible there.
    command = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={deb}",
               "--hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount", "bookworm", root, sources]
    result = run(command, timeout=500)
    assert result.returncode == 0, result.stdout + result.stderr
    return root
