"""user_namespace = true: root inside, an ordinary user outside; with a supervisor that is root and with one that is not."""
import json
import os
import subprocess
from pathlib import Path

import pytest

from support.pillion_testing import requires_root

UID = 64127


def can_make_user_namespace():
    words = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "unshare", "-U", "true"]
    return subprocess.run(words, capture_output=True).returncode == 0


pytestmark = [requires_root, pytest.mark.skipif(
    os.geteuid() == 0 and not can_make_user_namespace(), reason="this machine forbids unprivileged user namespaces")]

LOOK = r'''
import json, os, socket, sys, time
directory = sys.argv[1]
def attempt(action):
    try:
        action()
        return "ok"
    except OSError as error:
        return error.strerror
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
    channel.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
print("LOOK " + json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "map": open("/proc/self/uid_map").read().split(),
    "effective": int(status["CapEff"], 16), "bounding": int(status["CapBnd"], 16),
    "write": attempt(lambda: open(directory + "/made", "w").close()),
    "system": attempt(lambda: open("/usr/made", "w").close()), "tmp": sorted(os.listdir("/tmp")),
    "tmp_write": attempt(lambda: open("/tmp/made-by-pillion-test", "w").close()),
    "setuid": attempt(lambda: os.setuid(1))}), flush=True)
time.sleep(1000)
'''


def user_service(services, more="", **options):
    service = services(f"""
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "@dir@/look.py", "@dir@/own"]
        gate = {{ notify = true }}
        restart = "never"
        {more}
""", **options)
    (service.directory / "look.py").write_text(LOOK)
    own = service.directory / "own"
    own.mkdir()
    os.chown(own, options.get("uid") or 65534, options.get("uid") or 65534)
    return service


def look(service):
    service.start()
    line = service.wait_for(lambda: [text for text in service.log("app").splitlines() if "LOOK " in text], what="its look")
    return json.loads(line[0].split("LOOK ", 1)[1])


def outer_uids(pid):
    line = next(text for text in Path(f"/proc/{pid}/status").read_text().splitlines() if text.startswith("Uid:"))
    return {int(word) for word in line.split()[1:]}


@pytest.mark.parametrize("pids", ["host", "child"])
def test_root_inside_is_the_childs_user_outside_and_has_no_power(services, pids):
    service = user_service(services, f"""user = "nobody"
        hardening = {{ user_namespace = true, required = true, pid_namespace = "{pids}" }}
        liveness_probe = {{ exec = {{ command = ["/bin/sh", "-c", "test $(id -u) = 0"] }}, period = "200ms", timeout = "10s" }}
""")
    found = look(service)
    assert (found["uid"], found["map"]) == (0, ["0", "65534", "1"])
    assert (found["effective"], found["bounding"]) == (0, 0)
    assert (found["write"], found["tmp_write"]) == ("ok", "ok")
    assert found["system"] != "ok" and found["setuid"] != "ok"
    assert os.stat(service.directory / "own" / "made").st_uid == 65534
    assert outer_uids(service.child("app")["pid"]) == {65534}
    inside = service.command("exec", service.name, "app", "--", "id", "-u")
    assert (inside.stdout.strip(), inside.stderr) == ("0", "")
    assert service.child("app")["restarts"] == 0


def test_listed_capabilities_hold_inside_only(services):
    found = look(user_service(services, """user = "nobody"
        capabilities = ["CAP_SETUID", "CAP_DAC_OVERRIDE"]
        hardening = { user_namespace = true }
"""))
    assert found["effective"] == found["bounding"] == 1 << 7 | 1 << 1
    assert found["system"] != "ok" and found["setuid"] == "Invalid argument"


def test_for_root_outside_it_is_told_to_be_pointless(services):
    service = user_service(services, "hardening = { user_namespace = true }")
    assert look(service)["map"][1] == "0"
    warnings = " ".join(service.status()["warnings"])
    assert "user_namespace (needs a `user` other than root" in warnings


def test_without_root_it_gives_a_private_tmp_and_what_is_missing_is_named(services):
    service = user_service(services, "hardening = { user_namespace = true }", uid=UID)
    found = look(service)
    assert (found["uid"], found["map"]) == (0, ["0", str(UID), "1"])
    assert (found["effective"], found["write"], found["tmp_write"]) == (0, "ok", "ok")
    assert "made-by-pillion-test" not in os.listdir("/tmp")
    assert outer_uids(service.child("app")["pid"]) == {UID}
    warnings = " ".join(service.status()["warnings"])
    assert "private_tmp" not in warnings and "private_devices" not in warnings
    assert "hide_processes" in warnings
