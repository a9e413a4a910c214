"""Several workers under load, while everything that crosses threads happens: reloads, new certificates, moves of the app,
scrapes, looks at the memory, levels of overload, the drain. Made for ThreadSanitizer; true without it.

PILLION_TEST_LONG=1 keeps the load up for a minute instead of two seconds.
"""
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from support.http2_lab import Http2Backend, Http2Client, Reply
from support.pillion_testing import wait_until
from support.proxy_lab import ProxyLab, RawBackend, answer
from support.tls_lab import Authority

WORKERS = 3
SECONDS = 60 if os.environ.get("PILLION_TEST_LONG") == "1" else 2
GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
SCRAPES = ("/stats/prometheus", "/clusters", "/certs", "/server_info", "/config_dump", "/app_ports", "/ready")


class WorkersLab(ProxyLab):
    def __init__(self, directory, config, more="", **options):
        self.head = f"workers = {WORKERS}\n"
        self.more = more
        super().__init__(directory, config, **options)

    def write(self, config):
        if not self.text.startswith(self.head):
            self.text = self.head + self.text.replace("[inbound]\n", "[inbound]\n" + self.more)
        super().write(config)


class Load:
    """Threads that call `once` over and over. What it raises is a failure, unless `is_over` is set by then."""

    def __init__(self):
        self.ending = threading.Event()
        self.done, self.failures, self.threads = [], [], []

    def add(self, once, count=1):
        for _ in range(count):
            self.threads.append(threading.Thread(target=self._run, args=(once,)))
            self.threads[-1].start()

    def _run(self, once):
        while not self.ending.is_set():
            try:
                once()
                self.done.append(1)
            except Exception as error:  # noqa: BLE001
                self.failures.append(repr(error))
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def kept_open(proxy, listener):
    """Calls one request on a connection of the thread's own, made anew when the proxy says that it is the last."""
    own = threading.local()

    def once():
        if getattr(own, "client", None) is None:
            own.client = proxy.client(listener)
        status, headers, _ = own.client.send(GET).read_response()
        assert status == 200
        if headers.get("connection") == "close":
            own.client.close()
            own.client = None
    return once


def over_tls(proxy, context):
    def once():
        with socket.create_connection(("127.0.0.1", proxy.ports["publish"]), 30) as raw, \
                context.wrap_socket(raw, server_hostname="orders.test") as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            data = b""
            while chunk := tls.recv(65536):
                data += chunk
            assert data.startswith(b"HTTP/1.1 200 "), data[:100]
    return once


def http2_streams(proxy):
    def once():
        with Http2Client(proxy.ports["explicit"]) as client:
            streams = [client.open() for _ in range(10)]
            assert [client.wait(stream).status for stream in streams] == [200] * 10
    return once


