"""What integration scenarios share: running a service, waiting, looking, and the leak check.

A scenario lives in tests/integration/<scenario>/test_*.py and starts like this:

    from support.pillion_testing import HttpApp, RawClient, http_get, wait_until

    def test_the_app_answers_through_its_proxy(services):
        service = services('''
            [app]
            command = ["/usr/bin/python3", "@support@/http_app.py", "--port", "8080"]
            ports = [{ name = "http", port = 8080, protocol = "http" }]
            [network]
            publish = ["@port:web@:8080"]
            [sidecar.proxy]
            use = "proxy"
        ''')
        service.start()                                # `pillion run`, waits until the service is ready
        reply = http_get(f"http://127.0.0.1:{service.port('web')}/echo")
        assert reply.status == 200
        receipt = service.stop()                       # SIGTERM, waits; .returncode and .output

Fixtures (tests/conftest.py makes them known):
  services(toml, name=None, env=None, uid=None)  makes a `Service`; at the end of the test stops it, asserts that nothing
                                       of it is left (`leaks`), and prints its output, which pytest shows
                                       when the test failed.
  workspace                            a private directory that other users may enter (pytest's tmp_path is 0700,
                                       so children running as pillion-proxy could not read it).
  backend                              an `HttpApp` on 127.0.0.1, its own port, in the test's own process.

Words in the TOML replaced by `Service`: @name@ (the unique service name), @dir@ (the workspace), @support@
(a copy of http_app.py is there),
@bin@ (directory of the programs), @port:KEY@ (a free port, the same for the same KEY).

The module also runs programs alone: `Program(["pillion-logs", "--config", file], workspace)`, or to their end:
`run(["pillion", "check", file], check=78)`. Tests of namespaces carry the mark `@requires_root`.

Rules it keeps: private runtime, state and log directories; unique names, so that scenarios run beside each
other; waits on conditions with a limit, never on time; kills only by handle, and only what it started.
"""
import atexit
import fcntl
import functools
import http.client
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from signal import SIGKILL, SIGTERM, pidfd_send_signal

import pytest

from support.http_app import HttpApp  # noqa: F401  (re-exported for scenarios)
from support.leaks import find_leaks, processes_of, wait_for_no_leaks  # noqa: F401

SUPPORT = Path(__file__).resolve().parent
REPOSITORY = SUPPORT.parent.parent
PYTHON = "/usr/bin/python3"
READY_SECONDS = 60
STOP_SECONDS = 60


@functools.cache
def program_directory():
    """Directory of the built programs: PILLION_BIN, or a build tree of this checkout; a copy when users like
    pillion-proxy could not enter it (a checkout below /root)."""
    candidates = [REPOSITORY / "build" / preset / "bin" for preset in ("release", "dev")]
    if os.environ.get("PILLION_BIN"):
        candidates = [Path(os.environ["PILLION_BIN"])]
    found = next((path for path in candidates if path.is_dir()), None)
    assert found, "cannot find the programs: set PILLION_BIN"
    if os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (found, *found.parents)):
        return found
    copy = make_workspace()
    atexit.register(remove_workspace, copy)
    return Path(shutil.copytree(found, copy / "bin"))


def program(name):
    """Path of one program; a missing one fails the test, it never skips it."""
    path = program_directory() / name
    assert path.exists(), f"{path} is not built"
    return str(path)


requires_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: run the tests as root or with sudo")


def unique_name(prefix="t"):
    """A service name nobody else uses now: lower case, at most 30 characters."""
    return f"{prefix[:20]}-{secrets.token_hex(4)}"


_held_ports = []


def free_port():
    """A TCP port that nobody listens on, reserved for this process until it ends.

    Below the kernel's ephemeral range, so that no outgoing connection takes it; a lock file keeps
    parallel tests from picking the same one between here and the bind.
    """
    directory = Path(tempfile.gettempdir()) / "pillion-test-ports"
    directory.mkdir(mode=0o777, exist_ok=True)
    for _ in range(500):
        port = random.randint(20000, 29999)
        handle = open(directory / str(port), "w")  # noqa: SIM115  (kept open: it is the lock)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", port))
        except OSError:
            handle.close()
            continue
        _held_ports.append(handle)
        return port
    raise AssertionError("no free port between 20000 and 29999")


