"""Start, health, admin, reload, drain, stop."""
import os
import signal
import socket
import threading
import time

import pytest

from support.pillion_testing import HttpApp, Program, http_get, http_request, run, wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer, upstream
from support.sanitizers import skip_measurement

GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def test_bad_configuration_is_78_before_any_port_is_opened(workspace):
    file = workspace / "bad.toml"
    file.write_text('workers = "many"\n[upstream.b]\nadress = ["x:1"]\n')
    result = run(["pillion-proxy", "--config", file], check=78)
    assert "bad.toml:1:" in result.stderr and "adress" in result.stderr and "address" in result.stderr


def test_a_taken_port_is_named(workspace):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = workspace / "taken.toml"
        file.write_text(f'[inbound]\nlisten = "127.0.0.1:{port}"\n')
        result = run(["pillion-proxy", "--config", file], check=71)
        assert f"127.0.0.1:{port}" in result.stderr


def test_admin_endpoints_answer_and_changes_need_post(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        assert http_get(proxy.url()).status == 200
        info = proxy.admin("GET", "/server_info").json()
        assert info["state"] == "LIVE" and "explicit-0" in info["listeners"]
        assert "b::127.0.0.1:" in proxy.admin("GET", "/clusters").body.decode()
        assert "[upstream.b]" in proxy.admin("GET", "/config_dump").body.decode()
        assert proxy.admin("GET", "/healthz/ready", "health").status == 200
        for path in ("/healthcheck/fail", "/healthcheck/ok", "/drain_listeners", "/quitquitquit", "/logging"):
            assert proxy.admin("GET", path).status in (400, 405), path
        assert proxy.admin("POST", "/healthcheck/fail").status == 200
        assert proxy.admin("GET", "/healthz/ready", "health").status == 503
        assert proxy.admin("GET", "/ready").status == 503
        assert http_get(proxy.url()).status == 200  # failing health refuses nobody
        proxy.admin("POST", "/healthcheck/ok")
        assert proxy.admin("GET", "/ready").status == 200
        assert proxy.admin("POST", "/logging?level=debug").status == 200
        assert proxy.admin("POST", "/logging?level=loud").status == 400
        assert proxy.admin("POST", "/ready", "health").status == 405


def test_metrics_count_what_happened(workspace):
    app = HttpApp()
    with ProxyLab(workspace, upstream(app.port)) as proxy:
        for path in ("/echo", "/echo", "/status/404", "/status/500"):
            http_get(proxy.url(path=path))
        # Counted once the response is on its way, so perhaps after it arrived.
        wait_until(lambda: sum(proxy.metric("pillion_proxy_requests_total").values()) == 4)
        requests = proxy.metric("pillion_proxy_requests_total")
        label = '{direction="outbound",upstream="b",code_class="%s"}'
        assert [requests.get(label % name) for name in ("2xx", "4xx", "5xx")] == [2, 1, 1]
        count = proxy.metric("pillion_proxy_request_duration_seconds_count")
        assert list(count.values()) == [4]
        assert sum(proxy.metric("pillion_proxy_requests_active").values()) == 0


def test_listening_sockets_can_be_handed_over_by_name(workspace):
    app = HttpApp()
    admin, publish = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    file = workspace / "handed.toml"
    file.write_text(f'[inbound]\nports = [{{ name = "http", port = {app.port}, protocol = "http" }}]\n'
                    f'published = [{{ listener = "publish-80", port = {app.port} }}]\n')

    # LISTEN_FDS counts from descriptor 3; a shell puts them there.
    script = (f'exec 3<&{admin.fileno()} 4<&{publish.fileno()}; '
              f'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:publish-80 '
              f'exec "$0" --config {file}')
    from support.pillion_testing import program
    with Program(["/bin/bash", "-c", script, program("pillion-proxy")], workspace,
                 pass_fds=(admin.fileno(), publish.fileno())) as proxy:
        url = f"http://127.0.0.1:{admin.getsockname()[1]}"
        wait_until(lambda: http_get(url + "/ready").status == 200, what="readiness\n" + proxy.output)
        assert http_get(f"http://127.0.0.1:{publish.getsockname()[1]}/echo").status == 200
        http_request("POST", url + "/quitquitquit")
        assert proxy.wait() == 0


def test_readiness_and_the_receipt_go_to_the_supervisor(workspace):
    path = str(workspace / "notify")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(path)
    notify.settimeout(30)
    with RawBackend(answer()) as backend, \
            ProxyLab(workspace, upstream(backend.port), env={"NOTIFY_SOCKET": path, "PILLION_SERVICE": "s"}) as proxy:
        while "READY=1" not in notify.recv(4096).decode():
            pass  # a STATUS that says what is waited for
        for _ in range(3):
            http_get(proxy.url())
        proxy.program.signal(signal.SIGTERM)
        messages = ""
        while "X_PILLION_RECEIPT" not in messages:
            messages += notify.recv(4096).decode() + "\n"
        assert "STOPPING=1" in messages
        receipt = dict(pair.split("=") for pair in messages.split("X_PILLION_RECEIPT=")[1].split())
        assert receipt["requests_finished"] == "3" and receipt["requests_aborted"] == "0"
        assert proxy.program.wait() == 0


def test_reload_takes_new_routes_and_keeps_the_old_ones_when_the_file_is_bad(workspace):
    with RawBackend(answer("one")) as one, RawBackend(answer("two")) as two, \
            ProxyLab(workspace, upstream(one.port)) as proxy:
        old = proxy.client()
        assert old.send(GET).read_response()[2] == b"one"
        proxy.write("[upstream.b]\nnonsense = 1\n")
        proxy.program.signal(signal.SIGHUP)
        wait_until(lambda: proxy.metric("pillion_proxy_reloads_total")['{result="rejected"}'] == 1)
        assert http_get(proxy.url()).body == b"one" and "nonsense" in proxy.program.stderr
        proxy.write(upstream(two.port))
        proxy.program.signal(signal.SIGHUP)
        wait_until(lambda: http_get(proxy.url()).body == b"two")
        assert old.send(GET).read_response()[2] == b"one"  # it began under the old rules


def test_a_drain_under_load_loses_no_request(workspace):
    app = HttpApp()
    config = '[drain]\nminimum = "1s"\n'
    failures, answered, stop = [], [], threading.Event()
    with ProxyLab(workspace, config, app_port=app.port, explicit='upstream = ""') as proxy:
        def work():
            while not stop.is_set():
                try:
                    with proxy.client("publish") as client:
                        while not stop.is_set():
                            client.send("GET /delay/0.01 HTTP/1.1\r\nHost: h\r\n\r\n")
                            status, headers, _ = client.read_response()
                            assert status == 200
                            answered.append(1)
                            if headers.get("connection") == "close":
                                break
                except ConnectionRefusedError:
                    return  # the listener is closed: the end of the drain
                except Exception as error:  # noqa: BLE001
                    failures.append(repr(error))
                    return
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) > 50)
        proxy.program.signal(signal.SIGTERM)
        wait_until(lambda: proxy.admin("GET", "/healthz/ready", "health").status == 503)
        before = len(answered)
        wait_until(lambda: len(answered) > before + 20)  # still serving new connections
        stop.set()
        for thread in threads:
            thread.join()
        assert proxy.program.wait() == 0
        assert not failures, failures[:3]
        assert "0 aborted" in proxy.program.stderr


