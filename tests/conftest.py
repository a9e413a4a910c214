"""Fixtures of every scenario, and how a scenario that skipped everything says so to CTest (exit 77)."""
import pytest

from support import sanitizers
from support.pillion_testing import HttpApp, Service, make_workspace, remove_workspace

SKIPPED = 77


@pytest.fixture
def workspace():
    path = make_workspace()
    yield path
    found = sanitizers.reports_below(path)
    remove_workspace(path)
    assert not found, "\n".join(found)


@pytest.fixture
def backend():
    with HttpApp() as app:
        yield app


@pytest.fixture
def services(workspace):
    """services(toml, name=None, env=None, uid=None) -> Service; all are stopped and checked for leaks after the test.

    Services of one test share the meaning of @port:KEY@, so that one can call the other.
    """
    made = []
    ports = {}

    def make(toml, name=None, env=None, uid=None):
        directory = workspace / f"service{len(made)}"
        directory.mkdir(mode=0o755)
        service = Service(toml, directory, name=name, env=env, ports=ports, uid=uid)
        made.append(service)
        return service

    yield make
    errors = []
    for service in reversed(made):
        try:
            service.close()
        except AssertionError as error:
            errors.append(str(error))
        print(service.describe())
    assert not errors, "\n".join(errors)


def pytest_terminal_summary(terminalreporter):
    stats = terminalreporter.stats
    if stats.get("skipped") and not any(stats.get(kind) for kind in ("passed", "failed", "error")):
        terminalreporter._session.exitstatus = SKIPPED
