"""Numbers of processes come round: a number that was a child's is not taken for the child."""
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.pillion_testing import requires_root

pytestmark = requires_root

SERVICE = '''
        [network]
        mode = "host"
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        backoff = { base = "1s", max = "1s", jitter = 0.0 }
        [app]
        command = ["/bin/sleep", "1000"]
'''


class Namespace:
    """The pid namespace whose PID 1 is the service's keeper: here the next number can be chosen."""

    def __init__(self, service):
        outer = service.process.pid
        self.keeper = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0]

    def run(self, script):
        result = subprocess.run(["nsenter", "-t", self.keeper, "-p", "-m", "sh", "-c", script], capture_output=True,
                                text=True, timeout=30, check=False)
        if "ns_last_pid" in result.stderr:
            pytest.skip(f"the next pid cannot be chosen here: {result.stderr}")
        assert result.returncode == 0, result.stderr

    def kill_and_choose_again(self, pid, then=":"):
        """Ends process `pid`; the next new process gets that number, once it is free. The shell itself starts none."""
        self.run(f"kill -9 {pid}; while kill -0 {pid} 2>/dev/null; do :; done; "
                 f"echo {pid - 1} > /proc/sys/kernel/ns_last_pid; {then}")


@pytest.fixture
def inside(services):
    service = services(SERVICE)
    service.run_prefix = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    service.start()
    namespace = Namespace(service)
    # The first restart is at once, the next ones leave time to choose.
    namespace.run(f"kill -9 {service.child('helper')['pid']}")
    service.wait_for(lambda: service.child("helper")["generation"] == 2 and service.child("helper")["state"] == "running",
                     what="the second generation")
    yield service, namespace
    os.kill(int(namespace.keeper), signal.SIGTERM)
    assert service.process.wait() == 143


def test_the_next_generation_may_have_the_number_of_the_one_before(inside):
    service, namespace = inside
    pid = service.child("helper")["pid"]
    namespace.kill_and_choose_again(pid)
    service.wait_for(lambda: service.child("helper")["generation"] == 3 and service.child("helper")["state"] == "running",
                     what="the third generation")
    assert service.child("helper")["pid"] == pid
    supervisor = service.status()["supervisor_pid"]
    namespace.run(f"kill -9 {supervisor}")
    service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, supervisor),
                     what="the next supervisor")
    helper = service.child("helper")
    assert (helper["generation"], helper["pid"], helper["state"]) == (3, pid, "running")
    namespace.run(f"kill -9 {pid}")
    service.wait_for(lambda: service.child("helper")["generation"] == 4, what="its end to be seen")


def test_a_stranger_with_the_number_of_a_child_is_left_alone(inside):
    """The child ends while nobody supervises, and somebody else gets its number before the next supervisor comes."""
    service, namespace = inside
    pid, supervisor = service.child("helper")["pid"], service.status()["supervisor_pid"]
    namespace.run(f"kill -STOP {supervisor}")
    namespace.kill_and_choose_again(pid, then=f"sleep 1234 > /dev/null 2>&1 & test $! = {pid}")
    namespace.run(f"kill -9 {supervisor}")
    service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, supervisor),
                     what="the next supervisor")
    service.wait_for(lambda: service.child("helper")["generation"] == 3 and service.child("helper")["state"] == "running",
                     what="the third generation")
    assert service.child("helper")["pid"] != pid
    namespace.run(f"tr '\\0' ' ' < /proc/{pid}/cmdline | grep -qx 'sleep 1234 '")
