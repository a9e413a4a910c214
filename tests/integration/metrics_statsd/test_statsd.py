"""Statsd by UDP, Unix datagrams and TCP: totals, mappings, limits, expiry, reload, and a real Prometheus that scrapes."""
import json
import signal
import socket
import time

import pytest

from support.metrics_lab import OPEN, MetricsLab, parse
from support.pillion_testing import Program, http_get, program, run, wait_until

ALL = '''
[[input]]
labels = { team = "shop" }
[input.statsd]
udp = "127.0.0.1:@port:statsd@"
tcp = "127.0.0.1:@port:statsd_tcp@"
socket = "@dir@/statsd.sock"
'''


@pytest.fixture
def lab(workspace):
    return MetricsLab(workspace)


def test_samples_from_three_sockets_add_up_and_both_formats_are_valid(lab):
    with lab.start(ALL) as metrics:
        lab.udp("shop.orders:3|c|@0.5|#region:eu,vip", "shop.latency:12.5|ms", "fill:5|g", "fill:-2|g")
        lab.unix("shop.orders:1|c|#vip,region:eu", "users:a|s", "users:b|s", "not a sample", "x:1|what")
        with socket.create_connection(("127.0.0.1", lab.port("statsd_tcp"))) as client:
            client.sendall(b"shop.orders:2|c|#region:eu,vip\nsplit.li")
            lab.wait_for("shop_orders_total", 9, region="eu", vip="true", team="shop")
            client.sendall(b"ne:4|c\nlast:1|c")
        lab.wait_for("split_line_total", 4)
        lab.wait_for("last_total", 1)
        assert lab.value("fill") == 3
        assert lab.value("users") == 2
        assert lab.value("shop_latency_seconds_bucket", le="0.025") == 1
        assert lab.value("shop_latency_seconds_sum") == 0.0125
        assert lab.value("pillion_metrics_statsd_bad_lines_total", reason="type") == 1
        assert lab.value("pillion_metrics_statsd_bad_lines_total", reason="malformed") == 1
        assert 'cannot read "x:1|what": type' in lab.get("/health").body.decode()
        lab.check_formats()
        opened = lab.text(OPEN)
        assert "# TYPE shop_orders counter\nshop_orders_total{" in opened.replace(
            "# HELP shop_orders From input statsd.\n", "")
        assert "# UNIT shop_latency_seconds seconds\n" in opened
        assert metrics.stop() == 0, metrics.output
    assert lab.receipt()["samples_taken"] == 10
    assert not (lab.directory / "statsd.sock").exists()


def test_mappings_summaries_and_the_start_of_series(lab):
    with lab.start('''
created = true
[[input]]
prefix = "app_"
[input.statsd]
udp = "127.0.0.1:@port:statsd@"
observations = "summary"
quantiles = [0.5, 0.99]
[[input.statsd.mapping]]
match = "*.requests.*"
name = "requests"
labels = { service = "$1", code = "$2" }
help = "Requests."
[[input.statsd.mapping]]
match = "debug.*"
drop = true
[[input.statsd.mapping]]
match = "size"
observations = "histogram"
buckets = [10, 100]
'''):
        began = time.time()
        lab.udp("shop.requests.200:7|c", "debug.x:1|c", "size:50|h", *[f"t:{i}|ms" for i in range(1, 101)])
        lab.wait_for("app_requests_total", 7, service="shop", code="200")
        lab.wait_for("app_t_seconds_count", 100)
        assert 0.049 < lab.value("app_t_seconds", quantile="0.5") < 0.052
        assert lab.value("app_size_bucket", le="100.0") == 1
        assert lab.value("pillion_metrics_statsd_dropped_samples_total") == 1
        lab.check_formats()
        created = next(value for (name, _), value in parse(lab.text(OPEN)).items() if name == "app_requests_created")
        assert abs(created - began) < 30


def test_series_beyond_the_limit_are_refused_and_idle_ones_expire(lab):
    with lab.start('''
max_series = 5
[[input]]
statsd = { udp = "127.0.0.1:@port:statsd@", ttl = "1500ms" }
'''):
        lab.udp(*[f"series{i}:1|c" for i in range(8)])
        lab.wait_for("pillion_metrics_series", 5)
        assert lab.wait_for("pillion_metrics_statsd_refused_samples_total") == 3
        assert "there is no room for series7_total" in lab.get("/health").body.decode()

        def only_the_live_one_is_left():
            lab.udp("series0:1|c")
            return lab.value("pillion_metrics_statsd_expired_series_total") == 4
        wait_until(only_the_live_one_is_left)
        assert lab.value("series0_total") > 1
        lab.udp("series7:1|c")
        lab.wait_for("series7_total", 1)


