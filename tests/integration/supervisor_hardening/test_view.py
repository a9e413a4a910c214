"""What a child sees of the file system, its devices and other processes: tried by a real process, with the
default hardening and with each part of it switched off."""
import os
import stat
import tempfile
from pathlib import Path

import pytest

from support.hardening import DENIED_CALLS, results_of
from support.pillion_testing import requires_root

pytestmark = requires_root

READ_ONLY = ["create /usr", "create /usr/lib", "create /etc", "create /boot", "chmod /usr/bin/env",
             "write /proc/sys/kernel/core_pattern", "write /proc/irq/default_smp_affinity",
             "write /sys/kernel/mm/ksm/run"]
ORDINARY = ["thread", "subprocess", "socket", "listen", "executable memory", "execute from tmp", "move", "signal own",
            "pty", "clone", "unshare_files", "personality_query", "getpid", "null", "urandom", "create /tmp",
            "create /var/tmp", "create /dev/shm"]


def those(found, names):
    return {name: found[name] for name in names}


def all_are(value, names):
    return {name: value for name in names}


def test_by_default_a_root_app_can_do_what_services_do_and_nothing_else(services):
    found = results_of(services)
    assert those(found, ORDINARY) == all_are("ok", ORDINARY)
    assert those(found, DENIED_CALLS) == all_are("EPERM", DENIED_CALLS)
    assert found["clone3"] == found["uselib"] == found["sysfs"] == "ENOSYS"
    writable = [name for name in READ_ONLY if found[name] not in ("EROFS", "ENOENT")]
    assert not writable
    assert found["mknod"] == "EPERM"
    # An empty file in its place: read() gives nothing.
    assert found["read /proc/kcore"] in ("EBADF", "ENOENT")
    assert found["read /proc/timer_list"] in ("EBADF", "ENOENT")
    assert not [name for name in found["devices"].split() if stat.S_ISBLK(os.stat("/dev/" + name).st_mode)]
    assert (found["tmp"], found["fill /tmp"], found["room in /tmp"]) == ("", "ENOSPC", "256")
    assert found["pids"] == found["pid"]
    # What lies beside the system stays writable: a checkout in /root, state below /var, sockets in /run.
    for name in ("create /root", "create /run", "create /var/lib"):
        assert found[name] == "ok", name


def test_an_app_with_a_user_of_its_own_is_confined_alike(services):
    found = results_of(services, 'user = "nobody"')
    assert found["uid"] == "65534"
    assert those(found, ORDINARY) == all_are("ok", ORDINARY)
    assert those(found, DENIED_CALLS) == all_are("EPERM", DENIED_CALLS)
    assert not [name for name in READ_ONLY if found[name] == "ok"]
    assert found["pids"] == found["pid"]


def test_inside_its_own_network_it_sees_the_interfaces_of_that(services):
    found = results_of(services, network='mode = "bridged"')
    assert found["interfaces"] == "eth0 lo"
    assert found["write /sys/kernel/mm/ksm/run"] in ("EROFS", "ENOENT")


@pytest.mark.parametrize("key, check", [
    ("private_tmp", lambda found: found["tmp"] != "" and found["create /tmp"] == "ok"),
    ("private_devices", lambda found: len(found["devices"].split()) > 20 or "vda" in found["devices"]),
    ("hide_processes", lambda found: "1" in found["pids"].split()),
    ("seccomp", lambda found: found["clone3"] == "EINVAL" and found["process_vm_readv"] == "ok"),
])
def test_each_part_can_be_switched_off(services, key, check):
    with tempfile.NamedTemporaryFile(dir="/tmp", prefix="pillion-seen-"):
        found = results_of(services, f"hardening = {{ {key} = false }}")
    assert check(found), found
    assert found["create /usr"] == "EROFS"


def test_without_read_only_system_and_landlock_the_system_is_writable(services):
    found = results_of(services, "hardening = { read_only_system = false, landlock = false }")
    assert found["create /usr"] == found["create /etc"] == "ok"
    assert found["create /tmp"] == "ok"


