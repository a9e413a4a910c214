"""What opens a child's gate, and what the app does meanwhile: it waits."""
import os
import socket

import pytest

SEND = ("import os, socket, sys; "
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.argv[1].encode(), os.environ['NOTIFY_SOCKET'])")

GATES = {
    "notify": ("notify = true",
               'read line < @dir@/go; /usr/bin/python3 -c \\"$SEND\\" READY=1; exec sleep 1000'),
    "notification_fd": ("notification_fd = 5", "read line < @dir@/go; echo >&5; exec sleep 1000"),
    "log_line": ('log_line = "^serving on [0-9]+$"',
                 "echo not serving on 80 yet; read line < @dir@/go; echo serving on 80; exec sleep 1000"),
    "file": ('file = "@dir@/ready"', "read line < @dir@/go; touch @dir@/ready; exec sleep 1000"),
    "startup_probe": ('exec = { command = ["/bin/test", "-e", "@dir@/probed"] }, period = "100ms", failure_threshold = 100000',
                      "read line < @dir@/go; touch @dir@/probed; exec sleep 1000"),
}


def state_of(service, name):
    """"" while nobody answers yet."""
    return (service.child(name) or {}).get("state", "")


@pytest.mark.parametrize("kind", GATES)
def test_the_app_waits_for_the_gate_of_its_sidecar(services, kind):
    gate, script = GATES[kind]
    key = "startup_probe" if kind == "startup_probe" else "gate"
    service = services(f'''
        [network]
        mode = "host"
        [sidecar.helper]
        command = ["/bin/sh", "-c", "{script}"]
        env = {{ SEND = "{SEND}" }}
        {key} = {{ {gate} }}
        [app]
        command = ["/bin/sleep", "1000"]
''')
    go = service.directory / "go"
    os.mkfifo(go)
    service.start(wait=False)
    service.wait_for(lambda: state_of(service, "helper") == "gating", what="the helper to wait at its gate")
    status = service.child("app")
    assert (status["state"], status["generation"]) == ("waiting", 0)
    assert "helper" in status["why"]
    go.write_text("go\n")
    service.wait_ready()


def test_a_gate_that_never_opens_is_named_and_the_app_never_starts(services):
    service = services('''
        [network]
        mode = "host"
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        gate = { notify = true }
        start_timeout = "1s"
        [app]
        command = ["/bin/sh", "-c", "touch @dir@/app-started; exec sleep 1000"]
''')
    service.start(wait=False)
    service.wait_for(lambda: (service.child("helper") or {"restarts": 0})["restarts"] >= 1, what="the helper to be replaced")
    assert service.child("app")["generation"] == 0
    assert not (service.directory / "app-started").exists()
    assert "helper" in service.output


def test_a_status_text_of_a_child_is_shown(services):
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "/usr/bin/python3 -c \\"$SEND\\" \\"STATUS=warming 7 caches\\"; exec sleep 1000"]
        env = {{ SEND = "{SEND}" }}
''')
    service.start()
    service.wait_for(lambda: "warming 7 caches" in str(service.child("app")), what="the text in the status")


def test_strangers_cannot_speak_for_a_child(services):
    service = services('''
        [network]
        mode = "host"
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        gate = { notify = true }
        [app]
        command = ["/bin/sleep", "1000"]
''')
    service.start(wait=False)
    service.wait_for(lambda: state_of(service, "helper") == "gating", what="the gate")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"READY=1", str(service.runtime_dir / "notify.0"))
        for _ in range(3):
            assert state_of(service, "helper") == "gating"


def test_a_child_whose_watchdog_falls_silent_is_replaced(services):
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-S", "-c", "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET']); [s.send(b'WATCHDOG=1') or time.sleep(0.1) for _ in range(20)]; print('silent now', flush=True); time.sleep(1000)"]
        watchdog = "3s"
''')
    service.start()
    service.wait_for(lambda: "silent now" in service.log("app"), what="the silence")
    assert service.child("app")["generation"] == 1, "it was replaced while it still spoke"
    service.wait_for(lambda: service.child("app")["generation"] == 2, what="the next generation")
    assert "watchdog" in service.output
