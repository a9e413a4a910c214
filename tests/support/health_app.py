"""An app with a gRPC health service (Debian's gRPC) and an https page, for tests of probes:

    health_app.py GRPC_PORT HTTPS_PORT CERTIFICATE KEY

SIGUSR1 makes both say that it is not well, SIGUSR2 that it is. Port 0 leaves one out.
"""
import concurrent.futures
import http.server
import signal
import ssl
import sys
import threading

import grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
KNOWN = {b"": None, b"\x0a\x06orders": None}


class State:
    is_well = True


class Health(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(self.check)

    def check(self, request, context):
        if request not in KNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return SERVING if State.is_well else NOT_SERVING


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_known = self.path == "/health" and self.headers.get("X-Probe") == "yes"
        self.send_response(200 if is_known and State.is_well else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def set_well(is_well):
    State.is_well = is_well


def serve_grpc(port, handler=None):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler or Health(),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


def serve_https(port, certificate, key):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main():
    grpc_port, https_port = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGUSR1, lambda *_: set_well(False))
    signal.signal(signal.SIGUSR2, lambda *_: set_well(True))
    kept = [serve_grpc(grpc_port) if grpc_port else None,
            serve_https(https_port, sys.argv[3], sys.argv[4]) if https_port else None]
    print("serving", flush=True)
    while kept:
        signal.pause()


if __name__ == "__main__":
    main()
