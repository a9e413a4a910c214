"""kill -9 of the supervisor at each step of a deploy, under load: it goes on or is rolled back, nobody notices, and
one app is left that can be deployed again."""
from concurrent.futures import ThreadPoolExecutor

from support.deploy_lab import Load, apps, deploy, prepare, toml_of
from support.pillion_testing import Service, wait_until

# The third spawn is the next generation's: the proxy and the first one are before it.
POINTS = ["event:DeployRequested", "before:UsePlan", "after:UsePlan", "before:Spawn@3", "after:Spawn@3",
          "event:Spawned@3", "before:ShiftTraffic", "after:ShiftTraffic", "event:TrafficShifted", "before:PromoteApp",
          "after:PromoteApp", "before:SendSignal", "after:SendSignal", "before:EndDeploy", "after:EndDeploy"]
ROLLBACK_POINTS = ["before:EndDeploy", "after:EndDeploy"]
AT_ONCE = 3


def generation_of(service):
    found = apps(service)
    return found[0][0] if len(found) == 1 and found[0][1] == "" and service.status()["ready"] else 0


def run_one(directory, point, mode):
    directory.mkdir(mode=0o755)
    mark = directory / "died"
    service = prepare(Service(toml_of("host"), directory,
                              env={"PILLION_FAILPOINT": point, "PILLION_FAILPOINT_MARK": str(mark)}))
    try:
        service.start()
        load = Load(service.port("web"), clients=2)
        try:
            load.wait_for(1)
            deploy(service, "--drain-timeout", "1s", "--timeout", "5s", mode=mode)
            generation = wait_until(lambda: generation_of(service), what="one app")
            if mode == "crash":
                assert generation == 1
            load.wait_for(generation)
            assert mark.exists(), "it did not die"
            last = deploy(service)
            assert last.returncode == 0, last.stdout + last.stderr
            assert wait_until(lambda: generation_of(service), what="one app") > generation
        finally:
            failures = load.stop()
        assert failures == []
        service.stop()
        return ""
    except AssertionError as error:
        return f"{mode} {point}: {error}\n{service.output[-3000:]}"
    finally:
        service.close()


def test_a_kill_at_any_step_ends_in_one_good_app(workspace):
    runs = [(point, "good") for point in POINTS] + [(point, "crash") for point in ROLLBACK_POINTS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = pool.map(lambda item: run_one(workspace / str(item[0]), *item[1]), enumerate(runs))
    assert [problem for problem in problems if problem] == []
