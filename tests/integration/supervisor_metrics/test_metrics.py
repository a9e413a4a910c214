"""The service's metrics: our own and those of the children in one exposition that Prometheus takes."""
import json
import os
import re
import shutil
import signal
import urllib.parse
from pathlib import Path

import pytest

from support.pillion_testing import (REPOSITORY, Program, free_port, http_get, requires_root, run, wait_until)

pytestmark = requires_root

# A helper that serves the files of a directory, `metrics` among them.
SERVE = '["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", "@port:{0}@", "--directory", "@dir@/{0}"]'
MUTE = "import socket, time; s = socket.create_server(('127.0.0.1', @port:mute@)); time.sleep(1000)"
DASHBOARD = REPOSITORY / "packaging/grafana/pillion-service.json"


def many_kinds(services):
    """An app with good metrics, and helpers that are dead, mute, or serve what is none."""
    service = services(f'''
        [service]
        metrics = "127.0.0.1:@port:metrics@"
        [network]
        mode = "host"
        [app]
        command = {SERVE.format("good")}
        ports = [{{ name = "http", port = @port:good@ }}]
        scrape = {{ port = "http" }}
        startup_probe = {{ tcp = {{ port = "http" }}, period = "100ms", timeout = "50ms", failure_threshold = 200 }}
        readiness_probe = {{ tcp = {{ port = "http" }}, period = "100ms", timeout = "50ms" }}
        limits = {{ memory = "128MiB", cpu = "1" }}
        [sidecar.rubbish]
        command = {SERVE.format("rubbish")}
        scrape = {{ port = @port:rubbish@ }}
        startup_probe = {{ tcp = {{ port = @port:rubbish@ }}, period = "100ms", timeout = "50ms", failure_threshold = 200 }}
        [sidecar.mute]
        command = ["/usr/bin/python3", "-c", "{MUTE}"]
        scrape = {{ port = @port:mute@ }}
        startup_probe = {{ tcp = {{ port = @port:mute@ }}, period = "100ms", timeout = "50ms", failure_threshold = 200 }}
        [sidecar.dead]
        command = ["/bin/sleep", "1000"]
        scrape = {{ port = @port:dead@ }}
''')
    for name, text in (("good", '# HELP orders_total Orders.\n# TYPE orders_total counter\n'
                                'orders_total{child="mine"} 7\n'),
                       ("rubbish", "orders_total 1\n<html>\n")):
        (service.directory / name).mkdir(mode=0o755)
        (service.directory / name / "metrics").write_text(text)
    service.start()
    return service