def h2load(proxy, *options):
    command = ["h2load", "-D", str(SECONDS), "-c", "12", *options, proxy.url()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def data_bytes(proxy):
    return int(open(f"/proc/{proxy.program.pid}/status").read().split("VmData:")[1].split()[0]) * 1024


def turn_everything(proxy, authority, place, apps, ports):
    """Until the time is over: each of what concerns all workers, one after the other. Returns how many rounds."""
    ending = time.monotonic() + SECONDS
    for count in itertools.count(1):
        proxy.write(ports(count))
        proxy.program.signal(signal.SIGHUP)
        wait_until(lambda: proxy.metric("pillion_proxy_reloads_total").get('{result="accepted"}', 0) >= count, what=f"reload {count}")
        if count % 2 == 0:
            authority.issue("orders", uris=["spiffe://prod/orders"], into=place)
        # 503: a worker was too busy to answer in time; it moves all the same, and asking again is harmless.
        wait_until(lambda: proxy.admin("POST", f"/app_ports?{proxy.app_port}={apps[count % 2]}").status == 200,
                   what=f"move {count}")
        for path in SCRAPES:
            assert proxy.admin("GET", path).status == 200, path
        # Far away: the memory is looked at, and nothing follows from it.
        subprocess.run(["prlimit", "--pid", str(proxy.program.pid), f"--data={4 * data_bytes(proxy)}:unlimited"], check=True)
        if time.monotonic() > ending:
            return count


def test_no_request_fails_while_everything_changes_under_load(workspace):
    authority = Authority(workspace / "ca")
    place = workspace / "live"
    place.mkdir(mode=0o755)
    identity = authority.issue("orders", uris=["spiffe://prod/orders"], into=place)
    context = authority.issue("shop", uris=["spiffe://prod/shop"]).client_context()
    with RawBackend(answer("one")) as one, RawBackend(answer("two")) as two, \
            Http2Backend(lambda request: Reply(body=b"h2")) as other:
        def config(count):  # upstreams that come, go and change
            protocol, port = ("http2", other.port) if count % 2 else ("http", one.port)
            return (identity.table() + '[drain]\nminimum = "500ms"\n'
                    f'[upstream.b]\naddress = ["127.0.0.1:{port}"]\nprotocol = "{protocol}"\n'
                    f'[upstream.extra{count}]\naddress = ["127.0.0.1:{two.port}"]\n')

        with WorkersLab(workspace, config(0), more='mutual_tls = "permissive"\n', app_port=one.port) as proxy, Load() as load:
            load.add(kept_open(proxy, "publish"), 4)
            load.add(kept_open(proxy, "explicit"), 4)
            load.add(over_tls(proxy, context), 4)
            load.add(http2_streams(proxy), 2)
            heavy = [h2load(proxy, "--h1"), h2load(proxy, "-m", "8")] if shutil.which("h2load") else []
            try:
                rounds = turn_everything(proxy, authority, place, [one.port, two.port], config)
            finally:
                outputs = [process.communicate(timeout=SECONDS + 60)[0] for process in heavy]
            for output in outputs:
                assert " 0 failed, 0 errored, 0 timeout" in output, output
            wait_until(lambda: load.failures or len(load.done) > 200, what="requests")
            load.ending.set()
            for thread in load.threads:
                thread.join()
            assert not load.failures, load.failures[:3]
            assert rounds >= 2
            proxy.program.signal(signal.SIGTERM)
            assert proxy.program.wait() == 0
            assert " 0 aborted, " in proxy.program.stderr


@pytest.mark.parametrize("protocol", ["http", "http2"])
def test_all_workers_follow_the_level_of_overload_under_load(workspace, protocol):
    """Back and forth between all levels: refused or closed is what a client may see, and never anything else."""
    def once():
        try:
            with (proxy.client() if protocol == "http" else Http2Client(proxy.ports["explicit"])) as client:
                for _ in range(5):
                    status = client.send(GET).read_response()[0] if protocol == "http" else client.request().status
                    assert status in (200, 503, 0)  # 0: the stream or its connection ended without an answer
        except (OSError, EOFError):
            pass
        except AssertionError as error:  # what the clients say of a closed connection
            assert "closed" in str(error) or "ended" in str(error), error

    def limit(words):
        subprocess.run(["prlimit", "--pid", str(proxy.program.pid), f"--data={words}:unlimited"], check=True)

    backend = RawBackend(answer("z" * 20000)) if protocol == "http" else Http2Backend(lambda request: Reply(body=b"z" * 20000))
    with backend, WorkersLab(workspace, f'[upstream.b]\naddress = ["127.0.0.1:{backend.port}"]\nprotocol = "{protocol}"\n') as proxy, \
            Load() as load:
        load.add(once, 6)
        ending = time.monotonic() + SECONDS
        while time.monotonic() < ending:
            for wanted, share in ((1, 0.935), (2, 0.96)):
                def is_reached(wanted=wanted, share=share):
                    limit(int(data_bytes(proxy) / share))
                    return proxy.metric("pillion_proxy_overload_level")[""] >= wanted
                wait_until(is_reached, what=f"level {wanted}")
            limit("unlimited")
            wait_until(lambda: proxy.metric("pillion_proxy_overload_level")[""] == 0, what="an end of overload")
        assert not load.failures, load.failures[:3]
        served = len(load.done)
        wait_until(lambda: len(load.done) > served + 10, what="service as usual")