def drain_with_newcomers(workspace, app):
    """Connections of each kind while a drain closes what is idle; None when the machine was too slow to tell."""
    config = f'{upstream(app.port)}[drain]\ngoaway_grace = "0s"\n'
    with ProxyLab(workspace, config, app_port=app.port, env={"PILLION_SERVICE": "s"}) as proxy:
        used = proxy.client("publish")
        assert used.send("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n").read_response()[0] == 200
        begun = time.monotonic()
        young, outbound = proxy.client("publish"), proxy.client("explicit")
        active = {'{direction="inbound"}': 2, '{direction="outbound"}': 1}
        wait_until(lambda: proxy.metric("pillion_proxy_connections_active") == active)
        proxy.program.signal(signal.SIGTERM)
        assert used.is_closed_by_peer()
        results = []
        for client in (young, outbound):
            try:
                results.append(client.send("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n").read_response()[:2])
            except (OSError, AssertionError) as error:
                results.append(error)
        if time.monotonic() - begun > 0.9:
            return None
        assert proxy.program.wait() == 0
        return results


def test_who_has_just_connected_is_served_in_a_drain(workspace):
    app = HttpApp()
    (status, headers), outbound = wait_until(lambda: drain_with_newcomers(workspace, app), what="a run that is quick enough")
    assert status == 200 and headers["connection"] == "close"
    assert outbound[0] == 200


def test_who_connects_and_says_nothing_does_not_hold_up_the_end(workspace):
    app = HttpApp()
    with ProxyLab(workspace, upstream(app.port), app_port=app.port, env={"PILLION_SERVICE": "s"}) as proxy:
        silent = [proxy.client("publish"), proxy.client("explicit")]
        proxy.program.signal(signal.SIGTERM)
        assert proxy.program.wait(timeout=15) == 0  # far below drain.maximum
        assert all(client.is_closed_by_peer() for client in silent)