def test_writable_paths_are_exceptions(services, workspace):
    directory = Path(tempfile.mkdtemp(prefix="pillion-test-", dir="/usr/local"))
    try:
        service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "touch {directory}/mine && echo written; touch /usr/local/not || echo refused"]
        restart = "never"
        hardening = {{ writable_paths = ["{directory}"] }}
''')
        service.start(wait=False)
        assert service.process.wait() == 0
        assert "written" in service.log("app") and "refused" in service.log("app")
        assert (directory / "mine").exists()
    finally:
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()


def test_a_writable_path_that_is_missing_is_named(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/true"]
        hardening = { writable_paths = ["/etc/no-such-thing"] }
''')
    service.start(wait=False)
    assert service.process.wait() == 71
    assert 'writable_paths of app: "/etc/no-such-thing" does not exist' in service.output


@pytest.mark.parametrize("parent", ["/tmp", "/var/tmp"])
def test_a_command_and_a_working_directory_in_tmp_stay_visible(services, parent):
    with tempfile.TemporaryDirectory(dir=parent, prefix="pillion-test-") as place:
        Path(place, "app").mkdir()
        program = Path(place, "app", "start.sh")
        program.write_text('#!/bin/sh\n. "$(dirname "$0")/settings"\nls -A ' + parent + '\npwd\necho "$WORD"\n')
        Path(place, "app", "settings").write_text("WORD=beside\n")
        program.chmod(0o755)
        work = Path(place, "work")
        work.mkdir()
        service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "{program}", "--data={work}"]
        working_directory = "{work}"
        restart = "never"
''')
        service.start(wait=False)
        assert service.process.wait() == 0, service.log("app")
        said = [line.split(" ", 3)[3] for line in service.log("app").splitlines()]
        assert said == [Path(place).name, str(work), "beside"]


def test_a_volume_in_tmp_is_mounted_on_top(services):
    service = services('''
        [network]
        mode = "host"
        [volume.shared]
        path = "/tmp/@name@/deep/shared"
        tmpfs = "1MiB"
        [app]
        command = ["/bin/sh", "-c", "echo here > /tmp/@name@/deep/shared/file; ls -A /tmp; cat /tmp/@name@/deep/shared/file"]
        mounts = ["shared:rw"]
        restart = "never"
''')
    service.start(wait=False)
    assert service.process.wait() == 0, service.log("app")
    assert service.log("app").splitlines()[-1].endswith(" here")
    assert service.name in service.log("app")


def test_tmp_size_bounds_tmp(services):
    found = results_of(services, 'hardening = { tmp_size = "3MiB" }')
    assert (found["fill /tmp"], found["room in /tmp"]) == ("ENOSPC", "3")


def test_children_do_not_see_each_others_tmp_but_their_own_probes_do(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "touch /tmp/of-the-app; exec sleep 1000"]
        startup_probe = { exec = { command = ["/bin/sh", "-c", "test -e /tmp/of-the-app && ! test -e /tmp/of-the-sidecar"] }, period = "200ms", failure_threshold = 50 }
        [sidecar.other]
        command = ["/bin/sh", "-c", "touch /tmp/of-the-sidecar; exec sleep 1000"]
        gate = { file = "/tmp/of-the-sidecar" }
''')
    service.start()
    assert not Path("/tmp/of-the-app").exists() and not Path("/tmp/of-the-sidecar").exists()


def test_a_hook_may_signal_the_app(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'echo asked; exit 0' USR1; trap '' TERM; echo $$ > /run/@name@.pid; while :; do sleep 0.1; done"]
        gate = { file = "/run/@name@.pid" }
        pre_stop = { exec = { command = ["/bin/sh", "-c", "kill -USR1 $(cat /run/@name@.pid)"] } }
''')
    pid_file = Path(f"/run/{service.name}.pid")
    try:
        service.start()
        service.stop()
        assert "asked" in service.log("app")
    finally:
        pid_file.unlink(missing_ok=True)
