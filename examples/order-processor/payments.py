#!/usr/bin/python3
"""Charges money, or says so. The second service of the demo; as ignorant of its proxy as the first.

  GET  /healthz   200
  POST /charge    {"order_id": "ORD-9921", "amount": 42.5} → {"charge_id": "CH-1001", "amount": 42.5}
Environment: PORT (8080).
"""
import http.server
import itertools
import json
import os
import signal
import sys
import threading

BODY_BYTES_MAX = 65536
charge_numbers = itertools.count(1001)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # seconds that an idle connection may hold up a stop

    def log_message(self, *_):
        """It writes one line per charge instead."""

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        known = self.path == "/healthz"
        self.answer(200 if known else 404, {"status": "ok"} if known else {"error": "no such path"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/charge" or length > BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(404 if self.path != "/charge" else 413, {"error": "POST /charge, at most 64 KiB"})
        try:
            wanted = json.loads(self.rfile.read(length))
            order_id, amount = str(wanted["order_id"]), float(wanted["amount"])
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"error": "wanted: order_id and amount"})
        charge_id = f"CH-{next(charge_numbers)}"
        print(f"charged {charge_id} order_id={order_id} amount={amount:.2f}", flush=True)
        return self.answer(200, {"charge_id": charge_id, "amount": amount})


def main():
    server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8080"))), Handler)
    server.daemon_threads = False  # a stop waits for the requests in flight
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("payments: listening on port", server.server_port, flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
