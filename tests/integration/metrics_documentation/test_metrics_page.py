"""docs/metrics.md tells the truth: its configurations are run, and each command shows the lines below it.

`test: file NAME` writes the block; `test: run` runs its `$` lines (one with `&` goes on while the block lasts), the
last one again and again until every line below it is in its output. Ports become free ones; Redis, nginx, HAProxy and
PostgreSQL are real, what is asked by HTTP is a page of the test's.
"""
import contextlib
import json
import os
import re

import pytest

from support.metrics_lab import MetricsLab, serve_pages
from support.metrics_servers import PostgresServer, nginx_and_haproxy, redis
from support.pillion_testing import REPOSITORY, Program, program_directory, run, wait_until

BLOCK = re.compile(r"<!-- test: (\w+) ?(\S*) -->\n```\w*\n(.*?)```", re.DOTALL)
PAGE = (REPOSITORY / "docs" / "metrics.md").read_text()
PAGES = {
    "/stats": json.dumps({"queues": [{"name": "in", "depth": 4}], "state": "UP", "busyMs": 1500}).encode(),
    "/text": b"worker a: 5 jobs\n",
    "/jolokia": json.dumps([
        {"status": 200, "value": {"HeapMemoryUsage": {"used": 20}}},
        {"status": 200, "value": {"java.lang:name=G1 Old,type=GarbageCollector": {"CollectionCount": 3}}}]).encode(),
    "/metrics": b"# TYPE rpc_seconds summary\nrpc_seconds{quantile=\"0.5\"} 0.1\nrpc_seconds_sum 3\nrpc_seconds_count 9\n",
    "/v1/metrics": b"",
}


def test_every_block_of_the_page_is_marked():
    assert len(BLOCK.findall(PAGE)) == PAGE.count("\n```") // 2 > 15


@pytest.fixture
def world(workspace):
    lab = MetricsLab(workspace)
    with serve_pages(PAGES) as source, redis(lab), nginx_and_haproxy(lab), PostgresServer(lab) as postgres:
        postgres.psql("CREATE TABLE jobs(kind text); INSERT INTO jobs VALUES ('mail'), ('mail')")
        places = {"127.0.0.1:9102": f"127.0.0.1:{lab.port('metrics')}", "127.0.0.1:8125": f"127.0.0.1:{lab.port('statsd')}",
                  "127.0.0.1/8125": f"127.0.0.1/{lab.port('statsd')}", "127.0.0.1:6379": f"127.0.0.1:{lab.port('redis')}",
                  "-p 6379": f"-p {lab.port('redis')}", "127.0.0.1:8081": f"127.0.0.1:{lab.port('nginx')}",
                  "127.0.0.1:8404": f"127.0.0.1:{lab.port('stats')}", "/run/postgresql": str(postgres.directory),
                  "/etc/pillion/pg.password": str(postgres.password_file), "/run/app/statsd.sock": f"{workspace}/statsd.sock", "/var/log/app/orders.log": f"{workspace}/orders.log", "/run/haproxy.sock": f"{workspace}/haproxy.sock",
                  **{f"127.0.0.1:{port}": f"127.0.0.1:{source.port}" for port in (8080, 8778, 4318)}}

        def place(text):
            for word, here in places.items():
                text = text.replace(word, here)
            return text
        yield lab, place


def test_each_command_shows_what_the_page_says(world, workspace):
    lab, place = world
    env = {"PATH": f"{program_directory()}:{os.environ['PATH']}"}
    for kind, name, text in BLOCK.findall(PAGE):
        text = place(text)
        if kind == "file":
            head = "" if name == "logs.toml" else f'listen = "127.0.0.1:{lab.port("metrics")}"\n'
            (workspace / name).write_text(head + text)
            continue
        assert kind == "run"
        commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
        wanted = {line for line in text.splitlines() if not line.startswith("$ ")}
        with contextlib.ExitStack() as running:
            for line in [command for command in commands if command.endswith("&")]:
                commands.remove(line)
                running.enter_context(start(line, workspace, env))
            for command in commands[:-1]:
                run(["/bin/bash", "-c", command], env={**os.environ, **env}, cwd=workspace, check=0)

            def shows():
                done = run(["/bin/bash", "-c", commands[-1]], env={**os.environ, **env}, cwd=workspace)
                missing = wanted - set(done.stdout.splitlines())
                if missing:
                    raise ValueError(f"not shown: {missing}")
                return True
            wait_until(shows, 20, commands[-1])


def start(line, workspace, env):
    """A command that goes on."""
    words = line.rstrip("& ").split()
    return Program([words[0], *[workspace / word if word.endswith(".toml") else word for word in words[1:]]], workspace,
                   env={**env, "PILLION_STATE_DIR": workspace / "state"})