def wait_until(condition, timeout=30, what=None):
    """Calls `condition` until it returns something true, and returns that.

    An OSError or ValueError counts as "not yet". On timeout the AssertionError says what was awaited
    and what was last seen.
    """
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        try:
            last = condition()
        except (OSError, ValueError, http.client.HTTPException) as error:
            last, seen = None, repr(error)
        else:
            seen = repr(last)
        if last:
            return last
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__name__", "condition")
            raise AssertionError(f"waited {timeout} s for {name}; last seen: {seen}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


class Reply:
    """An HTTP response: .status, .headers (case-insensitive mapping), .body (bytes), .json()."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


def http_request(method, url, body=None, headers=None, timeout=30):
    """One request on its own connection, no redirect followed, any status returned as a Reply.

    `url` may be http://HOST:PORT/path, or unix:/path/to/socket:/path for an admin socket.
    """
    if url.startswith("unix:"):
        path, _, target = url[len("unix:"):].partition(":")
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        connection.sock.connect(path)
    else:
        parts = urllib.parse.urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def http_get(url, headers=None, timeout=30):
    return http_request("GET", url, headers=headers, timeout=timeout)


class RawClient:
    """A socket that sends exactly the bytes given and reads exactly what came back."""

    def __init__(self, port, host="127.0.0.1", timeout=30):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.received = b""

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def read_until(self, marker):
        """Everything up to and including `marker`; EOF before it is an AssertionError."""
        while marker not in self.received:
            chunk = self.socket.recv(65536)
            assert chunk, f"peer closed before {marker!r}; got {self.received!r}"
            self.received += chunk
        end = self.received.index(marker) + len(marker)
        data, self.received = self.received[:end], self.received[end:]
        return data

    def read_exactly(self, count):
        while len(self.received) < count:
            chunk = self.socket.recv(65536)
            assert chunk, f"peer closed {count - len(self.received)} bytes too early"
            self.received += chunk
        data, self.received = self.received[:count], self.received[count:]
        return data

    def read_response(self, head_only=False):
        """One HTTP/1.1 response as (status, {lower-case header: value}, body)."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:]:
            if line:
                key, _, value = line.partition(":")
                headers[key.lower()] = value.strip()
        if head_only or status in (204, 304) or status < 200:
            return status, headers, b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while True:
                size = int(self.read_until(b"\r\n").split(b";")[0], 16)
                if size == 0:
                    while self.read_until(b"\r\n") != b"\r\n":
                        pass
                    return status, headers, body
                body += self.read_exactly(size)
                self.read_until(b"\r\n")
        if "content-length" in headers:
            return status, headers, self.read_exactly(int(headers["content-length"]))
        return status, headers, self.read_to_end()

    def read_to_end(self):
        """Everything until the peer closes."""
        while chunk := self.socket.recv(65536):
            self.received += chunk
        data, self.received = self.received, b""
        return data

    def is_closed_by_peer(self, timeout=10):
        """True when the peer closes, or resets, within `timeout` without sending more."""
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Program:
    """One program of ours, run by itself; stdout and stderr are collected in files.

    `argv[0]` that starts with "pillion" is looked up among the built programs. Use as a context manager, or call
    `close()`; both end it if it still runs.
    """

    def __init__(self, argv, directory, env=None, pass_fds=(), inherit_env=True):
        self.argv = [str(word) for word in argv]
        if self.argv[0].startswith("pillion"):
            self.argv[0] = program(self.argv[0])
        stem = f"{Path(self.argv[0]).name}-{secrets.token_hex(3)}"
        self.stdout_path = Path(directory) / f"{stem}.stdout"
        self.stderr_path = Path(directory) / f"{stem}.stderr"
        environment = dict(os.environ) if inherit_env else {"PATH": os.environ["PATH"]}
        environment.update({key: str(value) for key, value in (env or {}).items()})
        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, env=environment, pass_fds=pass_fds)
        self.pid = self.process.pid

    @property
    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    @property
    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    @property
    def output(self):
        return self.stdout + self.stderr

    @property
    def returncode(self):
        return self.process.poll()

    def is_running(self):
        return self.process.poll() is None

    def signal(self, signo):
        self.process.send_signal(signo)

    def wait(self, timeout=STOP_SECONDS):
        """Its exit status; negative for a signal, as in subprocess. Fails the test on timeout."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.argv[0]} still runs after {timeout} s\n{self.output}") from None

    def stop(self, signo=SIGTERM, timeout=STOP_SECONDS):
        if self.is_running():
            self.signal(signo)
        return self.wait(timeout)

    def close(self):
        if self.is_running():
            self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def run(argv, timeout=60, env=None, check=None, **options):
    """Runs to the end and returns subprocess' result with text output. `check=N` asserts the exit code."""
    argv = [str(word) for word in argv]
    if argv[0].startswith("pillion"):
        argv[0] = program(argv[0])
    environment = {**os.environ, **{key: str(value) for key, value in (env or {}).items()}}
    result = subprocess.run(argv, timeout=timeout, env=environment, capture_output=True, text=True,
                            errors="replace", **options)
    if check is not None:
        assert result.returncode == check, (
            f"{argv} ended with {result.returncode}, not {check}\n{result.stdout}{result.stderr}")
    return result


