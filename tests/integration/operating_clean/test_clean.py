"""`pillion clean` removes what crashed services left, and touches nothing of those that run."""
import json
import os
import subprocess
from pathlib import Path
from signal import SIGKILL, pidfd_send_signal

from support.pillion_testing import requires_root, run, wait_until

BRIDGED = '''
    [network]
    mode = "bridged"
    publish = ["@port:web@:8080"]
    [volume.data]
    path = "@dir@/mounted/here"
    tmpfs = "1MiB"
    [sidecar.proxy]
    use = "proxy"
    [app]
    command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
    mounts = ["data"]
    ports = [{ name = "http", port = 8080, protocol = "http" }]
'''
PLAIN = '''
    [network]
    mode = "host"
    [app]
    command = ["/bin/sleep", "1000"]
'''


def kill(pid):
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        pidfd_send_signal(handle, SIGKILL)
    finally:
        os.close(handle)


def crash(service):
    """Takes keeper and supervisor away at once, as the end of a machine's memory would."""
    status = service.status()
    keeper = service.process.pid
    kill(keeper)
    kill(status["supervisor_pid"])
    wait_until(lambda: not service.process.is_running())
    return [child["pid"] for child in status["children"] if child.get("pid")]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def leftovers(service, *words):
    result = service.command("clean", service.name, "--json", *words)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [one["service"] for one in found] in ([], [service.name])
    return [(one["kind"], one["what"]) for one in (found[0]["leftovers"] if found else [])]


@requires_root
def test_everything_that_a_crashed_bridged_service_left_is_removed(services):
    service = services(BRIDGED).start()
    pids = crash(service)
    seen = leftovers(service, "--dry-run")
    assert {"cgroup", "network", "directory"} <= {kind for kind, _ in seen}, seen
    # Somebody who is still there, in a group of the service.
    groups = [what.removeprefix("cgroup ") for kind, what in seen if kind == "cgroup"]
    stray = subprocess.Popen(["/bin/sleep", "1000"])
    try:
        for group in groups:
            if "cpuset" not in group:  # of version 1: takes nobody before it has CPUs
                Path(group, "cgroup.procs").write_text(str(stray.pid))
        seen = leftovers(service, "--dry-run")
        assert ("process", f"process {stray.pid} (sleep)") in seen
        assert is_alive(stray.pid), "a dry run only looks"
        assert leftovers(service, "--dry-run") == seen
        removed = leftovers(service)
        assert stray.wait(timeout=10) == -SIGKILL
    finally:
        kill(stray.pid)
        stray.wait()
    assert {"process", "cgroup", "network", "directory"} <= {kind for kind, _ in removed}
    assert any("table inet pillion_" in what for _, what in removed)
    assert not any(is_alive(pid) for pid in pids)
    assert not Path(f"/run/netns/{service.namespace}").exists()
    assert not service.runtime_dir.exists()
    assert not (service.directory / "mounted").exists(), "mount points that it made"
    assert service.log_dir.exists(), "logs are not leftovers"
    assert "nothing is left" in service.command("clean", service.name).stdout
    # And the service starts again as if nothing had been.
    service.start()


@requires_root
def test_a_running_service_is_not_touched(services):
    service = services(PLAIN).start()
    refused = service.command("clean", service.name)
    assert refused.returncode == 1 and "runs" in refused.stderr and "stop it first" in refused.stderr
    # Not even by somebody who looks for it in another directory.
    elsewhere = dict(service.env, PILLION_RUNTIME_DIR=service.directory / "elsewhere")
    blind = run(["pillion", "clean", service.name], env=elsewhere)
    assert blind.returncode == 1 and "its keeper is pid" in blind.stderr
    names = [one["service"] for one in json.loads(run(["pillion", "clean", "--dry-run", "--json"],
                                                      env=service.env).stdout)]
    assert service.name not in names
    assert service.status()["ready"]


def test_a_directory_of_somebody_else_is_no_leftover(services):
    service = services(PLAIN).start()
    other = service.runtime_parent / "not-ours"
    other.mkdir()
    (other / "precious").write_text("data")
    try:
        result = service.command("clean", "not-ours")
        assert result.returncode == 0 and "nothing is left" in result.stdout
        assert (other / "precious").read_text() == "data"
    finally:
        subprocess.run(["rm", "-r", str(other)], check=True)
