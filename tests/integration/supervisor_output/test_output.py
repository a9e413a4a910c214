"""What children write: nothing of it is lost or written twice, and none of them can hold up the supervisor."""
import os
import re
import signal
from pathlib import Path

import pytest

from support.pillion_testing import wait_until

# Lines of many lengths, some longer than a part; each says its number, the last one that it is the last.
WRITER = '''
import sys
count = int(sys.argv[1])
for number in range(count):
    length = number % 40000 if number % 500 == 0 else number % 120
    sys.stdout.write(f"{number} " + "x" * length + "\\n")
sys.stdout.write("end\\n")
sys.stdout.flush()
import time
time.sleep(1000)
'''


def kill_hard(pid):
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)


def text_of(service, child):
    """What the log and its rotated files have of stdout, parts put together."""
    text = ""
    for number in range(9, -1, -1):
        path = service.log_dir / (f"{child}.log.{number}" if number else f"{child}.log")
        if not path.exists():
            continue
        for line in path.read_text().splitlines():
            _, stream, tag, content = line.split(" ", 3)
            if stream == "stdout":
                text += content + ("" if tag.startswith("P") else "\n")
    return text


def expected_lines(count):
    lengths = (number % 40000 if number % 500 == 0 else number % 120 for number in range(count))
    return "".join(f"{number} " + "x" * length + "\n" for number, length in enumerate(lengths)) + "end\n"


def test_no_byte_is_lost_or_doubled_by_killing_the_supervisor_under_a_flood(services):
    count = 120000
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "@dir@/writer.py", "{count}"]
        output_log = {{ max_size = "4MiB", max_files = 9, when_full = "block" }}
''')
    (service.directory / "writer.py").write_text(WRITER)
    service.start()
    for _ in range(6):  # each time the keeper waits twice as long
        before = service.status()["supervisor_pid"]
        kill_hard(before)
        service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, before),
                         what="the next supervisor")
    service.wait_for(lambda: " end\n" in service.log("app"), what="the last line")
    assert text_of(service, "app") == expected_lines(count)
    assert service.child("app")["generation"] == 1


@pytest.mark.parametrize("point", ["output read@3", "output announced@3", "output written@3", "output rewound@2"])
def test_a_kill_at_any_step_of_a_write_neither_loses_nor_doubles_a_line(services, workspace, point):
    count = 20000
    service = services(f'''
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "@dir@/writer.py", "{count}"]
''', env={"PILLION_FAILPOINT": point, "PILLION_FAILPOINT_MARK": workspace / "mark"})
    (service.directory / "writer.py").write_text(WRITER)
    service.start()
    service.wait_for(lambda: " end\n" in service.log("app"), what="the last line")
    wait_until((workspace / "mark").exists, what="the failpoint to be reached")
    assert text_of(service, "app") == expected_lines(count)


def test_the_rest_of_a_line_that_was_read_before_the_kill_is_kept(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "printf 'before '; echo told >&2; read line < @dir@/go; echo after; exec sleep 1000"]
''')
    os.mkfifo(service.directory / "go")
    service.start()
    service.wait_for(lambda: "told" in service.log("app"), what="the app to wait")
    before = service.status()["supervisor_pid"]
    kill_hard(before)
    service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") not in (None, before),
                     what="the next supervisor")
    (service.directory / "go").write_text("\n")
    service.wait_for(lambda: "stdout F:g1 before after\n" in service.log("app"), what="the whole line")


