"""The deny-list of system calls: relaxed by name, by group, by capability; logging and killing instead of failing."""
import pytest

from support.hardening import DENIED_CALLS, results_of
from support.pillion_testing import requires_root

pytestmark = requires_root


def test_calls_and_groups_can_be_taken_off_and_added(services):
    found = results_of(services, 'hardening = { seccomp_allow = ["@debug", "io_uring_setup"], seccomp_deny = ["getpid"] }')
    changed = {"ptrace", "process_vm_readv", "kcmp", "pidfd_getfd", "io_uring_setup"}
    assert [name for name in changed if found[name] == "EPERM"] == []
    assert found["getpid"] == "EPERM"
    assert [name for name in DENIED_CALLS if name not in changed and found[name] != "EPERM"] == []


def test_a_capability_takes_what_it_is_for_off_the_list(services):
    found = results_of(services, 'capabilities = ["CAP_SYS_ADMIN"]')
    assert found["mount"] != "EPERM" and found["setns"] == "EBADF"
    assert found["ptrace"] == found["kexec_load"] == found["init_module"] == "EPERM"


def test_logging_lets_calls_through(services):
    found = results_of(services, 'hardening = { seccomp_action = "log" }')
    assert found["process_vm_readv"] == found["kcmp"] == "ok"
    assert found["clone3"] == "EINVAL"


def test_killing_ends_the_process_and_the_reason_is_told(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-c", "import ctypes; ctypes.CDLL(None).syscall(101, 16, 0, 0, 0)"]
        restart = "never"
        hardening = { seccomp_action = "kill" }
''')
    service.start(wait=False)
    assert service.process.wait() == 128 + 31
    assert "SIGSYS" in service.output


@pytest.mark.parametrize("text, message", [
    ('seccomp_allow = ["@mont"]', "did you mean `@mount`?"),
    ('seccomp_deny = ["Not a call"]', "the name of a system call"),
])
def test_what_cannot_be_a_call_is_a_configuration_error(services, text, message):
    service = services(f'''
        [app]
        command = ["/bin/true"]
        hardening = {{ {text} }}
''')
    service.start(wait=False)
    assert service.process.wait() == 78
    assert message in service.output


def test_an_unknown_call_is_named_before_the_app_starts(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/echo", "started"]
        hardening = { seccomp_allow = ["mont"] }
''')
    service.start(wait=False)
    assert service.process.wait() == 71
    assert 'no system call is named "mont"' in service.output
    assert "started" not in service.log("app")


def test_it_holds_without_no_new_privileges_too(services):
    found = results_of(services, 'user = "nobody"\n        hardening = { no_new_privileges = false }')
    assert found["uid"] == "65534"
    assert [name for name in DENIED_CALLS if found[name] != "EPERM"] == []
    assert found["create /usr"] in ("EROFS", "EACCES")
