"""Real servers: Redis, nginx, HAProxy, PostgreSQL. What they say is shown; when they go, so do their series."""
import pytest

from support.metrics_lab import MetricsLab
from support.metrics_servers import PostgresServer, nginx_and_haproxy, redis
from support.pillion_testing import Program, run, wait_until
from support.tls_lab import Authority


@pytest.fixture
def lab(workspace):
    return MetricsLab(workspace)


def test_redis_with_a_password_and_its_keyspace(lab):
    (lab.directory / "password").write_text("s3cret\n")
    with redis(lab, "--requirepass", "s3cret", "--unixsocket", lab.directory / "redis.sock") as server, lab.start('''
[[input]]
redis = { address = "127.0.0.1:@port:redis@", password_file = "@dir@/password" }
period = "200ms"
labels = { cache = "main" }
[[input]]
name = "by-socket"
redis = { socket = "@dir@/redis.sock", password_file = "@dir@/password" }
prefix = "second_"
period = "200ms"
[[input]]
name = "no-password"
redis = { address = "127.0.0.1:@port:redis@" }
period = "200ms"
'''):
        lab.wait_until_up("redis")
        for command in (["set", "a", "1"], ["setex", "b", "100", "2"], ["get", "a"]):
            run(["redis-cli", "-p", str(lab.port("redis")), "-a", "s3cret", *command], check=0)
        lab.wait_for("redis_db_keys", 2, db="db0", cache="main")
        assert lab.value("redis_db_keys_expiring", db="db0") == 1
        assert lab.wait_for("redis_commands_total", cmd="get", cache="main") == 1
        assert lab.value("redis_instance_info", role="master", cache="main") == 1
        assert lab.value("redis_memory_used_bytes", cache="main") > 100_000
        assert lab.value("redis_command_latency_seconds_count", cmd="get", cache="main") == 1
        lab.wait_for("second_redis_connected_clients")
        assert lab.value("pillion_metrics_source_up", source="no-password") == 0
        assert "no-password: down, Redis answers: NOAUTH" in lab.get("/health").body.decode()
        lab.check_formats()
        server.stop()
        lab.wait_until_gone("redis_db_keys")
        assert lab.value("pillion_metrics_source_up", source="redis") == 0
        assert "redis: down, 127.0.0.1:" in lab.get("/health").body.decode()
        assert lab.value("pillion_metrics_poll_failures_total", source="redis") >= 1
        wait_until(lambda: any(m.startswith("STATUS=0 of 3 inputs answer; redis: ") for m in lab.drain_messages()))


def test_a_replica_of_redis_over_tls(lab):
    identity = Authority(lab.directory / "ca").issue("redis", dns=["localhost"])
    options = ["--tls-port", lab.port("tls"), "--tls-cert-file", identity.certificate, "--tls-key-file", identity.key,
               "--tls-ca-cert-file", identity.bundle, "--tls-auth-clients", "no"]
    with redis(lab, *options), Program(
            ["/usr/bin/redis-server", "--port", lab.port("replica"), "--bind", "127.0.0.1", "--save", "", "--dir",
             lab.directory, "--dbfilename", "replica.rdb", "--replicaof", "127.0.0.1", lab.port("redis")],
            lab.directory), lab.start('''
[[input]]
redis = { address = "localhost:@port:tls@", tls = { ca_file = "%s" } }
period = "200ms"
[[input]]
name = "replica"
prefix = "r_"
redis = { address = "127.0.0.1:@port:replica@" }
period = "200ms"
[[input]]
name = "untrusted"
redis = { address = "127.0.0.1:@port:tls@", tls = {} }
period = "200ms"
''' % identity.bundle):
        lab.wait_for("redis_connected_slave_lag_seconds", slave_state="online")
        lab.wait_for("r_redis_master_link_up", 1)
        assert lab.value("redis_connected_slaves") == 1
        assert "untrusted: down, cannot start TLS: " in lab.get("/health").body.decode()


def test_nginx_and_haproxy_by_page_csv_and_socket(lab):
    with nginx_and_haproxy(lab) as nginx, lab.start('''
[[input]]
nginx = { url = "http://127.0.0.1:@port:nginx@/status" }
period = "200ms"
[[input]]
haproxy = { socket = "@dir@/haproxy.sock" }
period = "200ms"
[[input]]
name = "csv"
prefix = "csv_"
haproxy = { url = "http://127.0.0.1:@port:stats@/stats;csv" }
period = "200ms"
'''):
        lab.wait_until_up("nginx")
        before = lab.value("nginx_http_requests_total")
        assert before >= 1 and lab.value("nginx_connections_active") >= 1
        lab.wait_for("haproxy_backend_http_responses_total", proxy="api", code="2xx")
        lab.wait_for("haproxy_server_status", 1, proxy="api", server="one", state="UP")
        lab.wait_for("haproxy_server_status", 1, proxy="api", server="gone", state="DOWN")
        lab.wait_for("csv_haproxy_frontend_http_requests_total", proxy="web")
        lab.check_formats()
        nginx.stop()
        lab.wait_until_gone("nginx_http_requests_total")
        assert lab.value("pillion_metrics_source_up", source="haproxy") == 1


def test_postgresql_by_standard_and_own_queries(lab):
    with PostgresServer(lab) as postgres:
        postgres.psql("CREATE TABLE jobs(kind text, n int);"
                      "INSERT INTO jobs VALUES ('mail', 3), ('mail', 4), ('pdf', 1)")
        look_at_postgresql(lab, postgres)


def look_at_postgresql(lab, postgres):
    with lab.start(f'''
[[input]]
period = "200ms"
[input.postgresql]
connection = "host={postgres.directory} dbname=postgres user=admin"
password_file = "{postgres.password_file}"
[[input.postgresql.query]]
name = "jobs"
sql = "SELECT kind, sum(n) AS waiting, NULL::int AS nothing, count(*) AS done FROM jobs GROUP BY kind"
labels = ["kind"]
counters = ["done"]
gauges = ["waiting", "nothing"]
help = {{ waiting = "Jobs that wait." }}
[[input]]
name = "writer"
period = "200ms"
[input.postgresql]
connection = "host={postgres.directory} dbname=postgres user=admin"
password_file = "{postgres.password_file}"
standard = false
query = [{{ name = "w", sql = "INSERT INTO jobs VALUES ('x', 1) RETURNING n", gauges = ["n"] }}]
'''):
        lab.wait_for("jobs_waiting", 7, kind="mail")
        assert lab.value("jobs_done_total", kind="pdf") == 1
        assert lab.value("jobs_nothing", kind="pdf") is None
        assert lab.value("pg_stat_database_xact_commit_total", datname="postgres") > 0
        assert lab.value("pg_database_size_bytes", datname="postgres") > 1_000_000
        assert lab.value("pg_replication_is_replica") == 0
        assert lab.value("pg_settings_max_connections") == 100
        assert "# HELP jobs_waiting Jobs that wait.\n" in lab.text()
        health = lab.get("/health").body.decode()
        assert "writer: down, query w: ERROR:  cannot execute INSERT in a read-only transaction" in health
        lab.check_formats()
        postgres.stop()
        lab.wait_until_gone("jobs_waiting")
