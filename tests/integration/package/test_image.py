"""The image: packaging/image/Dockerfile's entrypoint in a true container, made by crun of what the recipe says: Debian 12
and the package. There is no engine here that builds it, so its lines are compared with what is done."""
import json
import shutil

import pytest

from support.pillion_testing import Program, REPOSITORY, requires_root, run, unique_name, wait_until

pytestmark = requires_root

RECIPE = (REPOSITORY / "packaging" / "image" / "Dockerfile").read_text()
SERVICE = '''
[network]
mode = "host"
[app]
command = ["/bin/sh", "-c", "{script}"]
restart = "never"
'''
# What Docker gives a container unasked.
DOCKER_CAPABILITIES = [f"CAP_{name}" for name in (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE")]

# crun takes no mixture of cgroup versions: it sees version 2 alone, and manages none.
CRUN = ["unshare", "--mount", "sh", "-c", "umount -R -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && "
        'exec crun --cgroup-manager=disabled "$@"', "sh", "--root"]


def words_of(instruction):
    line = next(line for line in RECIPE.splitlines() if line.startswith(instruction + " "))
    return json.loads(line.split(" ", 1)[1])


class Image:
    """Runs containers of one root file system; what they write goes to memory."""

    def __init__(self, root, directory):
        self.root, self.directory = root, directory

    def bundle(self, toml, uid, capabilities, is_read_only, tmpfs):
        """An OCI bundle with `toml` mounted as the service's file, as an engine would write it."""
        directory = self.directory / unique_name("bundle")
        directory.mkdir()
        (directory / "service.toml").write_text(toml)
        run(["crun", "spec"], check=0, cwd=directory)
        config = json.loads((directory / "config.json").read_text())
        config["root"] = {"path": str(self.root), "readonly": is_read_only}
        config["process"].update(
            terminal=False, args=words_of("ENTRYPOINT") + words_of("CMD"), cwd="/", user={"uid": uid, "gid": uid},
            env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            capabilities={kind: capabilities for kind in ("bounding", "effective", "permitted", "inheritable")})
        config["mounts"].append({"destination": "/etc/pillion/service.toml", "type": "bind", "options": ["bind", "ro"],
                                 "source": str(directory / "service.toml")})
        config["mounts"] += [{"destination": path, "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}
                             for path in tmpfs]
        config["hostname"] = "container"
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    def start(self, toml, uid=0, capabilities=(), is_read_only=False, tmpfs=("/run", "/var/log", "/var/lib/pillion")):
        bundle = self.bundle(toml, uid, list(capabilities), is_read_only, tmpfs)
        return Container(bundle)


class Container(Program):
    def __init__(self, bundle):
        self.name = unique_name("pillion")
        super().__init__([*CRUN, bundle / "state", "run", "--bundle", bundle, self.name], bundle)
        self.state = bundle / "state"

    def stop(self):
        """As `docker stop` does: the recipe's STOPSIGNAL to PID 1."""
        name = next(line for line in RECIPE.splitlines() if line.startswith("STOPSIGNAL ")).split()[1]
        run([*CRUN, self.state, "kill", self.name, name], check=0)
        return self.wait()

    def remove(self):
        run([*CRUN, self.state, "delete", "--force", self.name])
        self.close()


@pytest.fixture
def image(clean_root, workspace):
    if not shutil.which("crun"):
        pytest.skip("no crun here (make test installs it)")
    started = []
    made = Image(clean_root, workspace)
    start = made.start
    made.start = lambda *args, **options: started.append(start(*args, **options)) or started[-1]
    yield made
    for container in started:
        print(container.output)
        container.remove()


def test_the_recipe_is_what_these_tests_do():
    assert "FROM debian:bookworm" in RECIPE
    assert "COPY pillion_*.deb /tmp/pillion.deb" in RECIPE and "apt-get install -y" in RECIPE
    assert words_of("ENTRYPOINT") + words_of("CMD") == ["pillion", "run", "/etc/pillion/service.toml"]


def test_the_entrypoint_is_pid_1_and_shows_the_apps_output(image):
    container = image.start(SERVICE.format(script="echo parent $PPID, $(cat /proc/1/comm); exit 42"),
                            capabilities=DOCKER_CAPABILITIES)
    assert container.wait() == 42
    assert "parent 1, pillion-keeper\n" in container.output


def test_docker_stop_drains_and_the_apps_code_comes_out(image):
    container = image.start(SERVICE.format(script="trap 'echo draining; exit 6' TERM; echo runs; while :; do sleep 0.02; done"))
    wait_until(lambda: "runs" in container.output, what="the app")
    assert container.stop() == 6
    assert "draining" in container.output and "stopped in" in container.output


@pytest.mark.parametrize("toml,code", [
    (SERVICE.format(script="exit 0"), 0),
    (SERVICE.format(script="kill -9 $$"), 137),
    (SERVICE.format(script="").replace("/bin/sh", "/no/such/program"), 127),
    (SERVICE.format(script="").replace("/bin/sh", "/etc/hostname"), 126),
    (SERVICE.format(script="") + "colour = 'red'\n", 78),
    (SERVICE.format(script="sleep 1000") + "[sidecar.broken]\ncommand = ['/bin/false']\nmax_restarts = 1\non_give_up = 'exit'\n"
     "backoff = { base = '1ms', max = '1ms' }\n", 70),
], ids=["0", "killed", "not found", "not executable", "bad file", "given up"])
def test_the_exit_code_says_how_it_ended(image, toml, code):
    assert image.start(toml).wait() == code


CONFINED = SERVICE.format(script="echo the app runs; trap 'exit 6' TERM; while :; do sleep 0.02; done") + '''
user = "nobody"
limits = { memory = "64MiB" }
'''


def test_unprivileged_and_read_only_it_names_each_missing_guarantee(image):
    """--user 61000 --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp"""
    container = image.start(CONFINED, uid=61000, is_read_only=True, tmpfs=["/tmp"])
    wait_until(lambda: "the app runs" in container.output, what="the app")
    for missing in ("no cgroups", "CPU, memory and pids limits are not enforced", "limits.memory is not enforced",
                    "users in the file are ignored", "is without private_tmp"):
        assert missing in container.output, missing
    assert container.stop() == 6


def test_with_nothing_writable_it_says_what_to_give(image):
    container = image.start(CONFINED, uid=61000, is_read_only=True, tmpfs=[])
    assert container.wait() == 71
    assert "cannot create /tmp/pillion-61000: Read-only file system" in container.output
    assert "PILLION_RUNTIME_DIR may name a directory that can be written" in container.output
