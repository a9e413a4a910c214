"""What a child's own settings do to its process, each read back from the process itself, and what is said of those that
cannot be had."""
import os
import resource
import subprocess

import pytest

from support.pillion_testing import PYTHON, SUPPORT, Program, program, requires_root

UID = 64117  # nobody's: what counts per user counts from nothing

LOOK = r'''
import json, os, resource
mask = os.umask(0)
print("LOOK " + json.dumps({
    "nice": os.nice(0), "oom": open("/proc/self/oom_score_adj").read().strip(), "umask": oct(mask), "cwd": os.getcwd(),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "env": dict(os.environ)}), flush=True)
'''


def look(service):
    import json
    service.start(wait=False)
    line = service.wait_for(lambda: [text for text in service.log("app").splitlines() if "LOOK " in text], what="its look")
    return json.loads(line[0].split("LOOK ", 1)[1])


def looking_service(services, more, **options):
    service = services(f"""
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "@dir@/look.py"]
        restart = "never"
        {more}
""", **options)
    (service.directory / "look.py").write_text(LOOK)
    return service


@requires_root
def test_each_setting_reaches_the_process(services):
    found = look(looking_service(services, """nice = 7
        oom_score_adjust = 321
        umask = "027"
        working_directory = "/usr/lib"
        limits = { open_files = 77, core_size = "1MiB" }
        env = { A = "1" }
"""))
    env = found.pop("env")
    assert found == {"nice": 7, "oom": "321", "umask": "0o27", "cwd": "/usr/lib", "files": [77, 77],
                     "core": [1 << 20, 1 << 20]}
    assert env["A"] == "1" and "USER" not in env


@requires_root
def test_what_is_not_set_is_what_a_service_expects(services):
    found = look(looking_service(services, ""))
    assert (found["nice"], found["oom"], found["umask"], found["cwd"], found["core"]) == (0, "0", "0o22", "/", [0, 0])


@requires_root
def test_lack_of_memory_takes_keeper_and_supervisor_last_and_children_as_they_say(services):
    service = services('''
        [network]
        mode = "host"
        [sidecar.helper]
        command = ["/bin/sleep", "1000"]
        oom_score_adjust = 200
        pre_stop = { exec = { command = ["/bin/sh", "-c", "cat /proc/self/oom_score_adj > @dir@/hook"] } }
        [app]
        command = ["/bin/sleep", "1000"]
''')
    service.start()

    def score(pid):
        return int(open(f"/proc/{pid}/oom_score_adj").read())

    assert score(service.child("app")["pid"]) == 0
    assert score(service.child("helper")["pid"]) == 200
    ours = [score(service.process.pid), score(service.status()["supervisor_pid"])]
    effective = next(line for line in open("/proc/self/status") if line.startswith("CapEff"))
    may_lower = int(effective.split()[1], 16) >> 24 & 1  # CAP_SYS_RESOURCE
    assert ours == ([-900, -900] if may_lower else [score("self")] * 2)
    service.stop()
    assert int((service.directory / "hook").read_text()) >= 0


@pytest.mark.parametrize("setting, said", [
    ("nice = -5", "nice(-5): Permission denied"),
    ('limits = { open_files = 2000000000 }', "setrlimit(RLIMIT_NOFILE, 2000000000): Operation not permitted"),
    ('working_directory = "/root"', 'chdir("/root"): Permission denied'),
])
@requires_root
def test_without_root_what_needs_it_is_named_with_its_step(services, setting, said):
    service = looking_service(services, setting, uid=UID)
    service.start(wait=False)
    assert service.process.wait() == 71
    assert f"cannot start app: {said}" in service.output


def env_service(services, text):
    service = looking_service(services, 'env_file = ["@dir@/app.env"]\n        env = { FROM = "env" }')
    if text is not None:
        (service.directory / "app.env").write_text(text)
    return service


def test_variables_come_from_files_too_and_the_table_wins(services):
    service = env_service(services, '# a comment\nPLAIN=a b # c\nexport DOUBLE="x\\ty" # c\nSINGLE=\'$HOME\'\nFROM=file\n')
    env = look(service)["env"]
    assert (env["PLAIN"], env["DOUBLE"], env["SINGLE"], env["FROM"]) == ("a b # c", "x\ty", "$HOME", "env")


@pytest.mark.parametrize("text, said", [
    (None, "app.env: No such file or directory"),
    ("A=1\nnonsense\n", 'app.env:2: "nonsense" is not KEY=VALUE'),
    ('A="open\n', 'app.env:1: the quote " is not closed on this line'),
])
def test_a_bad_env_file_is_named_with_its_line(services, text, said):
    service = env_service(services, text)
    service.start(wait=False)
    assert service.process.wait() == 71
    assert "env_file of app: " in service.output and said in service.output


@requires_root
def test_a_limit_on_processes_is_told_and_supervision_goes_on(services):
    service = services("""
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        backoff = { base = "100ms", max = "200ms" }
""", uid=UID + 1)
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    # Two processes: the keeper and the supervisor.
    words = ["prlimit", f"--nproc=2:{most}", *service.identity, program("pillion"), "run", service.file]
    service.process = Program(words, service.directory, env=service.env)
    service.wait_for(lambda: "cannot create a process: a limit on processes is reached" in service.output,
                     what="the limit to be told")
    supervisor = service.status()["supervisor_pid"]
    subprocess.run([*service.identity, "prlimit", "--pid", str(supervisor), f"--nproc={most}:{most}"], check=True)
    service.wait_ready()
    assert service.child("app")["state"] == "running"


@requires_root
def test_without_clone3_children_start_in_their_groups_all_the_same(services):
    service = services("""
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        hardening = { pid_namespace = "child" }
""")
    service.process = Program([PYTHON, SUPPORT / "without_calls.py", "clone3=ENOSYS", "--", program("pillion"), "run",
                               service.file], service.directory, env=service.env)
    service.wait_ready()
    pid = service.child("app")["pid"]
    assert f"/pillion-{service.name}/app.1" in open(f"/proc/{pid}/cgroup").read()
    assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.startswith("S")
