#!/usr/bin/env python3
"""pillion-logs beside rsyslog, in one run: files of --megabytes each, read from the page cache and written as JSON to a
file, every contender on one core. Then CPU and delay at a steady 10 MB/s, and memory with 1,000 files and a slow
output. Prints tables of MB per CPU-second; see docs/performance.md."""
import argparse
import http.server
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROBE = b"probe-"


def stamp(second):
    return f"2024-01-15 {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"


def prefixed(rng, number):
    return (f"{stamp(number // 500)} {rng.choice(['INFO', 'INFO', 'DEBUG', 'WARN', 'ERROR'])} order_id=ORD-{rng.randrange(10**5)} "
            f"status={rng.choice(['FULFILLED', 'PENDING', 'SHIPPED'])} customer=c-{rng.randrange(10**7)} "
            f"amount={rng.randrange(1000)}.{rng.randrange(100):02} duration_ms={rng.randrange(2000)}\n")


def combined(rng, number):
    return (f'203.0.113.{rng.randrange(256)} - - [15/Jan/2024:{number // 500 // 3600 % 24:02}:{number // 500 // 60 % 60:02}:'
            f'{number // 500 % 60:02} +0000] "GET /api/orders/{rng.randrange(10**5)}?expand=items HTTP/1.1" 200 '
            f'{rng.randrange(90000)} "https://shop.example/orders" "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Firefox/121.0"\n')


def handover(rng, number):
    return (f"{stamp(number // 500)} INFO [worker-{rng.randrange(16)}] com.example.orders.Fulfilment: order ORD-{rng.randrange(10**5)} "
            f"handed over to the carrier after {rng.randrange(2000)} ms, {rng.randrange(5)} parcels\n")


def trace(rng, number):
    head = (f"{stamp(number // 50)},{rng.randrange(1000):03} ERROR [worker-{rng.randrange(16)}] com.example.orders.Fulfilment: "
            f"order ORD-{rng.randrange(10**5)} failed\n")
    if number % 4:
        return head
    frames = "".join(f"\tat com.example.orders.carrier.Client.handle{rng.randrange(100)}(Client.java:{rng.randrange(1000)})\n"
                     for _ in range(20))
    return f"{head}java.lang.IllegalStateException: carrier has closed the connection\n{frames}\t... 20 more\n"


SIX = (r"^(?<time>\S+ \S+) (?<level>\w+) \[(?<thread>[^\]]+)\] (?<logger>[\w.]+): order (?<order>\S+) "
       r"handed over to the carrier after (?<took>\d+) ms")
TIME_START = "^[0-9]{4}-[0-9]{2}-[0-9]{2} "

# Name, maker of a record, our input's keys, rsyslog's rule base (None: no parsing), rsyslog's start of a record.
ROWS = [
    ("prefixed logfmt", prefixed, 'format = "prefixed-logfmt"',
     "version=2\nrule=:%date:word% %time:word% %level:word% %.:name-value-list%\n", None),
    ("raw line in an envelope", prefixed, 'format = "raw"', None, None),
    ("combined access log", combined, 'format = "combined"',
     'version=2\nrule=:%ip:word% %ident:word% %user:word% [%ts:char-to:]%] "%method:word% %url:word% %proto:char-to:"%" '
     '%status:number% %bytes:number% "%referer:char-to:"%" "%agent:char-to:"%"\n', None),
    ("regex with 6 captures", handover, f"format = \"regex\"\npattern = '''{SIX}'''", None, None),
    ("Java traces", trace, 'format = "log4j"\nmultiline = { preset = "java" }', None, TIME_START),
]
NO_PEER = {"regex with 6 captures"}  # rsyslog's normaliser has no captures of this kind


def make_file(path, maker, megabytes):
    """One block of about 16 MB, repeated. Returns how many records the file has."""
    rng, block, records = random.Random(7), [], 0
    size = 0
    while size < 16e6 or records % 4:
        block.append(maker(rng, records))
        size += len(block[-1])
        records += 1
    text = "".join(block).encode()
    repeats = max(1, round(megabytes * 1e6 / len(text)))
    with open(path, "wb") as file:
        for _ in range(repeats):
            file.write(text)
    return records * repeats


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_mib(pid):
    return sum(int(line.split()[1]) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
               if line.startswith("Pss:")) / 1024


