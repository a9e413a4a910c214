"""Tries what hardening forbids and what it must allow, as one process; prints one JSON object
{name: "ok" or the name of an errno}. Run as a child of a service: python3 hardening_probe.py [seconds to stay]."""
import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
# x86_64 and aarch64 share the numbers from 424 on.
NUMBERS = {
    "x86_64": dict(ptrace=101, unshare=272, setns=308, mount=165, umount2=166, pivot_root=155, reboot=169, swapon=167,
                   init_module=175, delete_module=176, kexec_load=246, keyctl=250, add_key=248, bpf=321,
                   perf_event_open=298, userfaultfd=323, settimeofday=164, clock_settime=227, iopl=172, acct=163,
                   sethostname=170, syslog=103, personality=135, clone=56, clone3=435, uselib=134, sysfs=139,
                   open_by_handle_at=304, process_vm_readv=310, kcmp=312, io_uring_setup=425, fsopen=430,
                   open_tree=428, move_mount=429, mount_setattr=442, pidfd_getfd=438, ioctl=16, getpid=39),
}
CLONE = {"newns": 0x20000, "newuser": 0x10000000, "newpid": 0x20000000, "newnet": 0x40000000, "newtime": 0x80}


def call(name, *arguments):
    number = NUMBERS[platform.machine()][name]
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return "ok" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def attempt(action):
    try:
        action()
        return "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def write_to(path, text="x"):
    def action():
        with open(path, "a") as file:
            file.write(text)
    return attempt(action)


def create_in(directory):
    def action():
        path = os.path.join(directory, f"pillion-probe-{os.getpid()}")
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)
    return attempt(action)


def system_calls():
    nothing = ctypes.c_void_p(0)
    found = {}
    # Arguments that do no harm where the call is allowed after all.
    for name, arguments in {
        "ptrace": (16, 0, nothing, nothing), "unshare": (CLONE["newuser"],), "setns": (-1, 0),
        "mount": (nothing, nothing, nothing, 0, nothing), "umount2": (b"/nonexistent", 0),
        "pivot_root": (b"/nonexistent", b"/nonexistent"), "reboot": (0, 0, 0, nothing), "swapon": (b"/nonexistent", 0),
        "init_module": (nothing, 0, b""), "delete_module": (b"nonexistent", 0),
        "kexec_load": (0, 0, nothing, 0xffff), "keyctl": (0, -3, 0), "add_key": (b"user", nothing, nothing, 0, -3),
        "bpf": (0, nothing, 0), "perf_event_open": (nothing, 0, -1, -1, 0), "userfaultfd": (0xffff,),
        "settimeofday": (ctypes.c_void_p(1), nothing), "clock_settime": (0, ctypes.c_void_p(1)), "iopl": (0,),
        "acct": (b"/nonexistent",), "sethostname": (ctypes.c_void_p(1), 1), "syslog": (10, nothing, 0),
        "uselib": (b"/nonexistent",), "sysfs": (3,), "open_by_handle_at": (-1, nothing, 0),
        "process_vm_readv": (os.getpid(), nothing, 0, nothing, 0, 0), "kcmp": (os.getpid(), os.getpid(), 2, 0, 0),
        "io_uring_setup": (0, nothing), "fsopen": (b"tmpfs", 0), "open_tree": (-1, b"/", 1),
        "move_mount": (-1, b"", -1, b"", 0), "mount_setattr": (-1, b"", 0, nothing, 0), "pidfd_getfd": (-1, 0, 0),
    }.items():
        found[name] = call(name, *arguments)
    found["unshare_files"] = call("unshare", 0x400)  # CLONE_FILES: threads use it
    found["personality_query"] = call("personality", 0xffffffff)
    found["personality_no_aslr"] = call("personality", 0x0040000)
    found["clone_newuser"] = fork_with(CLONE["newuser"])
    found["clone_newnet"] = fork_with(CLONE["newnet"])
    found["clone"] = fork_with(0)
    found["clone3"] = call("clone3", nothing, 0)
    found["tiocsti"] = call("ioctl", 0, 0x5412, b"x")
    found["tiocsti_high_bits"] = call("ioctl", 0, 0x100005412, b"x")
    found["getpid"] = call("getpid")
    return found


