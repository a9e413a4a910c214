"""What hardening does where it cannot have all: without root, and when everything is `required`."""
import os
import subprocess

import pytest

from support.hardening import probed_service, result_in, start_without
from support.pillion_testing import program, requires_root

pytestmark = requires_root


def run_as_nobody(service, *words, timeout=60):
    environment = {**os.environ, **{key: str(value) for key, value in service.env.items()}}
    return subprocess.run([program("pillion"), *map(str, words)], user="nobody", group="nogroup",
                          extra_groups=[], env=environment, capture_output=True, text=True, timeout=timeout)


def test_without_root_landlock_and_seccomp_hold_and_the_rest_is_named(services):
    service = probed_service(services)
    service.directory.chmod(0o777)
    result = run_as_nobody(service, "run", service.file)
    found = result_in(service)
    assert found, service.describe() + result.stderr
    assert found["uid"] == "65534"
    assert found["mount"] == found["ptrace"] == "EPERM"
    assert found["create /usr"] == "EACCES"
    for key in ("private_tmp", "private_devices", "hide_processes"):
        assert f"hardening of app is without {key} (needs root" in result.stderr
    assert "without landlock" not in result.stderr and "without seccomp" not in result.stderr


def test_without_root_what_is_required_is_an_error(services):
    service = probed_service(services, 'hardening = { required = true }')
    service.directory.chmod(0o777)
    result = run_as_nobody(service, "run", service.file)
    assert result.returncode == 71
    assert "hardening of app is `required`, but cannot be had here: private_tmp" in result.stderr
    assert result_in(service) is None


def test_required_is_met_by_root(services):
    service = probed_service(services, 'hardening = { required = true }')
    service.start(wait=False)
    service.process.wait()
    assert result_in(service)["create /usr"] == "EROFS"
    assert "hardening" not in service.output


@pytest.mark.parametrize("refused, missing", [
    (["mount_setattr=EPERM"], "read_only_system"),
    (["landlock_create_ruleset=ENOSYS"], "landlock (this kernel has none)"),
    (["landlock_restrict_self=EPERM"], "landlock (the Landlock ruleset: Operation not permitted)"),
    (["seccomp=EPERM"], "seccomp (the filter of system calls: Operation not permitted)"),
])
def test_what_the_machine_refuses_is_one_warning_in_the_status(services, refused, missing):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        [sidecar.other]
        command = ["/bin/sleep", "1000"]
''')
    start_without(service, refused)
    service.wait_ready()
    warnings = [text for text in service.status()["warnings"] if text.startswith("hardening is without ")]
    assert len(warnings) == 1
    assert missing in warnings[0] and "for app, other" in warnings[0]


def test_what_the_machine_refuses_is_an_error_when_it_is_required(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        restart = "never"
        hardening = { required = true }
''')
    start_without(service, ["mount_setattr=EPERM"])
    assert service.process.wait() == 71
    assert 'cannot start app: read_only_system (of `hardening`): read-only mount("/' in service.output
