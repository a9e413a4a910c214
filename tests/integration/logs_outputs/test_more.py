"""zstd, labels, trace ids, nested names, values from the environment, and records for people."""
import json
import subprocess

import pytest

from support.http_receiver import HttpReceiver
from support.log_lab import FakeElasticsearch, LogLab, line
from support.pillion_testing import run, wait_until
from test_outputs import COUNT, FILE, SOON, run_until


@pytest.fixture
def lab(workspace):
    lab = LogLab(workspace)
    lab.path("app.log").write_text("".join(line(n) for n in range(COUNT)))
    return lab


def test_zstd_where_the_receiver_takes_it(lab):
    with HttpReceiver() as receiver:
        lab.configure(FILE, SOON + f'http = {{ url = "{receiver.url}", compression = "zstd" }}')
        run_until(lab, lambda: sum(map(len, receiver.bodies)) > 0)
    assert {request.headers["Content-Encoding"] for request in receiver.accepted} == {"zstd"}
    unpacked = b"".join(subprocess.run(["zstd", "-dc"], input=body, stdout=subprocess.PIPE, check=True).stdout
                        for body in receiver.bodies)
    assert sorted(json.loads(text)["n"] for text in unpacked.splitlines()) == list(range(COUNT))


def test_a_mapping_conflict_is_sent_again_with_labels_and_only_then_buried(lab):
    lab.path("app.log").write_text("".join(
        json.dumps({"time": "2024-01-15T14:32:01Z", "n": n, "code": "E17" if n % 2 else 17, "message": "m"}) + "\n"
        for n in range(20)))

    def verdict(document, _attempt):
        if "labels" in document:
            return 400 if document["labels"]["n"] == "7" else 201
        return 400 if isinstance(document["code"], str) else 201

    with FakeElasticsearch(verdict) as fake:
        lab.configure(FILE, SOON + f'elasticsearch = {{ url = "{fake.url}", index = "o", dead_letter = "@dir@/dead" }}',
                      '[fields]\nlabels = "on-conflict"\nadd = { zone = "eu" }')
        with lab.start() as logs:
            wait_until(lambda: any("delivered 19 + dropped 1 + pending 0" in m for m in lab.drain_messages()))
            assert logs.stop() == 0, logs.output
    letter, = map(json.loads, lab.path("dead").read_text().splitlines())
    assert letter["document"]["n"] == 7 and letter["document"]["code"] == "E17"


def records_of(lab, text, fields, **env):
    lab.path("app.log").write_text(text)
    lab.configure(FILE, 'file = { path = "@dir@/out.json" }', "[fields]\n" + fields)
    with lab.start(**env) as logs:
        wait_until(lambda: len(lab.records()) == len(text.splitlines()))
        assert logs.stop() == 0, logs.output
    return lab.records()


def test_labels_always(lab):
    record, = records_of(lab, '{"time":"2024-01-15T14:32:01Z","status":500,"http.version":"1.1","a":{"b.c":[1]}}\n',
                         'labels = "always"\nadd = { zone = "eu" }')
    assert record["labels"] == {"status": "500", "a_b_c": "[1]"}
    assert record["http.version"] == "1.1" and record["zone"] == "eu" and "status" not in record


def test_trace_ids_of_any_spelling(lab):
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    first, second, third = records_of(
        lab, f'{{"traceId":"{trace}","spanId":"{span}"}}\n{{"traceparent":"00-{trace}-{span}-01"}}\n'
             '{"traceparent":"broken"}\n', "trace_ids = true")
    for record in (first, second):
        assert record["trace.id"] == trace and record["span.id"] == span
    assert "traceparent" not in second and third["traceparent"] == "broken"


def test_values_from_the_environment(lab):
    record, = records_of(lab, "level=info\n", 'add_from_env = { "k8s.pod.name" = "POD_NAME" }', POD_NAME="orders-7f")
    assert record["k8s.pod.name"] == "orders-7f"
    done = run(["pillion-logs", "--config", lab.config, "--check"], check=78)
    assert '"POD_NAME" is not in the environment' in done.stderr


def test_names_within_objects_are_dropped_and_moved(lab):
    record, = records_of(lab, '{"a":{"b":{"c":1,"d":2},"e":[{"b":3}],"user":"ann"},"x":0}\n',
                         'drop = ["a.b.c", "a.e"]\nrename = { "a.user" = "user.name", "a.b.d" = "x" }\n'
                         'redact = ["user.name"]')
    assert record["a"] == {"b": {}} and record["user.name"] == "[REDACTED]"
    assert record["x"] == 0 and record["x_2"] == 2


def test_records_for_people(lab):
    lab.configure("stdin = true", "stdout = { pretty = true }")
    done = run(["pillion-logs", "--config", lab.config], input='{"a":{"b":[1,"x"]}}\n', check=0,
               env={"PILLION_STATE_DIR": lab.path("state")})
    assert done.stdout.startswith('{\n  "a": {\n    "b": [\n      1,\n      "x"\n    ]\n  },\n  "@timestamp": ')
