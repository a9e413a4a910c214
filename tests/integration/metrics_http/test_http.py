"""Sources over HTTP (JSON, text, Jolokia, Prometheus) and OTLP pushes: mapping, failures, time limits, retries."""
import json
import time

import pytest

from support.metrics_lab import MetricsLab, serve_pages
from support.pillion_testing import wait_until
from support.protobuf_wire import protobuf_fields as fields

JOLOKIA = [
    {"request": {"type": "read", "mbean": "java.lang:type=Memory"}, "status": 200,
     "value": {"HeapMemoryUsage": {"init": 1, "used": 20, "max": 64}, "Verbose": False}},
    {"request": {"type": "read"}, "status": 200,
     "value": {"java.lang:name=G1 Old,type=GarbageCollector": {"CollectionCount": 3}}},
    {"request": {"type": "read"}, "status": 404, "error": "InstanceNotFoundException", "error_type": "x"},
]

FIVE_KINDS = '''
labels = { site = "eu" }
[[input]]
period = "200ms"
[input.json]
url = "@url@/stats"
auth = { bearer_file = "@dir@/token" }
headers = { X-Tenant = "shop" }
[[input.json.metric]]
path = "/queues/*/depth"
name = "queue_depth"
labels = { queue = "./name", place = "$1" }
help = "Waiting."
[[input.json.metric]]
path = "/state"
name = "state_up"
values = { UP = 1, DOWN = 0 }
[[input.json.metric]]
path = "/busyMs"
name = "busy"
type = "counter"
unit = "seconds"
scale = 0.001
[[input]]
name = "flat"
prefix = "flat_"
period = "200ms"
json = { url = "@url@/all" }
[[input]]
period = "200ms"
[input.text]
url = "@url@/text"
metric = [{ pattern = '^worker (?<worker>\\w+): (?<value>\\d+)', name = "jobs", type = "counter" }]
[[input]]
period = "200ms"
[input.jolokia]
url = "@url@/jolokia"
[[input.jolokia.read]]
mbean = "java.lang:type=Memory"
[[input.jolokia.read]]
mbean = "java.lang:type=GarbageCollector,name=*"
attribute = ["CollectionCount"]
type = "counter"
[[input.jolokia.read]]
mbean = "app:type=Gone"
[[input]]
period = "200ms"
prometheus = { url = "@url@/metrics", drop = ["go_*"] }
'''


@pytest.fixture
def lab(workspace):
    return MetricsLab(workspace)


def test_json_text_jolokia_and_prometheus_become_one_page(lab):
    pages = {
        "/stats": json.dumps({"queues": [{"name": "in", "depth": 4}, {"name": "out \"x\"", "depth": 0}],
                              "state": "UP", "busyMs": 1500}).encode(),
        "/all": b'{"http.requests": 5, "pool": {"idle": 2}, "text": "no"}',
        "/text": b"worker a: 5 jobs\nnothing here\nworker b: 7 jobs\n",
        "/jolokia": json.dumps(JOLOKIA).encode(),
        "/metrics": b"# HELP rpc_seconds Time.\n# TYPE rpc_seconds summary\nrpc_seconds{quantile=\"0.5\"} 0.1\nrpc_seconds_sum 3\n"
                    b"rpc_seconds_count 9\n# TYPE go_x gauge\ngo_x 1\nqueue_depth 3\n",
    }
    (lab.directory / "token").write_text("t0ken\n")
    with serve_pages(pages) as source, lab.start(FIVE_KINDS.replace("@url@", source.url)):
        for name in ("json", "flat", "text", "jolokia", "prometheus"):
            lab.wait_until_up(name)
        assert lab.value("queue_depth", queue='out \\"x\\"', place="1", site="eu") == 0
        assert lab.value("state_up") == 1
        assert lab.value("busy_seconds_total") == 1.5
        assert lab.value("flat_http_requests") == 5
        assert lab.value("flat_pool_idle") == 2
        assert lab.value("jobs_total", worker="b") == 7
        assert lab.value("java_lang_memory_heap_memory_usage_used") == 20
        assert lab.value("java_lang_garbage_collector_collection_count_total", name="G1 Old") == 3
        assert lab.value("rpc_seconds", quantile="0.5") == 0.1
        assert lab.value("go_x") is None
        lab.check_formats()
        # The same name, of another kind: the first input's is shown, and it is told.
        assert lab.value("pillion_metrics_conflicting_series") == 1
        assert "left out: prometheus: queue_depth is a unknown here, a gauge in json" in lab.get("/health").body.decode()
        asked = {request.path: request for request in source.requests}
        assert asked["/stats"].headers["Authorization"] == "Bearer t0ken"
        assert asked["/stats"].headers["X-Tenant"] == "shop"
        assert [read["mbean"] for read in json.loads(asked["/jolokia"].body)][1] == "java.lang:type=GarbageCollector,name=*"


