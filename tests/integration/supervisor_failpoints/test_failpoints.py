"""kill -9 of the supervisor at each event it handles and each action it carries out: the service must end as if
nothing had happened. And of its children at the same points.

One undisturbed run writes the trace of all points. Each further run dies at another point of it. By default a
sample is taken, another one on each run; PILLION_FAILPOINTS=all takes every point, PILLION_FAILPOINTS=N,M only
those. The number of a failing point is in the test's message.
"""
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.pillion_testing import Service, requires_root, wait_until

SAMPLE = 24
VICTIM_SAMPLE = 4  # of points for each child
AT_ONCE = 3

# An init task, a helper that notifies, one that crashes once (backoff), a log-line gate, a probe, hooks, and an app
# that counts its starts. What every process does is written to files, which must be the same in the end.
SERVICE = '''
        [service]
        stop_grace = "20s"
        [network]
        mode = "host"
        [init.prepare]
        command = ["/bin/sh", "-c", "echo prepared >> @dir@/prepare; echo init says hello"]
        [sidecar.notifier]
        command = ["/usr/bin/python3", "-S", "@dir@/notifier.py"]
        gate = { notify = true }
        [sidecar.crashing]
        command = ["/bin/sh", "-c", "echo $$ > @dir@/crashing.pid; if [ -e @dir@/crashed ]; then exec sleep 1000; fi; touch @dir@/crashed; echo oops >> @dir@/oops; exit 3"]
        backoff = { base = "50ms", max = "100ms" }
        [app]
        command = ["/bin/sh", "-c", "trap 'echo stopping; exit 9' TERM; echo $$ > @dir@/app.pid; echo start >> @dir@/starts; i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); done; echo serving; while :; do sleep 0.02; done"]
        gate = { log_line = "^serving$" }
        post_start = { exec = { command = ["/bin/sh", "-c", "echo posted >> @dir@/hooks"] } }
        pre_stop = { exec = { command = ["/bin/sh", "-c", "echo stopped >> @dir@/hooks"] } }
        readiness_probe = { exec = { command = ["/bin/true"] }, period = "1s" }
'''
NOTIFIER = '''
import os, signal, socket, sys, time
done = []
signal.signal(signal.SIGTERM, lambda *_: done.append(1))
open(os.path.dirname(__file__) + "/notifier.pid", "w").write(str(os.getpid()))
open(os.path.dirname(__file__) + "/notified", "a").write("start\\n")
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        s.send(text)
tell(b"READY=1")
while not done:
    time.sleep(0.01)
tell(b"X_PILLION_RECEIPT=widgets_finished=12")
print("notifier ends", flush=True)
'''


def prepare(service):
    (service.directory / "notifier.py").write_text(NOTIFIER)
    return service


def live(service):
    """Runs the service from start to stop; returns what it did, without times and pids."""
    service.start(wait=False)
    try:
        service.wait_for(service.is_ready, 60, "ready")
        service.wait_for(lambda: service.child("crashing")["state"] == "running"
                         and (service.directory / "crashed").exists(), 30, "the crashed helper to run again")
        service.process.signal(signal.SIGTERM)
        code = service.process.wait(60)
    finally:
        service.process.close()

    def lines(name):
        path = service.directory / name
        return path.read_text().splitlines() if path.exists() else []

    def log_of(child):
        return [line.split(" ", 3)[3] for line in service.log(child).splitlines()]

    return {"exit code": code, "prepared": lines("prepare"), "starts": lines("starts"), "notified": lines("notified"),
            "oops": lines("oops"), "app's lines": log_of("app"), "init's lines": log_of("prepare"),
            "notifier's lines": log_of("notifier"),
            # A hook may run twice, never not at all (docs/lifecycle.md).
            "hooks": sorted(set(lines("hooks"))),
            "receipt": "widgets finished 12" in service.output or "widgets_finished" in service.output}


def service_in(workspace, name, env):
    directory = workspace / name
    directory.mkdir(mode=0o755)
    return prepare(Service(SERVICE, directory, env=env))


