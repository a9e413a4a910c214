"""The ledger: read = delivered + dropped + pending, per input and output, whatever happens on the way."""
import json

import pytest

from support.log_lab import FakeElasticsearch, LogLab, NumberedWriter, line
from support.pillion_testing import free_port, http_get, requires_root, run, wait_until


@pytest.fixture
def lab(workspace):
    return LogLab(workspace)


def ledger_of(lab, *options, **env):
    environment = {"PILLION_STATE_DIR": str(lab.path("state")), "PILLION_SERVICE": "lab", **env}
    done = run(["pillion-logs", "ledger", "--config", lab.config, "--json", *options], env=environment, check=0)
    return json.loads(done.stdout)["outputs"]


def check_equation(outputs):
    for output in outputs:
        for counts in [*output["inputs"], *([output] if "read" in output else [])]:
            assert counts["read"] == counts["delivered"] + counts["dropped"] + counts["pending"], counts


def inputs_of(output):
    return {entry["input"]: entry for entry in output["inputs"]}


def test_every_line_is_in_the_ledger_under_rotation_filters_and_dead_letters(lab):
    """Two inputs, one rotated while it is written; one output refuses some for good, the other filters."""
    count, port = 3000, free_port()
    refused = {n for n in range(count) if n % 100 == 7}
    with FakeElasticsearch(verdict=lambda document, attempt: 400 if document["n"] in refused
                           else 429 if document["n"] % 50 == 3 and attempt == 1 else 201) as fake:
        lab.config.write_text(f'''
[[input]]
file = "{lab.path("app.log")}"
timezone = "utc"
[[input]]
file = "{lab.path("other.log")}"
timezone = "utc"
[[output]]
elasticsearch = {{ url = "{fake.url}", index = "o", dead_letter = "{lab.path("dead")}" }}
batch = {{ max_size = "8KiB", max_wait = "20ms" }}
retry = {{ base = "10ms", max = "50ms" }}
[[output]]
file = {{ path = "{lab.path("out.json")}" }}
filter = {{ exclude = {{ n = "5$" }} }}
[checkpoint]
interval = "50ms"
[admin]
listen = "127.0.0.1:{port}"
''')
        lab.path("other.log").write_text("".join(line(n) for n in range(200)))
        writer = NumberedWriter(lab.path("app.log"), count, every=400)
        logs = lab.start()
        writer.start()
        while writer.is_alive():
            check_equation(http_get(f"http://127.0.0.1:{port}/ledger").json()["outputs"])
        expected = (count - len(refused), len(refused))

        def is_settled():
            bulk, file = http_get(f"http://127.0.0.1:{port}/ledger").json()["outputs"]
            app, filed = (inputs_of(output)[str(lab.path("app.log"))] for output in (bulk, file))
            return (app["delivered"], app["dropped"]) == expected and filed["delivered"] + filed["filtered"] == count
        wait_until(is_settled, timeout=60)
        bulk, file = ledger_of(lab)  # from the running adapter
        metrics = http_get(f"http://127.0.0.1:{port}/stats/prometheus").body.decode()
        assert logs.stop() == 0, logs.output
    check_equation([bulk, file])
    other = inputs_of(bulk)[str(lab.path("other.log"))]
    assert (other["read"], other["delivered"], other["dropped"]) == (200, 198, 2)
    assert inputs_of(file)[str(lab.path("app.log"))]["filtered"] == count // 10
    assert inputs_of(file)[str(lab.path("other.log"))]["filtered"] == 20
    assert bulk["dropped"] == len(refused) + 2 == len(lab.path("dead").read_text().splitlines())
    assert (f'pillion_logs_input_records_total{{input="{lab.path("other.log")}",output="elasticsearch o",'
            'outcome="dropped"} 2') in metrics
    left = ledger_of(lab)  # from the checkpoints it has left
    assert [output["inputs"] for output in left] == [bulk["inputs"], file["inputs"]]
    assert all("read" not in output and output["bytes_unread"] == 0 for output in left)
    receipt = lab.receipt()
    assert receipt["records_read"] == bulk["read"] + file["read"] and receipt["records_pending"] == 0


