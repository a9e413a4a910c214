"""`pillion upgrade`: supervisor and keeper are replaced under running children, also between neighbouring versions
of their protocol, and what cannot start replaces nobody."""
import json
import os
import re
import shutil
import signal

import pytest

from support.pillion_testing import REPOSITORY, Program, Service, http_get, program, program_directory, requires_root, run

NEWEST = int(re.search(r"kProtocolVersion = (\d+)",
                       (REPOSITORY / "supervisor" / "keeper" / "protocol.h").read_text())[1])
HOST_SERVICE = '''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 7' TERM; i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done"]
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
'''


class Installed(Service):
    """A service that runs programs of a directory of its own, as a package would install them."""

    def __init__(self, toml, directory, **options):
        super().__init__(toml, directory, **options)
        self.bin = self.directory / "bin"
        self.bin.mkdir(mode=0o755, exist_ok=True)
        self.install()

    def install(self):
        for name in ("pillion", "pillion-keeper", "pillion-netns", "pillion-proxy"):
            self.put(name, program(name))

    def put(self, name, source):
        new = self.bin / f".{name}"  # renamed over the old one, as dpkg does: the old file is in use
        shutil.copy(source, new)
        os.replace(new, self.bin / name)

    def start_installed(self):
        self.process = Program([self.bin / "pillion", "run", self.file], self.directory, env=self.env)
        self.wait_ready()

    def upgrade(self, check=0):
        return run([self.bin / "pillion", "upgrade", self.name], env=self.env, check=check, timeout=90)

    def protocol(self):
        """The version that keeper and supervisor speak now."""
        return json.loads(http_get(f"unix:{self.runtime_dir}/control:/v1/version").body)["keeper_protocol"]

    def pids(self):
        return {child["name"]: (child["pid"], child["generation"]) for child in self.status()["children"]}


@pytest.fixture
def installed(workspace):
    made = []

    def make(toml=HOST_SERVICE, **options):
        service = Installed(toml, workspace, **options)
        made.append(service)
        return service

    yield make
    for service in made:
        print(service.describe())
        service.close()


# Says to the keeper, and by the environment to its supervisor, which version of their protocol to speak.
SPEAKS = """#!/usr/bin/python3 -S
import os, sys
version = {"PILLION_KEEPER_PROTOCOL": "@version@", "PILLION_SUPERVISOR_PROTOCOL": "@version@"}
os.execve("@program@", sys.argv, {**os.environ, **version})
"""


def lines_of(service, child):
    return [line.split(" ", 3)[3] for line in service.log(child).splitlines()]


def test_supervisor_and_keeper_are_replaced_and_no_child_is(installed):
    service = installed()
    service.start_installed()
    before, supervisor, keeper = service.pids(), service.status()["supervisor_pid"], service.process.pid
    service.install()
    assert os.readlink(f"/proc/{keeper}/exe").endswith("(deleted)")
    assert "no child restarted" in service.upgrade().stdout
    assert service.pids() == before
    assert service.status()["supervisor_pid"] != supervisor
    for pid in (keeper, service.status()["supervisor_pid"]):
        assert not os.readlink(f"/proc/{pid}/exe").endswith("(deleted)")
    service.upgrade()  # and once more
    assert service.pids() == before
    assert service.stop().returncode == 7
    lines = [line for line in lines_of(service, "app") if line.startswith("line")]
    assert lines == [f"line {i}" for i in range(len(lines))]


def kill_the_supervisor(service):
    supervisor = service.status()["supervisor_pid"]
    os.kill(supervisor, signal.SIGKILL)
    service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, supervisor),
                     what="the next supervisor")


def renew_the_helper(service):
    """A child can be started, and its exit is learnt of."""
    generation = service.child("helper")["generation"]
    os.kill(service.child("helper")["pid"], signal.SIGKILL)
    service.wait_for(lambda: service.child("helper")["generation"] > generation
                     and service.child("helper")["state"] == "running", what="a new helper")