def samples(text):
    """{(name, frozenset of label pairs): value}"""
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r'([a-z_A-Z0-9:]+)(?:\{(.*)\})? (\S+)', line):
            labels = frozenset(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            found[match[1], labels] = float(match[3])
    return found


def value(found, name, **labels):
    """The one sample of that name with at least these labels."""
    matching = [number for (each, pairs), number in found.items()
                if each == name and set(labels.items()) <= pairs]
    assert len(matching) == 1, f"{name} {labels}: {matching}"
    return matching[0]


def scrape(service):
    reply = http_get(f"http://127.0.0.1:{service.port('metrics')}/metrics")
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return reply.body.decode()


def check_with_promtool(text):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (package prometheus)")
    result = run(["promtool", "check", "metrics"], input=text)
    assert result.returncode == 0, result.stdout + result.stderr


def test_one_exposition_holds_the_supervisors_and_the_childrens_metrics(services):
    service = many_kinds(services)
    text = scrape(service)
    found = samples(text)
    assert value(found, "orders_total", service=service.name, child="app", exported_child="mine") == 7
    ups = {child: value(found, "pillion_scrape_up", child=child) for child in ("app", "rubbish", "mute", "dead")}
    assert ups == {"app": 1, "rubbish": 0, "mute": 0, "dead": 0}
    assert value(found, "pillion_service_ready") == 1
    assert value(found, "pillion_child_state", child="app", state="running") == 1
    assert value(found, "pillion_child_state", child="app", state="backoff") == 0
    assert value(found, "pillion_child_ready", child="dead") == 1
    assert value(found, "pillion_child_time_to_ready_seconds", child="app") > 0
    assert value(found, "pillion_probe_results_total", child="app", probe="readiness", result="success") >= 1
    assert value(found, "pillion_probe_duration_seconds_count", child="app", probe="startup") >= 1
    assert value(found, "pillion_build_info") == 1
    if not any("limits" in warning for warning in service.status()["warnings"]):
        assert value(found, "pillion_child_memory_limit_bytes", child="app") == 128 << 20
        assert value(found, "pillion_child_memory_working_set_bytes", child="app") > 1 << 20
        assert value(found, "pillion_child_cpu_usage_seconds_total", child="app") > 0
        assert value(found, "pillion_child_oom_kills_total", child="app", victim="main") == 0
    check_with_promtool(text)


def test_the_control_socket_and_the_command_give_the_same_and_own_asks_nobody(services):
    service = many_kinds(services)
    merged = service.command("metrics", service.name)
    assert merged.returncode == 0 and "orders_total{" in merged.stdout
    own = service.command("metrics", service.name, "--own")
    assert own.returncode == 0 and "pillion_child_ready{" in own.stdout
    assert "orders_total" not in own.stdout and "pillion_scrape_up" not in own.stdout
    check_with_promtool(own.stdout)


def test_restarts_exits_and_the_supervisors_own_restart_are_counted(services):
    service = many_kinds(services)
    os.kill(service.child("dead")["pid"], signal.SIGKILL)
    service.wait_for(lambda: service.child("dead")["generation"] == 2 and service.child("dead")["ready"], what="a restart")
    found = samples(scrape(service))
    assert value(found, "pillion_child_restarts_total", child="dead") == 1
    assert value(found, "pillion_child_exits_total", child="dead", reason="signal") == 1
    first = service.status()["supervisor_pid"]
    os.kill(first, signal.SIGKILL)
    # The listening socket is the keeper's: the connection waits, it is not refused.
    found = samples(scrape(service))
    assert service.status()["supervisor_pid"] != first
    assert value(found, "pillion_supervisor_restarts_total") == 1
    assert value(found, "pillion_child_exits_total", child="dead", reason="signal") == 1
    assert value(found, "pillion_child_time_to_ready_seconds", child="dead") >= 0


def test_health_pages_say_who_is_not_ready(services):
    service = many_kinds(services)
    base = f"http://127.0.0.1:{service.port('metrics')}"
    assert http_get(base + "/ready").status == 200
    health = http_get(base + "/health").json()
    assert health["ready"] and {child["name"] for child in health["children"]} == {"app", "rubbish", "mute", "dead"}
    assert http_get(base + "/nothing").status == 404


def test_the_drain_of_the_last_stop_shows_after_the_next_start(services):
    service = many_kinds(services)
    assert "pillion_service_last_stop_seconds{" not in scrape(service)
    service.stop()
    service.start()
    found = samples(scrape(service))
    assert value(found, "pillion_service_last_stop_phase_seconds", phase="app") >= 0
    assert value(found, "pillion_service_last_stop_killed_children") == 0


def test_a_metrics_port_that_is_taken_names_its_holder_and_starts_nothing(services):
    service = many_kinds(services)
    other = services(f'''
        [service]
        metrics = "127.0.0.1:{service.port('metrics')}"
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
''')
    other.start(wait=False)
    assert other.process.wait() == 71
    assert "service.metrics (held by " in other.output and str(service.port("metrics")) in other.output


def names_in(node):
    """Metric names in the queries of a dashboard."""
    if isinstance(node, dict):
        for key, item in node.items():
            if key in ("expr", "query") and isinstance(item, str):
                yield from re.findall(r"\bpillion_[a-z0-9_]+", item)
            yield from names_in(item)
    elif isinstance(node, list):
        for item in node:
            yield from names_in(item)


def test_every_metric_of_the_dashboard_is_exported(services):
    service = services('''
        [service]
        metrics = "127.0.0.1:@port:metrics@"
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        readiness_probe = { http = { path = "/healthz", port = "http" }, period = "100ms", timeout = "100ms" }
        [network]
        publish = ["@port:web@:8080"]
        [sidecar.proxy]
        use = "proxy"
''')
    service.start()
    assert http_get(f"http://127.0.0.1:{service.port('web')}/echo").status == 200
    text = scrape(service)
    families = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    families |= {name + suffix for name in families for suffix in ("_bucket", "_sum", "_count")}
    wanted = set(names_in(json.loads(DASHBOARD.read_text())))
    assert len(wanted) >= 15 and wanted <= families, wanted - families
    found = samples(text)
    assert value(found, "pillion_scrape_up", child="proxy") == 1
    assert value(found, "pillion_proxy_requests_total", child="proxy", direction="inbound", code_class="2xx") >= 1
    check_with_promtool(text)


def test_a_real_prometheus_scrapes_it(services, workspace):
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    service = many_kinds(services)
    port = free_port()
    config = Path(workspace) / "prometheus.yml"
    config.write_text(f'''
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: pillion
    scrape_interval: 3s
    scrape_timeout: 3s
    static_configs: [{{ targets: ["127.0.0.1:{service.port('metrics')}"] }}]
''')
    with Program(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={workspace}/tsdb",
                  f"--web.listen-address=127.0.0.1:{port}"], workspace):
        def query(text):
            url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(text)}"
            return http_get(url).json()["data"]["result"]
        assert wait_until(lambda: query("up == 1"), 60, "a scrape that worked")
        ups = {each["metric"]["child"]: each["value"][1] for each in query("pillion_scrape_up")}
        assert ups == {"app": "1", "rubbish": "0", "mute": "0", "dead": "0"}
        assert query('orders_total{child="app"}')[0]["value"][1] == "7"
