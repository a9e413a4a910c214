"""Running an adapter by itself: its configuration in a directory, what it tells its supervisor, its receipt."""
import socket

from support.pillion_testing import Program, wait_until


class AdapterLab:
    """`name` is "logs" or "metrics"; the configuration is `config`, written by who runs it."""

    def __init__(self, name, workspace):
        self.program = f"pillion-{name}"
        self.directory = workspace
        self.config = workspace / f"{name}.toml"
        self.notify_path = str(workspace / "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.notify_path)
        self.notify.setblocking(False)
        self.messages = []

    def run(self, wait_ready=True, **env):
        """The program, ready. What an earlier run has said is forgotten."""
        environment = {"PILLION_SERVICE": "lab", "NOTIFY_SOCKET": self.notify_path, "PILLION_LOG_FORMAT": "text",
                       "PILLION_LOG_LEVEL": "debug", **env}
        self.drain_messages()
        self.messages.clear()
        program = Program([self.program, "--config", self.config], self.directory, env=environment)
        if wait_ready:
            wait_until(lambda: "READY=1" in self.drain_messages() or not program.is_running(), what="ready")
            assert program.is_running(), program.output
        return program

    def drain_messages(self):
        while True:
            try:
                self.messages += self.notify.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.messages

    def receipt(self):
        line = next(m for m in self.drain_messages() if m.startswith("X_PILLION_RECEIPT="))
        return {key: int(value) for key, value in (pair.split("=") for pair in line.split("=", 1)[1].split())}
