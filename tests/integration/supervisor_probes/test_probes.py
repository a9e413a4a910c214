"""https, gRPC and redirected probes of a service, made inside its network namespace."""
import os
import shutil
import signal

import pytest

from support.pillion_testing import SUPPORT, requires_root
from support.tls_lab import Authority

pytestmark = requires_root
pytest.importorskip("grpc", reason="python3-grpcio is not installed")

PROBES = {
    "grpc": 'readiness_probe = { grpc = { port = 9000, service = "orders" }, period = "200ms", timeout = "10s" }',
    "https": 'readiness_probe = { http = { port = 9443, scheme = "https", path = "/health", headers = { X-Probe = "yes" } }, '
             'period = "200ms", timeout = "10s" }',
}


def health_service(services, probe, mode):
    service = services(f"""
        [network]
        mode = "{mode}"
        [app]
        command = ["/usr/bin/python3", "@support@/health_app.py", "9000", "9443", "@dir@/orders/tls.crt", "@dir@/orders/tls.key"]
        gate = {{ log_line = "^serving" }}
        {probe}
        failure_threshold = 1
""".replace("        failure_threshold = 1\n", ""))
    shutil.copy(SUPPORT / "health_app.py", service.directory / "support")
    identity = Authority(service.directory / "ca").issue("orders")
    (service.directory / "orders").mkdir(exist_ok=True)
    for path, name in ((identity.certificate, "tls.crt"), (identity.key, "tls.key")):
        shutil.copy(path, service.directory / "orders" / name)
    return service


@pytest.mark.parametrize("kind", ["grpc", "https"])
def test_readiness_follows_what_the_app_says_inside_its_own_network(services, kind):
    service = health_service(services, PROBES[kind], "bridged")
    service.start()
    pid = service.child("app")["pid"]
    os.kill(pid, signal.SIGUSR1)
    service.wait_for(lambda: not service.status()["ready"], what="the app to be called not ready")
    os.kill(pid, signal.SIGUSR2)
    service.wait_for(lambda: service.status()["ready"], what="the app to be called ready again")


def test_an_http_probe_follows_a_redirect_to_the_same_host(services):
    service = services("""
        [network]
        mode = "bridged"
        [app]
        command = ["/usr/bin/python3", "@support@/health_redirect.py", "8080"]
        readiness_probe = { http = { port = 8080, path = "/" }, period = "200ms", timeout = "10s" }
""")
    (service.directory / "support" / "health_redirect.py").write_text('''
import http.server, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_end = self.path == "/end"
        well = not os.path.exists("@dir@/ill")
        self.send_response((200 if well else 503) if is_end else 302)
        if not is_end: self.send_header("Location", "/end")
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
'''.replace("@dir@", str(service.directory)))
    service.start()
    (service.directory / "ill").touch()
    service.wait_for(lambda: not service.status()["ready"], what="what the redirect leads to be seen as not well")


def test_a_grpc_probe_of_a_server_that_hangs_times_out_and_is_told(services):
    service = services("""
        [network]
        mode = "host"
        [app]
        command = ["/usr/bin/python3", "-c", "import socket, time; s = socket.create_server(('127.0.0.1', @port:grpc@)); time.sleep(1000)"]
        readiness_probe = { grpc = { port = @port:grpc@ }, period = "200ms", timeout = "300ms" }
""")
    service.start(wait=False)
    service.wait_for(lambda: "timed out" in service.command("why", service.name).stdout.lower()
                     or "timed out" in str(service.status()).lower() or "Timeout" in str(service.status()),
                     what="the timeout to be told")
    assert not service.status()["ready"]
