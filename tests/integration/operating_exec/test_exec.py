"""`pillion exec`: a command beside a child, as that child."""
import os
import pty
import select
import subprocess
import time

from support.pillion_testing import program, requires_root

HOST = '''
    [network]
    mode = "host"
    [sidecar.done]
    command = ["/bin/sh", "-c", "exit 3"]
    restart = "never"
    [app]
    command = ["/bin/sleep", "1000"]
    stop_signal = "SIGKILL"
    working_directory = "/usr"
    env = { COLOUR = "blue" }
'''


def execute(service, child, *command, options=()):
    return service.command("exec", *options, service.name, child, "--", *command)


def test_environment_directory_and_exit_codes_are_the_childs(services):
    service = services(HOST)
    service.start(wait=False)
    service.wait_for(lambda: (service.child("app") or {}).get("state") == "running")
    result = execute(service, "app", "/bin/sh", "-c", 'echo "$COLOUR $PWD $NOTIFY_SOCKET."; exit 7')
    assert (result.returncode, result.stdout) == (7, "blue /usr .\n"), result.stderr
    assert execute(service, "app", "/bin/sh", "-c", "kill -9 $$").returncode == 137
    assert execute(service, "app", "/no/such/program").returncode == 127
    assert execute(service, "app", "/etc/passwd").returncode == 126
    result = execute(service, "app", "/bin/sh", "-c", "echo $COLOUR; pwd",
                     options=("-e", "COLOUR=red", "-C", "/etc"))
    assert result.stdout == "red\n/etc\n"


def test_mistakes_are_told_apart_from_the_commands_own_codes(services):
    service = services(HOST)
    service.start(wait=False)
    service.wait_for(lambda: (service.child("done") or {}).get("state") == "failed")
    gone = execute(service, "done", "/bin/true")
    assert gone.returncode == 125
    assert "has no process now, it is failed" in gone.stderr
    assert f"pillion why {service.name} done" in gone.stderr
    nobody = execute(service, "nobody", "/bin/true")
    assert nobody.returncode == 125 and "there are: done, app" in nobody.stderr
    assert service.command("exec", "no-such-service", "app", "--", "/bin/true").returncode == 3
    assert "KEY=VALUE" in execute(service, "app", "/bin/true", options=("-e", "=x")).stderr


@requires_root
def test_user_groups_capabilities_and_network_are_the_childs(services):
    service = services('''
        [app]
        command = ["/bin/sleep", "1000"]
        stop_signal = "SIGKILL"
        user = "nobody"
        capabilities = ["CAP_NET_BIND_SERVICE"]
    ''').start()
    show = "id -u; id -G; grep -E 'CapPrm|CapEff|CapBnd|NoNewPrivs' /proc/self/status; cat /sys/class/net/eth0/address"
    beside = execute(service, "app", "/bin/sh", "-c", show)
    assert beside.returncode == 0, beside.stderr
    pid = service.child("app")["pid"]
    status = {line.split(":")[0]: line.split()[1:] for line in open(f"/proc/{pid}/status")}
    lines = beside.stdout.splitlines()
    assert lines[0] == status["Uid"][0] != "0"
    caps = dict(line.split(":\t") for line in lines[2:-1])
    for key in ("CapPrm", "CapEff", "CapBnd", "NoNewPrivs"):
        assert caps[key] == status[key][0], key
    inside = service.inside(["cat", "/sys/class/net/eth0/address"], check=None)
    assert len(lines[-1].split(":")) == 6 or inside.returncode != 0
    # A mount namespace may hide /sys of the child's; the namespace itself cannot lie.
    net = execute(service, "app", "/bin/readlink", "/proc/self/ns/net").stdout.strip()
    assert net == os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    as_root = execute(service, "app", "/usr/bin/id", "-u", options=("-u", "root"))
    assert as_root.stdout == "0\n", as_root.stderr


@requires_root
def test_with_cgroup_the_command_counts_for_the_child(services):
    service = services(HOST)
    service.start(wait=False)
    service.wait_for(lambda: (service.child("app") or {}).get("state") == "running")
    pid = service.child("app")["pid"]
    theirs = open(f"/proc/{pid}/cgroup").read()
    assert execute(service, "app", "/bin/cat", "/proc/self/cgroup", options=("--cgroup",)).stdout == theirs
    assert execute(service, "app", "/bin/cat", "/proc/self/cgroup").stdout == open("/proc/self/cgroup").read()


def test_on_a_terminal_the_command_gets_one(services):
    service = services(HOST)
    service.start(wait=False)
    service.wait_for(lambda: (service.child("app") or {}).get("state") == "running")
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "rows", "33", "cols", "99"], stdin=theirs, check=True)
    process = subprocess.Popen(
        [program("pillion"), "exec", service.name, "app", "--", "/bin/sh", "-c",
         "test -t 0 && stty size && read word && echo got $word && exit 4"],
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
        env={**os.environ, **{key: str(value) for key, value in service.env.items()}})
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 30
    has_typed = False
    while time.monotonic() < deadline and b"got hello" not in seen:
        if select.select([ours], [], [], 0.1)[0]:
            seen += os.read(ours, 4096)
        if b"33 99" in seen and not has_typed:
            has_typed = True
            os.write(ours, b"hello\n")
    assert b"33 99" in seen and b"got hello" in seen, (seen, process.poll())
    assert process.wait(30) == 4, process.stderr.read()
    os.close(ours)
