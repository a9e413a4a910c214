"""Boots Debian 12 with systemd and pure cgroup v2 in qemu (software emulation) and runs tests/vm/guest there.

What only such a machine has: limits of cgroup v2, delegation to a unit, Type=notify, the watchdog, `systemctl stop`, a
package upgrade by dpkg, a reboot. The image is built once (build_image.sh) and kept in the build directory; each run
boots it from a throw-away overlay, and it reboots itself once.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MACHINE_SECONDS = 1500  # a bound for a busy machine; on a quiet one both boots with all cases take some three minutes


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (apt packages qemu-system-x86, mmdebstrap, e2fsprogs)")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{test name: "" or what went wrong} as the guest reported it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to build the image")
    need("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs")
    build = Path(os.environ.get("PILLION_BUILD", HERE.parent.parent / "build" / "release"))
    cache = (build / "CMakeCache.txt").read_text()
    if not re.search(r"^PILLION_SANITIZE:\w+=$", cache, re.MULTILINE):
        pytest.skip("the package of a sanitizer build does not run elsewhere")
    image = build / "vm"
    built = subprocess.run([HERE / "build_image.sh", image], capture_output=True, text=True, timeout=900)
    if built.returncode != 0:
        pytest.skip(f"cannot build the image (is the Debian mirror reachable?): {built.stderr[-2000:]}")

    work = tmp_path_factory.mktemp("vm")
    payload = work / "payload"
    shutil.copytree(HERE / "guest", payload / "guest")
    subprocess.run([HERE.parent.parent / "packaging" / "build-packages.sh", build, work / "packages"], check=True,
                   capture_output=True, timeout=300)
    shutil.copy(next((work / "packages").glob("*.deb")), payload)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", payload, work / "payload.ext4", "96M"], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image / "root.ext4",
                    work / "root.qcow2"], check=True)
    log = work / "tests.log"
    command = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024",
               "-nographic", "-monitor", "none", "-net", "none",
               "-kernel", image / "vmlinuz", "-initrd", image / "initrd.img",
               "-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off",
               "-drive", f"file={work / 'root.qcow2'},if=virtio,format=qcow2,cache=unsafe",
               "-drive", f"file={work / 'payload.ext4'},if=virtio,format=raw,readonly=on",
               "-serial", f"file:{work / 'console.log'}", "-serial", f"file:{log}"]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, timeout=MACHINE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pass  # the log says how far it came
    text = log.read_text(errors="replace") if log.exists() else ""
    print(text)
    assert "guest tests are over" in text, (
        f"the guest did not finish\n{text[-8000:]}\n{(work / 'console.log').read_text(errors='replace')[-3000:]}")
    return {name: "" if word == "ok" else problem or "failed" for word, name, problem in
            re.findall(r"^(ok|not ok) (\w+)(?:: ([^\r\n]*))?", text, re.MULTILINE)}


GUEST_TESTS = re.findall(r"^def test_(\w+)", (HERE / "guest" / "guest_tests.py").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", GUEST_TESTS)
def test_guest(results, name):
    assert name in results, f"the guest did not report {name}"
    assert results[name] == "", results[name]
