"""`pillion run` as what containers and systemd make of it: PID 1, without cgroups, with a parent that
listens for notifications."""
import signal
import socket

from support.pillion_testing import program, requires_root, run

HOST_APP = '''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "{script}"]
        restart = "never"
'''


def test_systemd_is_told_ready_status_and_stopping(services, workspace):
    path = workspace / "systemd"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(30)
        service = services(HOST_APP.format(script="exec sleep 1000"), env={"NOTIFY_SOCKET": path})
        service.start()
        messages = []

        def wait_for(text):
            while not any(text in message for message in messages):
                messages.append(systemd.recv(4096).decode())

        wait_for("READY=1")
        service.process.signal(signal.SIGTERM)
        wait_for("STOPPING=1")
        wait_for("EXTEND_TIMEOUT_USEC=")
        service.process.wait()
        assert any("STATUS=" in message for message in messages)


@requires_root
def test_as_pid_1_it_reaps_orphans_and_ends_with_the_apps_code(services):
    # The orphans are reparented to PID 1; a zombie that stays would be seen by `ps` in the app.
    script = "for i in 1 2 3 4 5; do (sh -c 'exit 0' &) ; done; sleep 0.5; ps -e -o stat | grep -c Z; exit 42"
    service = services(HOST_APP.format(script=script.replace('"', '\\"')))
    result = run(["unshare", "--pid", "--fork", "--mount-proc", program("pillion"), "run", service.file],
                 env=service.env)
    assert result.returncode == 42, result.stderr
    assert service.log("app").split()[-1] == "0"
    service.process = None


@requires_root
def test_without_cgroups_it_says_what_is_missing_and_runs_on(services):
    service = services(HOST_APP.format(script="sleep 1000 & trap 'exit 6' TERM; while :; do sleep 0.05; done"))
    shell = 'umount -l -R /sys/fs/cgroup && timeout -s TERM 3 "$@"'
    result = run(["unshare", "--mount", "sh", "-c", shell, "sh", program("pillion"), "run",
                  service.file], env=service.env)
    assert "no cgroups" in result.stderr
    assert "not enforced" in result.stderr
    assert "exit code 6" in result.stderr
