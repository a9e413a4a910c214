"""A stop under load: no failed request, no lost log line, an honest receipt, nothing left."""
import http.client
import json
import threading
import time

from support.pillion_testing import http_get, requires_root, wait_until

SERVICE = '''
        [service]
        name = "@name@"
        drain_delay = "2s"
        stop_grace = "20s"
        [network]
        publish = ["@port:web@:8080"]
        [volume.logs]
        path = "/var/log/app"
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
        ports = [{ name = "http", port = 8080, protocol = "http" }]
        mounts = ["logs"]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [adapter.logs]
        use = "logs"
        mounts = ["logs:ro"]
        [[adapter.logs.config.input]]
        file = "/var/log/app/app.log"
        [[adapter.logs.config.output]]
        file = { path = "@dir@/out/app.json" }
        [sidecar.proxy]
        use = "proxy"
'''


class Client(threading.Thread):
    """A keep-alive client that obeys HTTP: after `Connection: close` it connects anew, and it stops
    when the service is out of the load balancer, that is when its health says 503."""

    def __init__(self, service, number):
        super().__init__(daemon=True)
        self.service, self.number = service, number
        self.sent, self.failures = [], []
        self.out_of_rotation = threading.Event()

    def run(self):
        connection = None
        index = 0
        while not self.out_of_rotation.is_set():
            line = f"2024-01-15%2014:32:01%20INFO%20client={self.number}%20request={index}"
            try:
                connection = connection or http.client.HTTPConnection(
                    "127.0.0.1", self.service.port("web"), timeout=20)
                connection.request("GET", f"/append?file=/var/log/app/app.log&line={line}")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.failures.append(f"{index}: status {response.status}")
                self.sent.append((self.number, index))
                if (response.getheader("Connection") or "").lower() == "close":
                    connection.close()
                    connection = None
            except OSError as error:
                self.failures.append(f"{index}: {error!r}")
                connection = None
            index += 1


@requires_root
def test_a_stop_under_load_fails_no_request_and_loses_no_line(services):
    service = services(SERVICE)
    out = service.directory / "out"
    out.mkdir()
    out.chmod(0o777)
    service.start()
    clients = [Client(service, number) for number in range(4)]
    for client in clients:
        client.start()
    wait_until(lambda: all(len(client.sent) > 20 for client in clients), 30, "load to run")
    stopping = threading.Thread(target=service.stop)
    stopping.start()
    started = time.monotonic()
    service.wait_for(lambda: not (service.status() or {"ready": False})["ready"], 10, "not ready")
    time.sleep(0.5)  # a load balancer's own delay, well inside drain_delay
    for client in clients:
        client.out_of_rotation.set()
    for client in clients:
        client.join(30)
    stopping.join(60)
    took = time.monotonic() - started
    assert [failure for client in clients for failure in client.failures] == []
    assert service.process.returncode == 0, service.describe()
    assert took < 20

    sent = {pair for client in clients for pair in client.sent}
    delivered = [json.loads(line) for line in (out / "app.json").read_text().splitlines()]
    pairs = [(int(record["client"]), int(record["request"])) for record in delivered]
    assert len(pairs) == len(set(pairs)), "a line was delivered twice"
    assert set(pairs) == sent

    receipt = json.loads((service.state_dir / "last-stop.json").read_text())
    counts = receipt["counts"]
    assert counts["requests_aborted"] == 0, receipt
    assert counts["requests_finished"] >= len(sent), receipt
    assert counts["records_dropped"] == counts["records_pending"] == 0, receipt
    assert counts["records_delivered"] == len(sent), receipt


@requires_root
def test_an_app_that_ignores_the_signal_is_killed_in_time_for_its_sidecars(services):
    service = services('''
        [service]
        name = "@name@"
        stop_grace = "4s"
        sidecar_reserve = "2s"
        [app]
        command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080", "--ignore-sigterm"]
        ports = [{ name = "http", port = 8080 }]
        readiness_probe = { http = { path = "/healthz" }, period = "1s" }
        [adapter.flusher]
        command = ["/bin/sh", "-c", "trap 'echo flushed; exit 0' TERM; while :; do sleep 0.1; done"]
    ''').start()
    started = time.monotonic()
    service.stop()
    assert time.monotonic() - started < 10
    assert "flushed" in service.log("flusher")
    assert service.process.returncode == 137
    assert "killed" in service.output


@requires_root
def test_stop_by_command_prints_the_receipt(services):
    service = services(SERVICE.replace('drain_delay = "2s"', 'drain_delay = "0s"'))
    (service.directory / "out").mkdir()
    (service.directory / "out").chmod(0o777)
    service.start()
    assert http_get(f"http://127.0.0.1:{service.port('web')}/echo").status == 200
    result = service.command("stop", service.name)
    assert result.returncode == 0, result.stderr
    assert "requests" in result.stdout and "records" in result.stdout
    assert service.process.wait(30) == 0
