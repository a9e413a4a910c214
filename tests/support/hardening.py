"""Running hardening_probe.py as the app of a service."""
import json
import shutil

from support.pillion_testing import PYTHON, SUPPORT, Program, program

# By hardening_probe.py's names; each gives EPERM under the default deny-list.
DENIED_CALLS = [
    "ptrace", "unshare", "setns", "mount", "umount2", "pivot_root", "reboot", "swapon", "init_module", "delete_module",
    "kexec_load", "keyctl", "add_key", "bpf", "perf_event_open", "userfaultfd", "settimeofday", "clock_settime", "iopl",
    "acct", "sethostname", "syslog", "open_by_handle_at", "process_vm_readv", "kcmp", "io_uring_setup", "fsopen",
    "open_tree", "move_mount", "mount_setattr", "pidfd_getfd", "personality_no_aslr", "clone_newuser", "clone_newnet",
    "tiocsti", "tiocsti_high_bits"]


def probed_service(services, more="", network='mode = "host"', seconds=""):
    """A service whose app is the probe; `more` goes below [app]."""
    service = services(f'''
        [network]
        {network}
        [app]
        command = ["/usr/bin/python3", "@support@/hardening_probe.py", "{seconds}"]
        restart = "never"
        {more}
''')
    shutil.copy(SUPPORT / "hardening_probe.py", service.directory / "support")
    return service


def result_in(service):
    for line in service.log("app").splitlines():
        if "RESULT {" in line:
            return json.loads(line.split("RESULT ", 1)[1])
    return None


def results_of(services, more="", network='mode = "host"'):
    """What the probe found, when it has ended."""
    service = probed_service(services, more, network)
    service.start(wait=False)
    service.process.wait()
    found = result_in(service)
    assert found, service.describe()
    return found


def start_without(service, refused):
    """`pillion run` where some system calls fail, as without_calls.py takes them."""
    service.process = Program([PYTHON, SUPPORT / "without_calls.py", *refused, "--", program("pillion"), "run",
                               service.file], service.directory, env=service.env)
