"""Metrics made of log records: pillion-logs counts, pillion-metrics shows; neither's restart loses a record."""
import pytest

from support.log_lab import LogLab
from support.metrics_lab import MetricsLab
from support.pillion_testing import program, run, wait_until

METRICS = '[[input]]\nstatsd = { socket = "@dir@/statsd.sock", buckets = [0.1, 1] }\n'
OUTPUT = '''
batch = { max_wait = "20ms" }
retry = { base = "20ms", max = "100ms" }
[output.statsd]
socket = "@dir@/statsd.sock"
[[output.statsd.metric]]
name = "orders"
labels = { status = "status", level = "log.level" }
match = { status = "^(PAID|FAILED)$" }
[[output.statsd.metric]]
name = "order.amount"
value = "amount"
match = { status = "PAID" }
[[output.statsd.metric]]
name = "order.duration"
type = "timer"
value = "took"
[[output.statsd.metric]]
name = "balance"
type = "gauge"
value = "balance"
'''
LINES = ["2024-01-15 14:32:01 INFO status=PAID amount=12.5 took=50 n=1",
         "2024-01-15 14:32:02 INFO status=PAID amount=2.5 took=500 balance=-3 n=2",
         "2024-01-15 14:32:03 ERROR status=FAILED amount=9 took=5000 n=3",
         "2024-01-15 14:32:04 INFO status=OTHER amount=x took= n=4"]


@pytest.fixture
def logs(workspace):
    lab = LogLab(workspace)
    lab.configure(input='file = "@dir@/app.log"\ntimezone = "utc"', output=OUTPUT)
    return lab


@pytest.fixture
def metrics(workspace):
    (workspace / "metrics").mkdir()
    lab = MetricsLab(workspace / "metrics")
    lab.fill_in = lambda text, fill_in=lab.fill_in: fill_in(text.replace("@dir@/statsd.sock", f"{workspace}/statsd.sock"))
    return lab


def test_records_become_counters_histograms_and_gauges_once_each(logs, metrics):
    logs.path("app.log").write_text("".join(line + "\n" for line in LINES))
    with logs.start() as reader:
        # Nobody listens yet: the records wait in the file.
        wait_until(lambda: "trying again" in reader.stderr)
        with metrics.start(METRICS) as shown:
            metrics.wait_for("orders_total", 2, status="PAID", level="info")
            assert metrics.value("orders_total", status="FAILED", level="error") == 1
            assert metrics.value("order_amount_total") == 15
            assert metrics.value("order_duration_seconds_count") == 3
            assert metrics.value("order_duration_seconds_bucket", le="1.0") == 2
            assert metrics.value("balance") == -3
            assert shown.stop() == 0
        with logs.path("app.log").open("a") as file:
            file.writelines(f"2024-01-15 14:33:00 INFO status=PAID amount=1 n={n}\n" for n in range(5000))
        with metrics.start(METRICS):
            metrics.wait_for("orders_total", 5000, status="PAID")
            assert metrics.value("order_amount_total") == 5000
            assert reader.stop() == 0
    assert logs.receipt()["records_pending"] == 0
    # What was acknowledged is not counted again after a restart of the reader.
    with metrics.start(METRICS), logs.start() as reader:
        with logs.path("app.log").open("a") as file:
            file.write(LINES[0] + "\n")
        metrics.wait_for("orders_total", 1, status="PAID")
        assert reader.stop() == 0


def test_a_metric_that_cannot_work_is_told(logs):
    logs.configure(input='file = "@dir@/app.log"', output=OUTPUT.replace("^(PAID", "^((PAID"))
    checked = run([program("pillion-logs"), "--config", logs.config, "--check"], check=78)
    assert 'orders: match."status"' in checked.stderr
    logs.configure(input='file = "@dir@/app.log"', output=OUTPUT.replace('value = "took"\n', ""))
    checked = run([program("pillion-logs"), "--config", logs.config, "--check"], check=78)
    assert "a timer needs `value`" in checked.stderr