def fork_with(flags):
    number = NUMBERS[platform.machine()]["clone"]
    ctypes.set_errno(0)
    pid = LIBC.syscall(ctypes.c_long(number), ctypes.c_long(flags | signal.SIGCHLD), 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid < 0:
        return errno.errorcode.get(ctypes.get_errno())
    os.waitpid(pid, 0)
    return "ok"


def files():
    found = {}
    for directory in ("/usr", "/etc", "/usr/lib", "/boot", "/root", "/run", "/var/lib", "/tmp", "/var/tmp", "/dev/shm"):
        found["create " + directory] = create_in(directory)
    for path in ("/proc/sys/kernel/core_pattern", "/proc/irq/default_smp_affinity", "/sys/kernel/mm/ksm/run"):
        found["write " + path] = attempt(lambda path=path: os.close(os.open(path, os.O_WRONLY)))
    for path in ("/proc/kcore", "/proc/timer_list", "/proc/keys"):
        found["read " + path] = attempt(lambda path=path: open(path, "rb").read(1) == b"" and os.fstat(-1))
    found["chmod /usr/bin/env"] = attempt(lambda: os.chmod("/usr/bin/env", 0o755))
    found["devices"] = " ".join(sorted(os.listdir("/dev")))
    found["tmp"] = " ".join(sorted(os.listdir("/tmp")))
    found["mknod"] = attempt(lambda: os.mknod(f"/run/pillion-node-{os.getpid()}", 0o600 | 0o020000, os.makedev(1, 3)))
    found["null"] = write_to("/dev/null")
    found["urandom"] = attempt(lambda: open("/dev/urandom", "rb").read(1))
    found["pids"] = " ".join(name for name in os.listdir("/proc") if name.isdigit())
    found["pid"] = str(os.getpid())
    found["parent"] = str(os.getppid())
    found["uid"] = str(os.getuid())
    found["interfaces"] = " ".join(sorted(os.listdir("/sys/class/net")))
    return found


def fill_tmp():
    """Writes to /tmp until it is full; how many bytes there was room for, in MiB."""
    count = 0
    if os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize > 1 << 30:
        return {"fill /tmp": "not tried", "room in /tmp": "much"}
    try:
        with open("/tmp/fill", "wb", buffering=0) as file:
            while count < 4096:
                file.write(b"\0" * (1 << 20))
                count += 1
    except OSError as error:
        result = errno.errorcode[error.errno]
    else:
        result = "ok"
    os.unlink("/tmp/fill")
    return {"fill /tmp": result, "room in /tmp": str(count)}


def ordinary():
    """What every service does."""
    def thread():
        worker = threading.Thread(target=lambda: None)
        worker.start()
        worker.join()

    def exchange():
        left, right = socket.socketpair()
        left.send(b"x")
        assert right.recv(1) == b"x"

    def listen():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()

    def executable_memory():
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()

    def execute_from_tmp():
        with tempfile.TemporaryDirectory() as directory:
            script = os.path.join(directory, "script")
            with open(script, "w") as file:
                file.write("#!/bin/sh\nexit 0\n")
            os.chmod(script, 0o700)
            subprocess.run([script], check=True)

    def move():
        with tempfile.TemporaryDirectory() as directory:
            os.mkdir(directory + "/a")
            open(directory + "/file", "w").close()
            os.rename(directory + "/file", directory + "/a/file")
            os.link(directory + "/a/file", directory + "/link")

    def kill_self():
        os.kill(os.getpid(), 0)
        child = subprocess.Popen(["/bin/sleep", "100"])
        child.kill()
        child.wait()

    return {name: attempt(action) for name, action in {
        "thread": thread, "subprocess": lambda: subprocess.run(["/bin/true"], check=True), "socket": exchange,
        "listen": listen, "executable memory": executable_memory, "execute from tmp": execute_from_tmp, "move": move,
        "signal own": kill_self, "pty": lambda: os.openpty() and None}.items()}


if __name__ == "__main__":
    print("RESULT " + json.dumps({**system_calls(), **files(), **fill_tmp(), **ordinary()}), flush=True)
    if len(sys.argv) > 1 and sys.argv[1]:
        time.sleep(float(sys.argv[1]))