def run_undisturbed(workspace):
    """What the service does, and the names of all points that its supervisor reaches."""
    trace = workspace / "trace"
    undisturbed = service_in(workspace, "undisturbed", {"PILLION_FAILPOINT_TRACE": trace})
    expected = live(undisturbed)
    assert expected["exit code"] == 9 and expected["starts"] == ["start"], expected
    assert expected["app's lines"] == [f"line {i}" for i in range(40)] + ["serving", "stopping"]
    assert not undisturbed.leaks()
    names = trace.read_text().splitlines()
    print(f"{len(names)} points")
    return expected, names


def choose_points(count, sample):
    wanted = os.environ.get("PILLION_FAILPOINTS", "")
    if wanted == "all":
        return list(range(1, count + 1))
    if wanted:
        return [int(word) for word in wanted.split(",")]
    return sorted(random.sample(range(1, count + 1), sample))


def live_and_clean_up(service, find_problem):
    """What find_problem says of what the service did, and what it left; "" when all is well."""
    try:
        problem = find_problem(live(service))
    except AssertionError as error:
        problem = str(error)
    deadline = time.monotonic() + 10
    while (left := service.leaks()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return f"{problem} left behind: {left}" if left else problem


@requires_root
def test_a_supervisor_killed_at_any_point_changes_nothing(workspace):
    expected, names = run_undisturbed(workspace)
    points = choose_points(len(names), SAMPLE)

    def check(point):
        mark = workspace / f"mark-{point}"
        service = service_in(workspace, f"at-{point}",
                             {"PILLION_FAILPOINT": f"@{point}", "PILLION_FAILPOINT_MARK": mark})
        problem = live_and_clean_up(service, lambda seen: "" if seen == expected else f"seen {seen}, expected {expected}")
        if problem:
            return f"killed at point {point} ({names[point - 1]}): {problem}\n{service.describe()}"
        # Points differ a little from run to run; what was not reached was not a kill.
        return mark.exists()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(check, points))
    problems = [result for result in results if isinstance(result, str)]
    assert not problems, f"{len(problems)} of {len(points)} points:\n" + "\n\n".join(problems)
    assert sum(results) > len(points) // 2, "most points were not reached: the trace does not fit"


@requires_root
@pytest.mark.parametrize("child", ["app", "notifier", "crashing"])
def test_a_child_killed_at_any_point_comes_back_and_the_service_ends_as_it_should(workspace, child):
    expected, names = run_undisturbed(workspace)
    points = choose_points(len(names), VICTIM_SAMPLE)

    def find_problem(seen):
        # Only the victim may have lived twice. An app that was killed while it stopped ends as 137.
        may_differ = {"app": {"starts", "app's lines", "hooks", "exit code"}, "notifier": {"notified", "notifier's lines", "receipt"},
                      "crashing": {"oops"}}[child]
        wrong = {key for key in expected if seen[key] != expected[key]} - may_differ
        if seen["exit code"] not in (9, 137):
            wrong.add("exit code")
        return f"{sorted(wrong)} of {seen}, expected {expected}" if wrong else ""

    def check(point):
        mark = workspace / f"mark-{point}"
        name = f"at-{point}"
        victim = workspace / name / f"{child}.pid"
        service = service_in(workspace, name, {"PILLION_FAILPOINT": f"@{point}", "PILLION_FAILPOINT_MARK": mark,
                                               "PILLION_FAILPOINT_VICTIM": victim})
        problem = live_and_clean_up(service, find_problem)
        if "ended unexpectedly" in service.output:
            problem += " the supervisor died"
        return f"{child} killed at point {point} ({names[point - 1]}): {problem}\n{service.describe()}" if problem else ""

    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = [problem for problem in pool.map(check, points) if problem]
    assert not problems, f"{len(problems)} of {len(points)} points:\n" + "\n\n".join(problems)


@requires_root
def test_a_stop_request_is_not_lost_with_the_supervisor_that_was_told_of_it(services, workspace):
    for name in ("signal", "signal handled"):
        mark = workspace / f"mark {name}"
        service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.02; done"]
''', env={"PILLION_FAILPOINT": name, "PILLION_FAILPOINT_MARK": mark})
        service.start()
        assert service.stop().returncode == 5
        wait_until(mark.exists, what="the failpoint to be reached")
