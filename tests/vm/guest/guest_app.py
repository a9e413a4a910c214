"""The app inside the virtual machine: /healthz, /wait?N (seconds), /burn?N (two processes for N seconds), /forks?N.
TERM ends it when what is under way is answered.

No module that is slow to load: the machine is emulated, and this program is started several times."""
import os
import signal
import socket
import time
import _thread

under_way = []


def burn(seconds):
    workers = []
    for _ in range(2):
        workers.append(os.fork())
        if workers[-1] == 0:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
            os._exit(0)
    for worker in workers:
        os.waitpid(worker, 0)


def count_forks(count):
    """How many children could be made before the kernel refused."""
    children = []
    try:
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return len(children)


def answer(target):
    path, _, number = target.partition("?")
    if path == "/burn":
        burn(float(number))
    elif path == "/wait":
        time.sleep(float(number))
    elif path == "/forks":
        return f"{count_forks(int(number))}\n"
    return "ok\n"


def serve(connection):
    with connection, connection.makefile("rb") as lines:
        while request := lines.readline():
            under_way.append(request)
            while lines.readline().strip():
                pass
            body = answer(request.split()[1].decode())
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            under_way.remove(request)


def end(*_):
    while under_way:
        time.sleep(0.02)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
with socket.create_server(("127.0.0.1", 8080), backlog=64) as listener:
    while True:
        connection = listener.accept()[0]
        try:
            _thread.start_new_thread(serve, (connection,))
        except RuntimeError:  # /forks uses up the processes that there may be; a probe is refused meanwhile
            connection.close()