class Service:
    """`pillion run` of one TOML file with private directories; see the top of this module."""

    def __init__(self, toml, directory, name=None, env=None, ports=None, uid=None):
        self.uid = uid  # None: as the test itself; else a number, for `pillion run` and every `command`
        self.name = name or unique_name("svc")
        self.directory = Path(directory)
        self.ports = {} if ports is None else ports
        self.runtime_parent = self.directory / "run"
        self.state_parent = self.directory / "state"
        self.log_parent = self.directory / "log"
        self.env = {"PILLION_RUNTIME_DIR": self.runtime_parent, "PILLION_STATE_DIR": self.state_parent,
                    "PILLION_LOG_DIR": self.log_parent, "PILLION_LOG_FORMAT": "text", **(env or {})}
        if uid is not None:
            os.chown(self.directory, uid, uid)
            self.env["HOME"] = self.directory
        self.file = self.directory / f"{self.name}.toml"
        self.write(toml)
        self.process = None
        self.run_prefix = []  # words before `pillion run`, such as unshare's, that exec it or wait for it
        self.host_links = set()

    @property
    def runtime_dir(self):
        return self.runtime_parent / self.name

    @property
    def state_dir(self):
        return self.state_parent / self.name

    @property
    def log_dir(self):
        return self.log_parent / self.name

    @property
    def namespace(self):
        """Name of its pinned network namespace (bridged and sealed modes)."""
        return f"pillion-{self.name}"

    def port(self, key):
        """The free port that @port:KEY@ stands for."""
        if key not in self.ports:
            self.ports[key] = free_port()
        return self.ports[key]

    def write(self, toml):
        """Writes (or replaces) the service's file; words between @ are filled in."""
        lines = toml.splitlines()
        text = "\n".join(line[8:] if line.startswith(" " * 8) else line for line in lines) + "\n"
        support = self.directory / "support"
        support.mkdir(mode=0o755, exist_ok=True)
        shutil.copy(SUPPORT / "http_app.py", support)
        for word, value in (("@name@", self.name), ("@dir@", self.directory), ("@support@", support),
                            ("@bin@", program_directory())):
            text = text.replace(word, str(value))
        while "@port:" in text:
            key = text.split("@port:", 1)[1].split("@", 1)[0]
            text = text.replace(f"@port:{key}@", str(self.port(key)))
        self.file.write_text(text)
        self.file.chmod(0o644)

    def start(self, wait=True, timeout=READY_SECONDS, args=()):
        """Starts `pillion run FILE`; with `wait`, returns when `status` says that it is ready."""
        assert self.process is None or not self.process.is_running(), "already started"
        words = [*self.run_prefix, *self.identity, program("pillion"), "run", *args, self.file]
        self.process = Program(words, self.directory, env=self.env)
        if wait:
            self.wait_ready(timeout)
        return self

    def command(self, *words, timeout=60):
        """Runs `pillion WORDS…` with the service's directories; returns subprocess' result."""
        return run([*self.identity, program("pillion"), *words], timeout=timeout, env=self.env)

    @property
    def identity(self):
        """What makes a command line run as the service's user."""
        if self.uid is None:
            return []
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]

    def status(self):
        """The object of `pillion status NAME --json`, or None while nobody answers."""
        result = self.command("status", self.name, "--json")
        if result.returncode != 0 or not result.stdout.strip():
            return None
        return json.loads(result.stdout)

    def child(self, name):
        """The status of one child by name, or None."""
        children = (self.status() or {}).get("children") or []
        return next((child for child in children if child["name"] == name), None)

    def is_ready(self):
        """True when `status` calls the service ready; an early exit of `pillion run` fails the test."""
        assert self.process.is_running(), (
            f"`pillion run` ended with {self.process.returncode}\n{self.describe()}")
        status = self.status() or {}
        self.remember_links()
        return status if status.get("ready") else None

    def wait_ready(self, timeout=READY_SECONDS):
        return self.wait_for(self.is_ready, timeout, f"{self.name} to be ready")

    def wait_for(self, condition, timeout=30, what=None):
        """`wait_until` whose failure shows the service's output, status and logs."""
        try:
            return wait_until(condition, timeout, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def log(self, child):
        """What a child wrote to stdout and stderr so far, in the supervisor's framing."""
        path = self.log_dir / f"{child}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def output(self):
        """stdout and stderr of `pillion run`."""
        return self.process.output if self.process else ""

    def remember_links(self):
        """Notes the host end of the veth pair, whose name the leak check cannot know otherwise."""
        try:
            inside = json.loads(self.inside(["ip", "-j", "link", "show", "eth0"]).stdout)
            host = json.loads(run(["ip", "-j", "link"]).stdout)
        except (OSError, ValueError):
            return
        peers = {link.get("link_index") for link in inside}
        self.host_links |= {link["ifname"] for link in host
                            if link["ifindex"] in peers and link["ifname"].startswith("pil")}

    def inside(self, argv, timeout=60, check=None, **options):
        """Runs a command in the service's network namespace; its sockets see what the app sees.

        It is nobody's child of Pillion and runs as root, so capture does not apply to it unless the
        rules match by namespace."""
        return run(["nsenter", f"--net=/run/netns/{self.namespace}", *argv], timeout=timeout,
                   check=check, **options)

    def stop(self, signo=SIGTERM, timeout=STOP_SECONDS):
        """Asks `pillion run` to stop and waits; returns its Program (.returncode, .output)."""
        self.process.stop(signo, timeout)
        return self.process

    def describe(self):
        """Everything useful about a failure, as text."""
        parts = [f"--- {self.file}", self.file.read_text()]
        if self.process:
            parts += [f"--- output of pillion run (exit {self.process.returncode})", self.output[-20000:]]
        for log in sorted(self.log_dir.glob("*.log")) if self.log_dir.exists() else []:
            parts += [f"--- {log}", log.read_text(errors="replace")[-8000:]]
        return "\n".join(parts)

    def leaks(self):
        """What of this service is still on the machine, as a list of sentences; empty is good."""
        return find_leaks(self.name, self.runtime_parent, self.host_links)

    def close(self):
        """Stops, kills what survived, removes what it can, then fails if anything had been left."""
        if self.process is None:
            return
        stuck = None
        try:
            self.stop()
        except AssertionError as error:
            stuck = error
        finally:
            left = wait_for_no_leaks(self.leaks)
            self.process.close()
            for pid in processes_of(self.name):
                kill_by_handle(pid)
        if stuck:
            raise stuck
        assert not left, "left behind after the stop:\n  " + "\n  ".join(left)


def kill_by_handle(pid):
    """SIGKILL through a pidfd; silent when it is gone already."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        pidfd_send_signal(handle, SIGKILL)
    except OSError:
        pass
    finally:
        os.close(handle)


def is_debian_mirror_reachable():
    """True when apt can fetch from the machine's mirror now."""
    def update():
        result = run(["apt-get", "-q", "update", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10",
                      "-o", "APT::Update::Error-Mode=any"], timeout=120)
        is_locked = "lock" in result.stderr  # another scenario asks at this moment
        return None if is_locked else str(result.returncode)

    return wait_until(update, 120, "apt's lock") == "0"


def make_workspace():
    """A private directory that every user may enter; the caller removes it. Not below /tmp for root: the
    children of a service have a /tmp of their own."""
    path = Path(tempfile.mkdtemp(prefix="pillion-test-", dir="/run" if os.geteuid() == 0 else None))
    path.chmod(0o755)
    return path


def remove_workspace(path):
    """Removes it, unless PILLION_KEEP is set (then says where it is)."""
    if os.environ.get("PILLION_KEEP"):
        print(f"kept {path}", file=sys.stderr)
    else:
        shutil.rmtree(path, ignore_errors=True)