class Contender:
    """A log shipper that runs until `stop()`, pinned to the last core."""

    def __init__(self, command, env=None):
        self.process = subprocess.Popen(["taskset", "-c", str(os.cpu_count() - 1), *map(str, command)],
                                        env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        self.pid = self.process.pid

    def stop(self):
        cpu = cpu_seconds(self.pid)
        self.process.send_signal(signal.SIGTERM)
        error = self.process.communicate(timeout=60)[1].decode(errors="replace")
        return cpu, error


def ours(arguments, directory, log, out, keys, more_outputs=""):
    config = directory / "logs.toml"
    config.write_text(f'[[input]]\nfile = "{log}"\ntimezone = "utc"\n{keys}\n'
                      f'[[output]]\nfile = {{ path = "{out}", max_size = "1TiB" }}\n{more_outputs}'
                      f'[fields]\nsource = []\n')  # rsyslog's records say nothing of their source either
    return Contender([arguments.bin / "pillion-logs", "--config", config],
                     {"PILLION_STATE_DIR": str(directory / "state"), "PILLION_SERVICE": "bench",
                      "PILLION_LOG_LEVEL": "warn"})


def rsyslog(_, directory, log, out, rules, start):
    config = directory / "rsyslog.conf"
    for state in directory.glob("imfile-state*"):
        state.unlink()
    multi = f' startmsg.regex="{start}"' if start else ""
    parse = ""
    if rules:
        (directory / "rules").write_text(rules)
        parse = f'action(type="mmnormalize" rulebase="{directory}/rules")'
    fields = 'property(name="$!all-json")' if rules else \
        'constant(value="{\\"message\\":\\"") property(name="msg" format="json") constant(value="\\"}")'
    config.write_text(f'''
global(workDirectory="{directory}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
module(load="mmnormalize")
template(name="t" type="list") {{ {fields} constant(value="\\n") }}
input(type="imfile" File="{log}" Tag="t" ruleset="r"{multi})
ruleset(name="r" queue.type="direct") {{
  {parse}
  action(type="omfile" file="{out}" template="t" ioBufferSize="256k" flushOnTXEnd="off" asyncWriting="off")
}}
''')
    return Contender(["rsyslogd", "-n", "-iNONE", "-f", config])


class Lines:
    """Counts the lines of a growing file."""

    def __init__(self, path):
        self.path, self.count, self.file = path, 0, None

    def look(self):
        if self.file is None:
            if not self.path.exists():
                return 0
            self.file = open(self.path, "rb", buffering=0)
        while block := self.file.read(1 << 20):
            self.count += block.count(b"\n")
        return self.count


def throughput(start, out, log, records, limit):
    """MB per CPU-second until the records are in `out`, but for the last that wait in a buffer."""
    contender, lines = start(), Lines(out)
    deadline = time.monotonic() + limit
    while lines.look() < records * 0.97:
        if time.monotonic() > deadline or contender.process.poll() is not None:
            _, error = contender.stop() if contender.process.poll() is None else (0, contender.process.stderr.read())
            raise SystemExit(f"{lines.count} of {records} records in {out}: {error}")
        time.sleep(0.05)
    cpu, _ = contender.stop()
    out.unlink()
    return log.stat().st_size * lines.count / records / 1e6 / cpu


def steady(start, log, seconds=10, rate=10e6):
    """CPU per cent, and the delays in ms from a written line to its bytes in the output file."""
    log.write_bytes(b"")
    out = start.out
    contender = start()
    time.sleep(2)
    rng, delays, is_over = random.Random(7), [], threading.Event()

    def watch():
        tail, file = b"", None
        while not is_over.is_set() or (file and file.peek(1)):
            if file is None and out.exists():
                file = open(out, "rb")
            block = file.read(1 << 20) if file else b""
            if not block:
                time.sleep(0.0005)
                continue
            now, text, at = time.time_ns(), tail + block, 0
            while (at := text.find(PROBE, at)) >= 0 and at + len(PROBE) + 19 <= len(text):
                delays.append((now - int(text[at + len(PROBE):at + len(PROBE) + 19])) / 1e6)
                at += len(PROBE) + 19
            tail = text[-(len(PROBE) + 18):]
    watcher = threading.Thread(target=watch)
    watcher.start()
    tick, block = 0.01, "".join(prefixed(rng, n) for n in range(int(rate * 0.01 / 115))).encode()
    before, begin = cpu_seconds(contender.pid), time.monotonic()
    with open(log, "ab", buffering=0) as file:
        for number in range(int(seconds / tick)):
            file.write(block + f"2024-01-15 14:32:01 INFO note=probe-{time.time_ns()}\n".encode())
            time.sleep(max(0, begin + (number + 1) * tick - time.monotonic()))
    cpu = (cpu_seconds(contender.pid) - before) / (time.monotonic() - begin) * 100
    time.sleep(1)
    is_over.set()
    watcher.join()
    contender.stop()
    delays.sort()
    return cpu, delays[len(delays) // 2], delays[int(len(delays) * 0.99)]


def memory(arguments, directory):
    """PSS in MiB with 1,000 files of 100 kB, one output that takes everything and one that takes a request a second."""
    class Slow(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(1)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rng = random.Random(7)
    (directory / "many").mkdir()
    for number in range(1000):
        (directory / f"many/{number}.log").write_text("".join(prefixed(rng, n) for n in range(900)))
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    contender = ours(arguments, directory, directory / "many/*.log", directory / "many.json", 'format = "prefixed-logfmt"',
                     f'[[output]]\nhttp = {{ url = "{url}", compress = false }}\nbatch = {{ max_size = "256KiB" }}\n')
    peak = 0
    for _ in range(20):
        time.sleep(0.5)
        peak = max(peak, pss_mib(contender.pid))
    contender.process.kill()
    contender.process.communicate()
    server.shutdown()
    return peak


def table(header, rows):
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=500)
    parser.add_argument("--peer-megabytes", type=float, default=100, help="size of the peer's files, which are slower")
    parser.add_argument("--directory", type=Path, help="where the files are made; default below /var/tmp")
    arguments = parser.parse_args()
    arguments.bin = arguments.bin.resolve()
    has_peer = shutil.which("rsyslogd") is not None
    directory = Path(tempfile.mkdtemp(prefix="pillion-bench-", dir=arguments.directory or "/var/tmp"))
    try:
        rows = []
        for name, maker, keys, rules, start in ROWS:
            log, out = directory / "bench.log", directory / "out.json"

            def measure(contender, megabytes, limit, *more):
                records = make_file(log, maker, megabytes)
                shutil.rmtree(directory / "state", ignore_errors=True)
                return throughput(lambda: contender(arguments, directory, log, out, *more), out, log, records, limit)
            own = measure(ours, arguments.megabytes, 120, keys)
            peer = None
            if has_peer and name not in NO_PEER:
                peer = measure(rsyslog, arguments.peer_megabytes, 120, rules, start)
            rows.append((name, f"{own:,.0f}", f"{peer:,.0f}" if peer else "–", f"{own / peer:.1f}" if peer else "–"))
        table(("MB per CPU-second, file to JSON file", "pillion-logs", "rsyslog", "ratio"), rows)

        rows = []
        for name, begin in (("pillion-logs", lambda log, out: ours(arguments, directory, log, out, 'format = "prefixed-logfmt"')),
                            ("rsyslog", lambda log, out: rsyslog(arguments, directory, log, out, ROWS[0][3], None))):
            if name == "rsyslog" and not has_peer:
                continue
            log, out = directory / f"steady-{name}.log", directory / f"steady-{name}.json"
            shutil.rmtree(directory / "state", ignore_errors=True)

            def start(log=log, out=out, begin=begin):
                return begin(log, out)
            start.out = out
            cpu, middle, late = steady(start, log)
            rows.append((name, f"{cpu:.1f}", f"{middle:.1f}", f"{late:.1f}"))
        table(("prefixed logfmt at 10 MB/s", "CPU %", "delay p50 ms", "delay p99 ms"), rows)
        shutil.rmtree(directory / "state", ignore_errors=True)
        print(f"\nPSS with 1,000 files followed and a slow output: {memory(arguments, directory):.1f} MiB at most")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