def test_a_slow_or_broken_source_delays_nobody_and_loses_its_series(lab):
    trouble = {"mode": "good"}

    def moody(_request):
        if trouble["mode"] == "slow":
            time.sleep(2)
        return {"good": b'{"a": 1}', "slow": b'{"a": 2}', "broken": b"{", "large": b'{"a": 1, "b": "' + b"x" * 9000 + b'"}',
                "refusing": (503, b"no")}[trouble["mode"]]

    with serve_pages({"/moody": moody, "/good": b'{"b": 1}'}) as source, lab.start('''
[[input]]
name = "moody"
period = "100ms"
timeout = "400ms"
max_body = "8KiB"
json = { url = "@url@/moody" }
[[input]]
name = "good"
period = "100ms"
json = { url = "@url@/good" }
'''.replace("@url@", source.url)):
        health = lambda: lab.get("/health").body.decode()  # noqa: E731
        for mode, why in (("slow", "moody: down, "), ("broken", "moody: down, the answer is no JSON"),
                          ("large", "moody: down, "), ("refusing", "moody: down, the server answers 503")):
            trouble["mode"] = "good"
            lab.wait_for("a", 1)
            trouble["mode"] = mode
            lab.wait_until_gone("a")
            wait_until(lambda: why in health(), what=why)  # noqa: B023
            began = time.monotonic()
            assert lab.value("b") == 1
            assert lab.value("pillion_metrics_source_up", source="moody") == 0
            assert time.monotonic() - began < 2
        assert lab.value("pillion_metrics_source_up", source="good") == 1


def test_otlp_pushes_are_retried_and_carry_everything_in_the_end(lab):
    answers = [(503, {"Retry-After": "0"}, b""), (200, b"")]

    def collector(_request):
        return answers.pop(0) if len(answers) > 1 else answers[0]

    with serve_pages({"/v1/metrics": collector}) as source:
        (lab.directory / "key").write_text("k3y\n")
        with lab.start('''
[[input]]
statsd = { udp = "127.0.0.1:@port:statsd@" }
labels = { team = "shop" }
[[output]]
[output.otlp]
url = "@url@"
encoding = "json"
interval = "300ms"
header_files = { X-Api-Key = "@dir@/key" }
resource = { "deployment.environment.name" = "test" }
'''.replace("@url@", source.url)) as metrics:
            lab.udp("orders:3|c", "fill:0.5|g", "lat:20|ms")
            lab.wait_for("orders_total", 3)
            lab.wait_for("pillion_metrics_output_up", 1)
            wait_until(lambda: len(source.requests) >= 3)
            lab.udp("orders:4|c")
            lab.wait_for("orders_total", 7)
            assert lab.value("pillion_metrics_push_failures_total") == 1
            assert metrics.stop() == 0
        assert lab.receipt()["points_pushed"] > 3
        headers, body = source.requests[-1].headers, source.requests[-1].body
        assert (headers["X-Api-Key"], headers["Content-Encoding"]) == ("k3y", "gzip")
        sent = json.loads(body)["resourceMetrics"][0]
        resource = {a["key"]: a["value"]["stringValue"] for a in sent["resource"]["attributes"]}
        assert resource["service.name"] == "unknown_service:pillion-metrics"
        assert resource["deployment.environment.name"] == "test" and resource["host.name"]
        metrics = {metric["name"]: metric for metric in sent["scopeMetrics"][0]["metrics"]}
        orders = metrics["orders_total"]["sum"]
        assert orders["isMonotonic"] and orders["aggregationTemporality"] == 2
        point = orders["dataPoints"][0]
        assert point["asDouble"] == 7  # the last push carries what came last
        assert point["attributes"] == [{"key": "team", "value": {"stringValue": "shop"}}]
        assert 0 < int(point["startTimeUnixNano"]) < int(point["timeUnixNano"])
        latency = metrics["lat_seconds"]
        assert latency["unit"] == "s" and latency["histogram"]["dataPoints"][0]["bucketCounts"][2] == "1"
        assert metrics["fill"]["gauge"]["dataPoints"][0]["asDouble"] == 0.5


def test_otlp_in_protobuf_says_the_same(lab):
    with serve_pages({"/v1/metrics": b"\x0a\x04\x08\x02\x12\x00"}) as source, lab.start('''
[[input]]
statsd = { udp = "127.0.0.1:@port:statsd@" }
[[output]]
otlp = { url = "@url@/", interval = "200ms", compress = false }
'''.replace("@url@", source.url)):
        lab.udp("orders:3|c|#a:b")
        lab.wait_for("orders_total", 3)
        count = len(source.requests)
        wait_until(lambda: len(source.requests) >= count + 2)
        assert lab.value("pillion_metrics_rejected_points_total") >= 2
        resource = dict(fields(dict(fields(source.requests[-1].body))[1]))
        scope = fields(resource[2])
        metrics = {dict(fields(value))[1].decode(): fields(value) for number, value in scope if number == 2}
        total = dict(fields(dict(metrics["orders_total"])[7]))
        assert (total[2], total[3]) == (2, 1)
        point = dict(fields(total[1]))
        assert point[4] == b"\x00\x00\x00\x00\x00\x00\x08\x40"  # 3.0
        assert [value for _, value in fields(point[7])][0] == b"a"
