"""UDP ports of a whole service: the supervisor holds the sockets, so they outlive every generation of the proxy."""
import os
import signal
import socket
import threading
import time

from support.pillion_testing import requires_root

APP = '''
import os, signal, socket, sys, threading

def serve(own, port):
    while True:
        data, peer = own.recvfrom(65536)
        own.sendto(b"%d %s " % (port, peer[0].encode()) + data, peer)

for word in sys.argv[1:]:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind(("0.0.0.0", int(word)))
    threading.Thread(target=serve, args=(own, int(word)), daemon=True).start()
print("all bound", flush=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
while True:
    signal.pause()
'''
HOST = '''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "@dir@/udp.py", "@port:app@", "@port:one@", "@port:two@"]
        ports = [{ name = "dns", port = @port:app@, protocol = "udp" }]
        [sidecar.proxy]
        use = "proxy"
        [sidecar.proxy.config]
        inbound.published = [{ listener = "queries", port = @port:app@, listen = "127.0.0.1:@port:dns@", transport = "udp" }]
        explicit = [{ listen = "127.0.0.1:@port:explicit@", upstream = "b", transport = "udp" }]
        health.listen = "127.0.0.1:@port:health@"
        prometheus.listen = "127.0.0.1:@port:prometheus@"
        admin.listen = "127.0.0.1:@port:admin@"
        workers = 1
        [sidecar.proxy.config.upstream.b]
        address = ["127.0.0.1:@port:one@"]
'''
BRIDGED = '''
        [network]
        publish = ["127.0.0.1:@port:dns@:5353/udp", "127.0.0.1:@port:web@:8080"]
        [app]
        command = ["/usr/bin/python3", "@dir@/udp.py", "5353"]
        user = "nobody"
        ports = [{ name = "dns", port = 5353, protocol = "udp" }, { name = "http", port = 8080, protocol = "http" }]
        [sidecar.proxy]
        use = "proxy"
'''


class Asker(threading.Thread):
    """One client that asks, hears the answer, and asks again; a question is never repeated."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.answers, self.failure = [], None
        self.is_over = threading.Event()
        self.start()

    def ask(self, text):
        self.socket.send(text)
        answer = self.socket.recv(65536)
        assert answer.endswith(text), (text, answer)
        return answer

    def run(self):
        try:
            while not self.is_over.wait(0.002):
                self.answers.append(self.ask(b"%d" % len(self.answers)))
        except (OSError, AssertionError) as error:
            self.failure = f"question {len(self.answers)}: {error!r}"

    def wait_for(self, service, count=20):
        wanted = len(self.answers) + count
        service.wait_for(lambda: self.failure or len(self.answers) >= wanted, what="answers")
        assert not self.failure, self.failure

    def stop(self):
        self.is_over.set()
        self.join()
        self.socket.close()
        assert not self.failure, self.failure
        return self.answers


def start(services, toml):
    service = services(toml)
    (service.directory / "udp.py").write_text(APP)
    (service.directory / "udp.py").chmod(0o644)
    service.start()
    service.wait_for(lambda: "all bound" in service.log("app"), what="the app's sockets")
    return service


def reload(service, before, after):
    text = service.file.read_text()
    assert before in text
    service.file.write_text(text.replace(before, after))
    result = service.command("reload", service.name, "--wait")
    assert result.returncode == 0, result.stdout + result.stderr


def ask_once(port, text=b"q"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        client.send(text)
        return client.recv(65536)


def test_every_datagram_is_answered_while_the_proxy_is_reloaded_and_replaced(services):
    service = start(services, HOST)
    app, one, two = (b"%d " % service.port(name) for name in ("app", "one", "two"))
    askers = [Asker(service.port("dns")), Asker(service.port("explicit"))]
    generation = service.child("proxy")["generation"]

    def traffic():
        for asker in askers:
            asker.wait_for(service)

    traffic()
    # Taken over by the process: clients go on with the upstream that they had, new ones get the new one.
    reload(service, f'address = ["127.0.0.1:{service.port("one")}"]', f'address = ["127.0.0.1:{service.port("two")}"]')
    traffic()
    service.wait_for(lambda: ask_once(service.port("explicit")).startswith(two), what="the new upstream")
    assert service.child("proxy")["generation"] == generation
    # Replaced: what comes meanwhile waits in the sockets.
    reload(service, "workers = 1", "workers = 2")
    assert service.child("proxy")["generation"] == generation + 1
    traffic()
    assert service.command("restart", service.name, "proxy", "--wait").returncode == 0
    assert service.child("proxy")["generation"] == generation + 2
    traffic()
    inbound, explicit = (asker.stop() for asker in askers)
    assert all(answer.startswith(app + b"127.0.0.6 ") for answer in inbound)
    assert explicit[0].startswith(one) and explicit[-1].startswith(two)
    assert service.stop().returncode == 0


def test_what_comes_while_no_proxy_runs_waits_for_the_next(services):
    service = start(services, HOST)
    first = service.child("proxy")
    assert ask_once(service.port("dns"), b"before").endswith(b"before")
    os.kill(first["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{first['pid']}/fd/0") and time.monotonic() < deadline:
        time.sleep(0.001)  # until it reads no more
    for text in (b"one", b"two"):
        assert ask_once(service.port("dns"), text).endswith(text)
    assert service.child("proxy")["generation"] == first["generation"] + 1


@requires_root
def test_translated_ports_do_not_notice_the_proxy(services):
    service = start(services, BRIDGED)
    asker = Asker(service.port("dns"))
    generation = service.child("proxy")["generation"]
    asker.wait_for(service)
    assert service.command("restart", service.name, "proxy", "--wait").returncode == 0
    asker.wait_for(service)
    web = service.port("web")
    reload(service, f'"127.0.0.1:{web}:8080"', f'"127.0.0.1:{web}:8080", "127.0.0.1:{service.port("more")}:8080"')
    assert service.child("proxy")["generation"] == generation + 2
    asker.wait_for(service)
    assert len(asker.stop()) >= 60


def test_a_taken_udp_port_is_named(services):
    service = services(HOST)
    (service.directory / "udp.py").write_text(APP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", service.port("dns")))
        service.start(wait=False)
        service.wait_for(lambda: not service.process.is_running(), what="its end")
        assert service.process.returncode == 71
        assert f"127.0.0.1:{service.port('dns')}" in service.output, service.output
        assert f"by pid {os.getpid()}" in service.output, service.output
