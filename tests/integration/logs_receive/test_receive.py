"""Named pipes and syslog sockets: everything that arrives goes out, through crashes and full spools."""
import os
import socket
import threading
from signal import SIGKILL

import pytest

from support.log_lab import FakeElasticsearch, LogLab, line
from support.pillion_testing import free_port, run, wait_until

OUT = 'file = { path = "@dir@/out.json", max_size = "1GiB" }'


@pytest.fixture
def lab(workspace):
    return LogLab(workspace)


def syslog(number, text="order"):
    return f"<34>1 2024-01-15T14:32:01Z web shop 7 - - {text} n={number}"


def numbers(lab):
    return [int(record["message"].rsplit("n=", 1)[1]) for record in lab.records()]


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def test_a_named_pipe_is_created_and_read_from_one_writer_after_the_other(lab):
    lab.configure('fifo = "@dir@/pipe"\ntimezone = "utc"', OUT)
    with lab.start() as logs:
        for start in (0, 50):
            with open(lab.path("pipe"), "w") as pipe:
                pipe.write("".join(line(n) for n in range(start, start + 50)))
        wait_until(lambda: len(lab.numbers()) >= 100)
        with open(lab.path("pipe"), "w") as pipe:
            pipe.write(line(100).rstrip("\n"))  # its newline never comes
        assert logs.stop() == 0, logs.output
    assert lab.numbers() == list(range(101))
    assert "log.file.path" not in lab.records()[0]
    assert lab.receipt()["records_delivered"] == 101


def test_syslog_over_tcp_in_both_framings_and_cut_anywhere(lab):
    port = free_port()
    lab.configure(f'syslog = "127.0.0.1:{port}"', OUT)
    counted = "".join(f"{len(m.encode())} {m}" for m in (syslog(n, "caf\u00e9\nau lait") for n in range(40)))
    lines = "".join(syslog(n) + "\n" for n in range(40, 80))
    with lab.start() as logs:
        with connect(port) as first, connect(port) as second:
            for at in range(0, len(counted.encode()), 7):
                first.sendall(counted.encode()[at:at + 7])
            second.sendall((lines + syslog(80)).encode())  # the last one ends with the connection
        wait_until(lambda: len(numbers(lab)) >= 81)
        assert logs.stop() == 0, logs.output
    assert sorted(numbers(lab)) == list(range(81))
    record = next(r for r in lab.records() if r["message"].endswith(" n=0"))
    assert record["message"] == "caf\u00e9#012au lait n=0" and record["log.level"] == "critical"
    assert record["process.name"] == "shop" and record["host.hostname"] == "web"


def test_syslog_over_udp_and_a_unix_socket(lab):
    port = free_port()
    lab.config.write_text(f'[[input]]\nsyslog = "127.0.0.1:{port}"\n[[input]]\nsyslog_socket = "{lab.path("log")}"\n'
                          f'[[output]]\nfile = {{ path = "{lab.path("out.json")}" }}\n')
    with lab.start() as logs:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for n in range(100):
                udp.sendto(syslog(n).encode(), ("127.0.0.1", port))
        run(["logger", "--socket", lab.path("log"), "--rfc5424=notime", "-t", "cron", "-p", "user.err", "by logger n=100"],
            check=0)
        run(["logger", "--socket", lab.path("log"), "--rfc3164", "-t", "cron", "by logger n=101"], check=0)
        wait_until(lambda: len(numbers(lab)) >= 102)
        assert logs.stop() == 0, logs.output
    assert sorted(numbers(lab)) == list(range(102))
    by_logger = next(r for r in lab.records() if r["message"] == "by logger n=100")
    assert by_logger["log.level"] == "error" and by_logger["process.name"] == "cron"
    assert not lab.path("log").exists()


def test_what_was_received_survives_a_kill(lab):
    port = free_port()
    with FakeElasticsearch(respond=lambda request: (503, b"")) as down:
        lab.configure(f'syslog = "127.0.0.1:{port}"\nformat = "raw"',
                      f'elasticsearch = {{ url = "{down.url}", index = "o" }}')
        logs = lab.start()
        with connect(port) as client:
            client.sendall("".join(f"n={n}\n" for n in range(2000)).encode())
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""  # all is taken, none delivered
        logs.signal(SIGKILL)
        logs.wait()
    lab.configure(f'syslog = "127.0.0.1:{port}"\nformat = "logfmt"', OUT)
    with lab.start() as logs:
        wait_until(lambda: len(lab.numbers()) >= 2000)
        assert logs.stop() == 0, logs.output
    assert lab.numbers() == list(range(2000))


def test_a_full_spool_makes_senders_wait_and_is_emptied_again(lab):
    port, padding = free_port(), "x" * 1000
    is_down = threading.Event()
    is_down.set()
    with FakeElasticsearch(respond=lambda request: (503, b"") if is_down.is_set() else None) as fake:
        lab.configure(f'syslog = "127.0.0.1:{port}"\nformat = "logfmt"\nspool = "1MiB"',
                      'retry = { base = "10ms", max = "100ms" }\nbatch = { max_size = "64KiB", max_wait = "20ms" }\n'
                      f'elasticsearch = {{ url = "{fake.url}", index = "o" }}')
        lab.config.write_text('buffer = "1MiB"\n' + lab.config.read_text())
        with lab.start() as logs:
            with connect(port) as client:
                def send():
                    for n in range(9000):
                        client.sendall(f"n={n} pad={padding}\n".encode())
                sender = threading.Thread(target=send)
                sender.start()
                wait_until(lambda: "the spool holds" in logs.stderr)
                assert sender.is_alive()  # 9 MB are not taken while 1 MiB may wait
                is_down.clear()
                sender.join(100)
                assert not sender.is_alive()
            wait_until(lambda: len(fake.stored) >= 9000, timeout=60)
            # The segments that were filled are removed when they are delivered.
            wait_until(lambda: len(list(lab.path("state/lab/logs").glob("input-1.spool.*"))) == 0)
            assert logs.stop() == 0, logs.output
    assert sorted(fake.stored) == list(range(9000))


def test_a_disk_that_is_full_is_said_and_waited_for(lab):
    state = lab.path("state")
    state.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    run(["mount", "-t", "tmpfs", "-o", "size=256k", "pillion-test", state], check=0)
    try:
        port = free_port()
        lab.configure(f'syslog = "127.0.0.1:{port}"\nformat = "logfmt"', OUT)
        with lab.start() as logs:
            ballast = state / "ballast"
            ballast.write_bytes(b"x" * (os.statvfs(state).f_bavail * os.statvfs(state).f_bsize - 4096))
            with connect(port) as client:
                client.sendall("".join(f"n={n} pad={'x' * 100}\n" for n in range(1000)).encode())
                wait_until(lambda: "No space left on device" in logs.stderr)
                ballast.unlink()
                wait_until(lambda: len(lab.numbers()) >= 1000)
            assert logs.stop() == 0, logs.output
        assert lab.numbers() == list(range(1000))
    finally:
        run(["umount", state], check=0)


def test_what_cannot_be_listened_on_is_refused_with_its_name(lab):
    lab.path("pipe").write_text("a file")
    lab.configure('fifo = "@dir@/pipe"', OUT)
    logs = lab.start(wait_ready=False)
    assert logs.wait() == 71
    assert "pipe is not a named pipe" in logs.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lab.configure(f'syslog = "127.0.0.1:{port}"', OUT)
        logs = lab.start(wait_ready=False)
        assert logs.wait() == 71
        assert f"127.0.0.1:{port}" in logs.stderr and "in use" in logs.stderr
