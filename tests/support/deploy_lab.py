"""What the deploy scenarios share: an app in versions, services in each network mode, and a steady load."""
import http.client
import socket
import threading
import time

from support.pillion_testing import wait_until

APP = '''
"""HTTP with keep-alive, an upgrade to bytes that are echoed, and a raw echo port; ends after what is under way."""
import argparse, os, signal, socket, sys, threading, time

options = argparse.ArgumentParser()
options.add_argument("--port", type=int)
options.add_argument("--echo-port", type=int)
options.add_argument("--mode", default="good")
options = options.parse_args()
generation = os.environ["PILLION_GENERATION"]
print(f"generation {generation} on {options.port}, {options.mode}", flush=True)
if options.mode == "crash":
    print("cannot open the database", flush=True)
    sys.exit(3)
ending = threading.Event()
lock = threading.Lock()
busy = 0


def echo(peer):
    while data := peer.recv(4096):
        peer.sendall(data)


def answer(peer, head):
    path = head.split(b" ")[1].decode()
    if b"upgrade: websocket" in head.lower():
        peer.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n")
        threading.Thread(target=echo, args=(peer.dup(),), daemon=True).start()
        return False
    if path.startswith("/slow/"):
        time.sleep(float(path[6:]))
    status = "503 Service Unavailable" if path == "/healthz" and options.mode == "unready" else "200 OK"
    close = ending.is_set()
    peer.sendall(f"HTTP/1.1 {status}\\r\\nContent-Length: {len(generation)}\\r\\n"
                 f"{'Connection: close' if close else 'X-A: b'}\\r\\n\\r\\n{generation}".encode())
    return not close


def serve(peer):
    global busy
    buffer = b""
    with peer:
        while True:
            while b"\\r\\n\\r\\n" not in buffer:
                if not (data := peer.recv(4096)):
                    return
                buffer += data
            head, buffer = buffer.split(b"\\r\\n\\r\\n", 1)
            with lock:
                busy += 1
            try:
                if not answer(peer, head):
                    return
            finally:
                with lock:
                    busy -= 1


def listen(port, handle):
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    def accept():
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=handle, args=(peer,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


signal.signal(signal.SIGTERM, lambda *_: ending.set())
listen(options.port, serve)
if options.echo_port:
    listen(options.echo_port, echo)
while not ending.wait(0.05):
    pass
if options.mode == "good":
    deadline = time.monotonic() + 20
    while busy and time.monotonic() < deadline:
        time.sleep(0.01)
print(f"generation {generation} ends", flush=True)
'''

TOML = '''
        [service]
        stop_grace = "10s"
        %(network)s
        [app]
        command = ["/usr/bin/python3", "-S", "@dir@/versions.py", "--port", "{port}", "--echo-port", "{port.echo}", "--mode", "%(mode)s"]
        ports = [{ name = "http", port = %(http)s, protocol = "http" }, { name = "echo", port = %(echo)s, protocol = "tcp" }]
        readiness_probe = { http = { path = "/healthz", port = "http" }, period = "100ms", failure_threshold = 1 }
        %(user)s
        [sidecar.proxy]
        use = "proxy"
        %(proxy)s
'''
MODES = {
    "host": {"network": '[network]\n        mode = "host"', "http": "@port:app@", "echo": "@port:appecho@", "user": "",
             "proxy": '''[sidecar.proxy.config]
        inbound.published = [{ listener = "web", port = @port:app@, listen = "127.0.0.1:@port:web@" }, { listener = "raw", port = @port:appecho@, listen = "127.0.0.1:@port:raw@" }]
        health.listen = "127.0.0.1:@port:health@"
        prometheus.listen = "127.0.0.1:@port:prometheus@"
        admin.listen = "127.0.0.1:@port:admin@"'''},
    "bridged": {"network": '[network]\n        publish = ["127.0.0.1:@port:web@:8080", "127.0.0.1:@port:raw@:9000"]',
                "http": "8080", "echo": "9000", "user": 'user = "nobody"', "proxy": ""},
    "sealed": {"network": '[network]\n        mode = "sealed"\n        publish = ["127.0.0.1:@port:web@:8080", "127.0.0.1:@port:raw@:9000"]',
               "http": "8080", "echo": "9000", "user": 'user = "nobody"', "proxy": ""},
}


def toml_of(network, mode="good"):
    return TOML % {**MODES[network], "mode": mode}


def prepare(service):
    (service.directory / "versions.py").write_text(APP)
    (service.directory / "versions.py").chmod(0o644)
    return service


def apps(service):
    return [(child["generation"], child.get("deploy", "")) for child in service.status()["children"]
            if child["role"] == "app"]


def command_of(mode="good"):
    return ["--", "/usr/bin/python3", "-S", "@dir@/versions.py", "--port", "{port}", "--echo-port",
            "{port.echo}", "--mode", mode]


def deploy(service, *words, mode="good"):
    command = [word.replace("@dir@", str(service.directory)) for word in command_of(mode)]
    first = service.port("web") - 10000  # nobody else's, as the port of ours is
    return service.command("deploy", service.name, "--ports", f"{first}-{first + 3}", *words, *command)


class Load:
    """Requests one after the other, from several clients with keep-alive and one without, until stop()."""

    def __init__(self, port, clients=3):
        self.port, self.failures, self.seen = port, [], {}
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(index > 0,), daemon=True) for index in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, is_kept):
        connection = None
        while not self.is_over.is_set():
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                connection.request("GET", "/version")
                response = connection.getresponse()
                body = response.read().decode()
                if response.status != 200:
                    raise AssertionError(f"{response.status} {body[:200]}")
                self.seen[body] = self.seen.get(body, 0) + 1
                if not is_kept:
                    connection.close()
                    connection = None
            except Exception as error:  # noqa: BLE001  (every failure counts, whatever it is)
                self.failures.append(f"{time.monotonic():.3f} {'kept' if is_kept else 'new'}: {error!r}")
                connection = None
            time.sleep(0.003)

    def wait_for(self, generation, count=20):
        wanted = self.seen.get(str(generation), 0) + count
        wait_until(lambda: self.failures or self.seen.get(str(generation), 0) >= wanted,
                   what=f"requests at generation {generation}")

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        return self.failures


class Slow(threading.Thread):
    """One long request."""

    def __init__(self, port, seconds):
        super().__init__(daemon=True)
        self.port, self.seconds, self.result = port, seconds, None
        self.start()

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.request("GET", f"/slow/{self.seconds}")
            response = connection.getresponse()
            self.result = (response.status, response.read().decode())
        except Exception as error:  # noqa: BLE001
            self.result = repr(error)


class Echo:
    """A connection that says something and hears it again, now and then."""

    def __init__(self, port, upgrade=False):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        if upgrade:
            self.socket.sendall(b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self.socket.recv(1)
            assert b" 101 " in head, head

    def say(self, text=b"hello"):
        self.socket.sendall(text)
        heard = b""
        while len(heard) < len(text):
            data = self.socket.recv(4096)
            assert data, "closed"
            heard += data
        assert heard == text

    def close(self):
        self.socket.close()