def test_a_flooding_child_holds_up_nobody_and_fills_no_disk(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sleep", "1000"]
        liveness_probe = { exec = { command = ["/bin/true"] }, period = "200ms", failure_threshold = 2 }
        [sidecar.flood]
        command = ["/usr/bin/yes", "a line that is written as fast as the pipe takes it"]
        output_log = { max_size = "1MiB", max_files = 2 }
''')
    service.start()
    supervisor = service.status()["supervisor_pid"]

    def written():
        return int(Path(f"/proc/{service.child('flood')['pid']}/io").read_text().split("wchar:")[1].split()[0])

    before = written()
    inodes = set()

    def is_rotated_often():
        try:
            inodes.add((service.log_dir / "flood.log").stat().st_ino)
        except FileNotFoundError:
            pass  # a rotation is under way
        return len(inodes) > 5
    service.wait_for(is_rotated_often, what="the log to be rotated again and again")

    def look():  # a rotation may be under way
        try:
            return [path.stat().st_size for path in service.log_dir.glob("flood.log*")]
        except FileNotFoundError:
            return None
    sizes = service.wait_for(look, what="the files between two rotations")
    assert len(sizes) <= 3 and max(sizes) <= 1 << 20
    assert written() > before + 4 * (1 << 20)
    status = service.status()  # answers, within the client's own patience
    assert status["ready"] and status["supervisor_pid"] == supervisor
    assert service.child("app")["restarts"] == 0
    resident = int(Path(f"/proc/{supervisor}/status").read_text().split("VmRSS:")[1].split()[0])
    assert resident < 40 * 1024, "kB of the supervisor"


def test_a_log_that_cannot_be_written_drops_marks_and_goes_on(services):
    service = services('''
        [network]
        mode = "host"
        [app]
        command = ["/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; echo $i > @dir@/progress; sleep 0.01; done"]
''')
    service.log_parent.mkdir()
    (service.log_parent / service.name).mkdir()
    obstacle = service.log_dir / "app.log"
    obstacle.mkdir()  # a directory in the way: also root cannot write to it
    service.start()

    def progress():
        return int((service.directory / "progress").read_text() or 0)

    service.wait_for(lambda: progress() > 20, what="the app to go on writing")
    service.wait_for(lambda: "cannot write the log of app: Is a directory" in service.output, what="the supervisor to say so")
    obstacle.rmdir()
    marker = "records dropped, the disk refused them]"
    service.wait_for(lambda: marker in service.log("app"), what="the marker")
    service.wait_for(lambda: "the log of app can be written again" in service.output, what="the good news")
    lines = service.log("app").splitlines()
    dropped = int(lines[0].split("[pillion: ")[1].split()[0])
    assert lines[1].endswith(f" line {dropped + 1}"), lines[:3]


QUICK = '''
import sys, time
for number in range(int(sys.argv[1])):
    sys.stdout.write(f"{number:07} " + "x" * 91 + "\\n")
sys.stdout.flush()
open(sys.argv[2], "w").close()
time.sleep(1000)
'''


def write_quickly(services, count, settings):
    """An app that says 100 bytes for each of `count`; its log is a pipe that nobody reads, as a disk that hangs."""
    service = services(f'''
        [network]
        mode = "host"
        [service]
        stop_grace = "5s"
        [app]
        command = ["/usr/bin/python3", "@dir@/quick.py", "{count}", "@dir@/done"]
        output_log = {settings}
''')
    (service.directory / "quick.py").write_text(QUICK)
    service.log_dir.mkdir(parents=True)
    os.mkfifo(service.log_dir / "app.log")
    return service, os.open(service.log_dir / "app.log", os.O_RDWR | os.O_NONBLOCK)


def read_until(disk, text):
    data = b""

    def is_there():
        nonlocal data
        try:
            while piece := os.read(disk, 1 << 20):
                data += piece
        except BlockingIOError:
            pass
        return text in data
    wait_until(is_there, timeout=60, what=f"{text} in the log")
    return data.decode().splitlines()


def test_a_log_whose_disk_hangs_holds_up_neither_its_child_nor_the_supervisor(services):
    service, disk = write_quickly(services, 200000, '{ buffer = "1MiB" }')
    try:
        service.start()
        wait_until((service.directory / "done").exists, timeout=60, what="the app to have said everything")
        assert service.status()["ready"], "answers within the client's own patience"
        service.wait_for(lambda: "cannot keep up with its output" in service.output, what="the supervisor to say so")
        lines = read_until(disk, b"the log could not keep up]")
        marks = [int(re.search(r"pillion: (\d+) records dropped", line).group(1)) for line in lines if "dropped" in line]
        dropped = sum(marks)
        assert 150000 < dropped < 200000, "a buffer of 1 MiB holds 10,000 of 200,000"
        records = [line for line in lines if " stdout F:g1 " in line]
        assert len(records) + dropped in (200000, 200001), "a record that was cut counts as dropped"
        assert [int(line.split()[3]) for line in records] == list(range(len(records)))
        assert f"{dropped} records of its output were dropped" in " ".join(service.child("app")["notes"])
    finally:
        (service.log_dir / "app.log").unlink()  # who opens it later would wait for the other end
        os.close(disk)


def test_a_child_that_prefers_to_wait_loses_nothing(services):
    service, disk = write_quickly(services, 40000, '{ buffer = "1MiB", when_full = "block" }')
    try:
        service.start()
        service.wait_for(lambda: service.status()["ready"], what="the app to run")
        lines = read_until(disk, b" 0039999 ")
        assert [int(line.split()[3]) for line in lines] == list(range(40000))
        wait_until((service.directory / "done").exists, what="the app to have said everything")
    finally:
        (service.log_dir / "app.log").unlink()  # who opens it later would wait for the other end
        os.close(disk)
