"""Running pillion-secrets alone in a scenario: its configuration, its notify socket, its admin address.

    ambassador = SecretsProgram(workspace, toml)    # [admin] is added; @dir@ and @port:KEY@ are replaced
    ambassador.wait_ready(); ambassador.status      # last STATUS=
    ambassador.files()                              # /secrets: {path: {...}}
    ambassador.metric("pillion_secrets_logins_total")
    ambassador.stop()                               # SIGTERM; the receipt is in .receipt

`watch_directory` reports every event of a directory; `vault_toml` writes the [vault] table for a FakeVault.
"""
import ctypes
import os
import re
import socket
import struct
import threading
import time

from support.pillion_testing import Program, free_port, http_get, wait_until


class SecretsProgram:
    def __init__(self, directory, toml, env=None, argv=None):
        self.directory, self.ports = directory, {}
        self.admin_port = free_port()
        self.config_path = directory / "secrets.toml"
        self.messages, self.notify_socket = [], socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify_path = directory / "notify"
        self.notify_socket.bind(str(self.notify_path))
        self.notify_path.chmod(0o777)
        self.notify_socket.settimeout(0.05)
        self.is_closing = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.write_config(toml)
        self.program = Program(argv or ["pillion-secrets", "--config", self.config_path], directory,
                               env={"NOTIFY_SOCKET": self.notify_path, "PILLION_LOG_FORMAT": "text", **(env or {})})

    def port(self, key):
        return self.ports.setdefault(key, free_port())

    def write_config(self, toml):
        toml = toml.replace("@dir@", str(self.directory))
        toml = re.sub(r"@port:([\w-]+)@", lambda match: str(self.port(match.group(1))), toml)
        if "[vault]" in toml and "[proxy]" not in toml:  # never 8200 itself: tests run beside each other
            toml += f'\n[proxy]\nlisten = "127.0.0.1:{self.port("vault")}"\n'
        self.config_path.write_text(f'{toml}\n[admin]\nlisten = "127.0.0.1:{self.admin_port}"\n')

    def _read(self):
        while not self.is_closing:
            try:
                self.messages.append(self.notify_socket.recv(65536).decode())
            except TimeoutError:
                continue

    @property
    def is_ready(self):
        return "READY=1" in self.messages

    @property
    def status(self):
        texts = [message[len("STATUS="):] for message in list(self.messages) if message.startswith("STATUS=")]
        return texts[-1].strip() if texts else ""

    @property
    def receipt(self):
        for message in list(self.messages):
            if message.startswith("X_PILLION_RECEIPT="):
                return dict(pair.split("=") for pair in message.split("=", 1)[1].split())
        return None

    @property
    def log(self):
        return self.program.output

    def wait_ready(self, timeout=30):
        wait_until(lambda: self.is_ready or not self.program.is_running(), timeout, "READY=1")
        assert self.is_ready, self.log

    def wait_status(self, part, timeout=30):
        wait_until(lambda: part in self.status, timeout, f"STATUS with {part!r}; it is {self.status!r}")

    def wait_log(self, part, timeout=30):
        wait_until(lambda: part in self.log, timeout, f"{part!r} in the log")

    def admin(self, path):
        return http_get(f"http://127.0.0.1:{self.admin_port}{path}")

    def files(self):
        return {entry["path"]: entry for entry in self.admin("/secrets").json()["files"]}

    def metric(self, name):
        """The sum over all labels."""
        text = self.admin("/stats/prometheus").body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if re.match(rf"{re.escape(name)}[ {{]", line))

    def stop(self):
        code = self.program.stop()
        wait_until(lambda: self.receipt is not None, 10, "the receipt")
        return code

    def close(self):
        self.program.close()
        self.is_closing = True
        self.reader.join()
        self.notify_socket.close()
        print(self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def vault_toml(vault, directory, secret_id=None, extra=""):
    """Writes the AppRole's two files and returns the [vault] table (with a short backoff)."""
    (directory / "role-id").write_text(vault.role_id + "\n")
    (directory / "secret-id").write_text(secret_id or vault.new_secret_id())
    return f"""
[vault]
address = "{vault.address}"
retry = {{ base = "50ms", max = "400ms" }}
{extra}
[vault.auth.approle]
role_id_file = "{directory}/role-id"
secret_id_file = "{directory}/secret-id"
"""


# ---- inotify -------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
EVENTS = {0x2: "modify", 0x4: "attrib", 0x8: "close_write", 0x40: "moved_from", 0x80: "moved_to", 0x100: "create",
          0x200: "delete"}


class watch_directory:  # noqa: N801  (reads as a verb: `with watch_directory(path) as watch:`)
    """Every event in a directory as (what, name, seen), in order.

    `seen` is what stood under the name when the event was read: (mode, uid, gid, content), or None.
    """

    def __init__(self, path):
        self.path = str(path)
        self.events = []
        self.fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        assert self.fd >= 0
        assert _libc.inotify_add_watch(self.fd, self.path.encode(), sum(EVENTS)) >= 0
        self.is_stopping = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _look(self, name):
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                status = os.fstat(file.fileno())
                return status.st_mode & 0o7777, status.st_uid, status.st_gid, file.read()
        except FileNotFoundError:
            return None

    def _read(self):
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return False
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16:16 + length].rstrip(b"\0").decode()
            data = data[16 + length:]
            for bit, what in EVENTS.items():
                if mask & bit:
                    self.events.append((what, name, self._look(name)))
        return True

    def _run(self):
        while not self.is_stopping:
            if not self._read():
                time.sleep(0.0005)
        while self._read():
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_stopping = True
        self.thread.join()
        os.close(self.fd)