@pytest.mark.parametrize("side", ["PILLION_KEEPER_PROTOCOL", "PILLION_SUPERVISOR_PROTOCOL"])
@pytest.mark.parametrize("version", [NEWEST - 1, NEWEST + 1], ids=["older", "newer"])
def test_neighbouring_versions_of_the_protocol_work_together_and_upgrade(installed, side, version):
    service = installed(env={side: str(version)})
    service.start_installed()
    assert service.protocol() == min(version, NEWEST)
    renew_the_helper(service)
    before = service.pids()
    kill_the_supervisor(service)
    assert service.pids() == before
    assert "no child restarted" in service.upgrade().stdout
    assert service.protocol() == NEWEST
    assert service.pids() == before
    renew_the_helper(service)
    assert service.stop().returncode == 7


def test_back_to_the_version_before_and_forth_again_no_child_is_restarted(installed, workspace):
    service = installed()
    service.start_installed()
    before = service.pids()
    assert service.protocol() == NEWEST
    older = workspace / "older"
    older.write_text(SPEAKS.replace("@version@", str(NEWEST - 1)).replace("@program@", str(program("pillion-keeper"))))
    older.chmod(0o755)
    service.put("pillion-keeper", older)
    assert "no child restarted" in service.upgrade().stdout
    assert (service.protocol(), service.pids()) == (NEWEST - 1, before)
    kill_the_supervisor(service)
    assert service.pids() == before
    renew_the_helper(service)
    before = service.pids()
    service.install()
    service.upgrade()
    assert (service.protocol(), service.pids()) == (NEWEST, before)
    assert service.stop().returncode == 7


@pytest.mark.parametrize("name", ["pillion", "pillion-keeper"])
def test_a_program_that_cannot_start_replaces_nobody(installed, workspace, name):
    service = installed()
    service.start_installed()
    before, supervisor = service.pids(), service.status()["supervisor_pid"]
    broken = workspace / "broken"
    broken.write_text("#!/bin/sh\necho 'cannot load libwrong.so' >&2\nexit 1\n")
    broken.chmod(0o755)
    service.put(name, broken)
    # The command of this checkout, because the installed one may be the broken one.
    result = run(["pillion", "upgrade", service.name], env=service.env, timeout=90)
    assert result.returncode == 1
    assert f"the installed {name} cannot continue" in result.stderr, result.stderr
    assert (service.pids(), service.status()["supervisor_pid"]) == (before, supervisor)
    assert service.stop().returncode == 7


def test_a_supervisor_that_fails_after_the_check_gives_way_to_the_one_before(installed, workspace):
    service = installed()
    service.start_installed()
    before = service.pids()
    # Passes the check, then ends each time it is to supervise.
    treacherous = workspace / "treacherous"
    treacherous.write_text('#!/bin/sh\ncase "$*" in *--check-takeover*) exit 0;; esac\nexit 9\n')
    treacherous.chmod(0o755)
    service.put("pillion", treacherous)
    run(["pillion", "upgrade", service.name], env=service.env, timeout=90)
    assert "going back to the one before the upgrade" in service.output
    service.wait_for(service.is_ready, what="the old supervisor")
    assert service.pids() == before
    assert service.stop().returncode == 7


@requires_root
def test_a_bridged_service_keeps_serving_through_an_upgrade(installed):
    service = installed('''
        [network]
        publish = ["@port:web@:8080"]
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        user = "nobody"
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [sidecar.proxy]
        use = "proxy"
''')
    service.start_installed()
    before = service.pids()
    url = f"http://127.0.0.1:{service.port('web')}/echo"
    assert http_get(url).status == 200
    service.install()
    service.upgrade()
    assert http_get(url).status == 200
    assert service.pids() == before


def test_upgrade_wants_a_name(workspace):
    result = run(["pillion", "upgrade"], check=64)
    assert "--all" in result.stderr
    assert program_directory().is_dir()