def test_the_ledger_goes_on_over_restarts_and_what_was_pending_is_read_again(lab):
    with FakeElasticsearch(verdict=lambda document, attempt: 201 if document["n"] < 40 else 429) as fake:
        lab.configure(f'file = "{lab.path("app.log")}"',
                      f'elasticsearch = {{ url = "{fake.url}", index = "o" }}\n'
                      'batch = { max_wait = "10ms" }\nretry = { base = "10ms", max = "20ms" }')
        lab.path("app.log").write_text("".join(line(n) for n in range(40)))
        with lab.start(PILLION_DRAIN_SECONDS=1) as logs:
            wait_until(lambda: len(fake.stored) == 40)
            with open(lab.path("app.log"), "a") as file:
                file.write("".join(line(n) for n in range(40, 100)))
            logs.stop()
        assert lab.receipt()["records_pending"] == 60
        left, = ledger_of(lab)
        only, = left["inputs"]
        assert (only["read"], only["delivered"], only["pending"]) == (40, 40, 0)
        assert left["bytes_unread"] == sum(len(line(n)) for n in range(40, 100))
        fake.verdict = lambda document, attempt: 201
        with lab.start() as logs:
            wait_until(lambda: len(fake.stored) == 100)
            assert logs.stop() == 0
        assert lab.receipt()["records_read"] == 60
    left, = ledger_of(lab)
    only, = left["inputs"]
    assert (only["read"], only["delivered"], only["dropped"]) == (100, 100, 0) and left["bytes_unread"] == 0


def test_the_status_line_and_the_table_say_it(lab):
    lab.path("app.log").write_text("".join(line(n) for n in range(12)))
    lab.configure(f'file = "{lab.path("app.log")}"', 'file = { path = "@dir@/out.json" }')
    with lab.start() as logs:
        wait_until(lambda: any("records read 12 = delivered 12 + dropped 0 + pending 0" in message
                               for message in lab.drain_messages()))
        assert logs.stop() == 0
    done = run(["pillion-logs", "ledger", "--config", lab.config],
               env={"PILLION_STATE_DIR": str(lab.path("state")), "PILLION_SERVICE": "lab"}, check=0)
    header, names, row = done.stdout.splitlines()
    assert header == f"file {lab.path('out.json')} (not running)" and names.split()[0] == "INPUT"
    assert row.split() == [str(lab.path("app.log")), "12", "12", "0", "0", "0"]


def test_without_adapter_and_checkpoint_it_says_where_it_looked(lab):
    lab.configure(f'file = "{lab.path("app.log")}"', "stdout = {}")
    done = run(["pillion-logs", "ledger", "--config", lab.config],
               env={"PILLION_STATE_DIR": str(lab.path("none")), "PILLION_SERVICE": "lab"}, check=1)
    assert f"no checkpoint is at {lab.path('none/lab/logs/stdout.checkpoint')}" in done.stderr
    assert "no adapter answers" in done.stderr


@requires_root
def test_the_address_of_a_services_adapter_is_the_one_its_configuration_names(services):
    service = services("""
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "echo 'level=info n=1'; exec sleep 1000"]
        [adapter.logs]
        use = "logs"
        inherit_env = ["PILLION_LOG_DIR"]
        [adapter.logs.config]
        [[adapter.logs.config.input]]
        child = "app"
        [[adapter.logs.config.output]]
        stdout = {}
        [adapter.logs.config.admin]
        listen = "127.0.0.1:@port:ledger@"
""").start()
    outputs = http_get(f"http://127.0.0.1:{service.port('ledger')}/ledger").json()["outputs"]
    assert [output["output"] for output in outputs] == ["stdout"]
    service.stop()