def test_draining_listeners_touches_inbound_only_and_the_process_lives_on(workspace):
    app = HttpApp()
    config = upstream(app.port) + '[drain]\nminimum = "100ms"\n'
    with ProxyLab(workspace, config, app_port=app.port) as proxy:
        outbound, inbound = proxy.client("explicit"), proxy.client("publish")
        request = "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"
        for client in (outbound, inbound):
            assert "connection" not in client.send(request).read_response()[1]
        assert proxy.admin("POST", "/drain_listeners?graceful").status == 200
        wait_until(lambda: proxy.admin("GET", "/ready").status == 503)
        assert inbound.is_closed_by_peer()
        assert "connection" not in outbound.send(request).read_response()[1]
        assert proxy.program.is_running()


def test_the_deadline_ends_a_drain_and_the_receipt_tells(workspace):
    app = HttpApp()
    with ProxyLab(workspace, '[drain]\nminimum = "100ms"\n', app_port=app.port, explicit='upstream = ""',
                  env={"PILLION_DRAIN_SECONDS": "1"}) as proxy:
        client = proxy.client("publish").send("GET /delay/30 HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: proxy.metric("pillion_proxy_connections_active").get('{direction="inbound"}') == 1)
        started = time.monotonic()
        proxy.program.signal(signal.SIGTERM)
        assert proxy.program.wait() == 0
        assert time.monotonic() - started < 20
        assert client.is_closed_by_peer()
        assert "1 aborted" in proxy.program.stderr


def test_a_response_that_a_drain_cuts_off_does_not_look_whole(workspace):
    """Of HTTP/1.0, where the end of the connection is the end of the body."""
    def serve(connection):
        connection.read_head()
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        connection.socket.recv(1)

    with RawBackend(serve) as app, \
            ProxyLab(workspace, '[drain]\nminimum = "100ms"\n', app_port=app.port, explicit='upstream = ""',
                     env={"PILLION_DRAIN_SECONDS": "1"}) as proxy:
        client = proxy.client("publish").send("GET / HTTP/1.0\r\nHost: h\r\n\r\n")
        assert b"hello" in client.read_until(b"hello")
        proxy.program.signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            client.socket.recv(1)
        assert proxy.program.wait() == 0


def test_a_second_sigterm_ends_a_drain_at_once(workspace):
    app = HttpApp()
    with ProxyLab(workspace, app_port=app.port, explicit='upstream = ""') as proxy:
        proxy.client("publish").send("GET /delay/30 HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: proxy.metric("pillion_proxy_connections_active").get('{direction="inbound"}') == 1)
        proxy.program.signal(signal.SIGTERM)
        wait_until(lambda: proxy.admin("GET", "/ready").status == 503)
        proxy.program.signal(signal.SIGTERM)
        assert proxy.program.wait(timeout=15) == 0


def test_a_direct_connection_to_a_capture_listener_is_refused(workspace):
    with ProxyLab(workspace, explicit='upstream = ""') as proxy:
        for listener in ("inbound", "outbound"):
            assert proxy.client(listener).send(GET).is_closed_by_peer()
        wait_until(lambda: "capture listener itself" in proxy.program.stderr)


def test_idle_memory_becomes_small_after_the_start_and_after_a_reload(workspace):
    skip_measurement()
    limit = 5 * 1024
    with ProxyLab(workspace, explicit='upstream = ""') as proxy:
        def resident_kib():
            return int(open(f"/proc/{proxy.program.pid}/status").read().split("VmRSS:")[1].split()[0])
        wait_until(lambda: resident_kib() < limit, what=f"less than {limit} KiB")
        proxy.program.signal(signal.SIGHUP)
        wait_until(lambda: "the configuration did not change" in proxy.program.stderr)
        wait_until(lambda: resident_kib() < limit, what=f"less than {limit} KiB after the reload")
        assert proxy.admin("GET", "/ready").status == 200  # with its code back from the file


def test_no_descriptor_is_left_after_many_connections(workspace):
    with RawBackend(answer()) as backend, ProxyLab(workspace, upstream(backend.port)) as proxy:
        def descriptors():
            return len(os.listdir(f"/proc/{proxy.program.pid}/fd"))
        http_get(proxy.url())
        before = descriptors()
        for _ in range(50):
            with proxy.client() as client:
                client.send(GET).read_response()
        wait_until(lambda: descriptors() <= before)
