"""The app inside the virtual machine: /healthz, /burn?seconds=N (all CPUs it can get), /forks?count=N."""
import http.server
import multiprocessing
import os
import time
import urllib.parse


def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        body = b"ok\n"
        if parts.path == "/burn":
            workers = [multiprocessing.Process(target=burn, args=(float(query["seconds"]),)) for _ in range(2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        elif parts.path == "/forks":
            body = str(self.count_forks(int(query["count"]))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
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


http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