def test_a_reload_keeps_what_did_not_change_and_a_bad_one_changes_nothing(lab):
    other = '[[input]]\nname = "b"\nstatsd = { udp = "127.0.0.1:@port:b@" }\n'
    with lab.start(ALL + other) as metrics:
        lab.udp("a:1|c")
        lab.udp("b:1|c", key="b")
        lab.wait_for("b_total", 1)
        lab.configure(ALL + other + "nonsense = 1\n")
        metrics.signal(signal.SIGHUP)
        wait_until(lambda: any(m.startswith("STATUS=reload refused") for m in lab.drain_messages()))
        assert "nonsense" in metrics.stderr
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", lab.port("taken")))
            lab.configure(ALL.replace("shop", "other") + '[[input]]\nname = "c"\nstatsd = { udp = "127.0.0.1:@port:taken@" }')
            metrics.signal(signal.SIGHUP)
            wait_until(lambda: "in use" in metrics.stderr)
        lab.unix("by_path:1|c")
        lab.wait_for("by_path_total", 1, team="shop")
        lab.configure(ALL + other + 'labels = { fresh = "yes" }\n')
        metrics.signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded: 2 inputs" in metrics.stderr)
        lab.udp("a:1|c")
        lab.udp("b:5|c", key="b")
        lab.wait_for("a_total", 2)
        lab.wait_for("b_total", 5, fresh="yes")
        lab.configure(other)
        metrics.signal(signal.SIGHUP)
        lab.wait_until_gone("a_total")
        assert not (lab.directory / "statsd.sock").exists()
        assert metrics.stop() == 0
    assert lab.receipt()["samples_taken"] == 5


def test_bad_configurations_are_told_in_full_before_anything_opens(lab):
    lab.configure('''
[[input]]
name = "x"
statsd = { ttl = "1m" }
[[input]]
name = "x"
json = { url = "http://localhost", metric = [{ path = "a", name = "n" }] }
labels = { "1" = "y" }
''')
    checked = run([program("pillion-metrics"), "--config", lab.config, "--check"], check=78)
    for words in ("needs `udp`, `tcp` or `socket`", "two inputs are named `x`", "`1` is no name for a label"):
        assert words in checked.stderr
    lab.configure('[[input]]\ntext = { url = "http://localhost", metric = [{ pattern = "(", name = "n" }] }\n')
    checked = run([program("pillion-metrics"), "--config", lab.config, "--check"], check=78)
    assert "missing closing parenthesis" in checked.stderr
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", lab.port("statsd")))
        with lab.start('[[input]]\nstatsd = { udp = "127.0.0.1:@port:statsd@" }', wait_ready=False) as metrics:
            assert metrics.wait() == 71
            assert str(lab.port("statsd")) in metrics.stderr


def test_a_real_prometheus_scrapes_it(lab):
    with lab.start('[[input]]\nstatsd = { udp = "127.0.0.1:@port:statsd@" }') as metrics:
        lab.udp("orders:3|c|#path:/a\\b", "lat:20|ms")
        (lab.directory / "prometheus.yml").write_text(lab.fill_in('''
global: { scrape_interval: 200ms, scrape_timeout: 200ms }
scrape_configs:
  - job_name: app
    static_configs: [{ targets: ["127.0.0.1:@port:metrics@"] }]
'''))
        address = f"127.0.0.1:{lab.port('prometheus')}"
        with Program(["/usr/bin/prometheus", f"--config.file={lab.directory}/prometheus.yml",
                      f"--storage.tsdb.path={lab.directory}/tsdb", f"--web.listen-address={address}",
                      "--log.level=error"], lab.directory) as prometheus:
            def query(text):
                reply = http_get(f"http://{address}/api/v1/query?query={text}").json()
                return [(r["metric"], float(r["value"][1])) for r in reply["data"]["result"]]
            found = wait_until(lambda: query("orders_total"), what="orders_total in Prometheus")
            assert found[0][1] == 3 and found[0][0]["path"] == "/a\\b"
            assert query("lat_seconds_count")[0][1] == 1
            assert query("up")[0][1] == 1
            facts = http_get(f"http://{address}/api/v1/metadata?metric=lat_seconds").json()["data"]["lat_seconds"][0]
            assert (facts["type"], facts["unit"]) == ("histogram", "seconds"), json.dumps(facts)
            prometheus.stop()
        assert metrics.stop() == 0
