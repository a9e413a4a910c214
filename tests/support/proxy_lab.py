"""A pillion-proxy alone, with private ports, and backends that do exactly what a test says.

    with ProxyLab(workspace, '''[upstream.b]\\naddress = ["127.0.0.1:@backend@"]''') as proxy:
        client = proxy.client("explicit")          # RawClient to 127.0.0.1:7000's stand-in

Words @explicit@, @publish@ … in the configuration are replaced by those listeners' ports.
Listeners: `explicit` (its upstream is named "b" unless `explicit` says otherwise), `publish` (leads to
`app_port` as the app), plus health, prometheus and admin. `proxy.log()` is the access log as dicts.
"""
import json
import socket
import threading

from support.pillion_testing import Program, RawClient, free_port, http_request, program, wait_until
from support.sanitizers import sanitizer_of


class ProxyLab:
    def __init__(self, directory, config="", app_port=None, app_protocol="http", explicit='upstream = "b"',
                 env=None, explicit_protocol="http", descriptors=None, group=None):
        self.directory = directory
        self.ports = {name: free_port() for name in
                      ("inbound", "outbound", "explicit", "publish", "health", "prometheus", "admin")}
        self.app_port = app_port or free_port()
        self.log_path = directory / f"access-{self.ports['explicit']}.log"
        listen = {name: f'"127.0.0.1:{port}"' for name, port in self.ports.items()}
        self.config_path = directory / f"proxy-{self.ports['explicit']}.toml"
        self.text = f"""
explicit = [{{ listen = {listen['explicit']}, {explicit}, protocol = "{explicit_protocol}" }}]
[inbound]
listen = {listen['inbound']}
ports = [{{ name = "http", port = {self.app_port}, protocol = "{app_protocol}" }}]
published = [{{ listener = "publish-{self.ports['publish']}", port = {self.app_port}, listen = {listen['publish']} }}]
[outbound]
listen = {listen['outbound']}
[health]
listen = {listen['health']}
[prometheus]
listen = {listen['prometheus']}
[admin]
listen = {listen['admin']}
[access_log]
path = "{self.log_path}"
flush_interval = "10ms"
"""
        self.write(config)
        few = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []
        if group:  # a cgroup's directory
            few += ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', group]
        self.program = Program([*few, program("pillion-proxy"), "--config", self.config_path], directory,
                               env={"PILLION_LOG_FORMAT": "text", **(env or {})})
        try:
            wait_until(lambda: self.admin("GET", "/ready").status == 200, what="the proxy's readiness")
        except AssertionError:
            self.program.close()
            raise AssertionError(f"the proxy did not get ready\n{self.program.output}") from None

    def write(self, config):
        for name, port in self.ports.items():
            config = config.replace(f"@{name}@", str(port))
        self.config_path.write_text(self.text + config)

    def client(self, listener="explicit", timeout=30):
        return RawClient(self.ports[listener], timeout=timeout)

    def url(self, listener="explicit", path="/"):
        return f"http://127.0.0.1:{self.ports[listener]}{path}"

    def admin(self, method, path, listener="admin"):
        return http_request(method, f"http://127.0.0.1:{self.ports[listener]}{path}")

    def metric(self, name):
        """Every sample of a metric, as {labels: value}."""
        samples = {}
        for line in self.admin("GET", "/stats/prometheus", "prometheus").body.decode().splitlines():
            if line.startswith(name + "{") or line.startswith(name + " "):
                key, _, value = line.rpartition(" ")
                samples[key[len(name):]] = float(value)
        return samples

    def log(self, count=1):
        """At least `count` access log records, once they are written."""
        def read():
            text = self.log_path.read_text() if self.log_path.exists() else ""
            records = [json.loads(line) for line in text.splitlines()]
            return records if len(records) >= count else None
        return wait_until(read, what=f"{count} access log lines")

    def memory_kib(self):
        """Peak resident memory so far."""
        status = open(f"/proc/{self.program.pid}/status").read()
        return int(status.split("VmHWM:")[1].split()[0])

    def has_grown_less(self, before, kib):
        """Whether its peak is less than `kib` above `before`. Of a sanitizer's memory nothing is asked."""
        return sanitizer_of() is not None or self.memory_kib() - before < kib

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.program.is_running():
            self.admin("POST", "/quitquitquit")
            self.program.wait()
        if kind is not None:
            print(self.program.output)


def end_listener(listener):
    """Wakes the thread that accepts, then closes: else it could take a connection of the next listener of that number."""
    try:
        listener.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    listener.close()


class RawBackend:
    """Accepts connections and runs `serve(connection)` for each in a thread; counts them."""

    def __init__(self, serve, address="127.0.0.1"):
        self.serve = serve
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.peers = []
        self.errors = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        connection.settimeout(30)
        try:
            with connection:
                self.serve(BackendConnection(connection))
        except (OSError, EOFError):
            pass
        except Exception as error:  # noqa: BLE001  (seen by the test)
            self.errors.append(error)

    def close(self):
        end_listener(self.listener)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        assert not self.errors, self.errors


class BackendConnection:
    def __init__(self, connection):
        self.socket = connection
        self.buffer = b""

    def read_until(self, marker):
        while marker not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        end = self.buffer.index(marker) + len(marker)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def read_head(self):
        return self.read_until(b"\r\n\r\n").decode("latin-1")

    def read_exactly(self, count):
        while len(self.buffer) < count:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)


def answer(body="ok", extra=""):
    """A serve function: every request without a body gets this 200, connections persist."""
    def serve(connection):
        while True:
            connection.read_head()
            connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n{body}")
    return serve


def upstream(port, more=""):
    return f'[upstream.b]\naddress = ["127.0.0.1:{port}"]\n{more}\n'
