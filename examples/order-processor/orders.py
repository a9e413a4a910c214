#!/usr/bin/python3
"""Takes orders. It knows nothing of Pillion, sidecars or JSON logs: it listens on a port, writes a plain-text
log file, reads a password from a file and calls another service by its name.

  GET  /healthz       200 when it can work
  POST /orders        {"sku": "BOOK-1", "amount": 42.5} → charges the amount, answers the order
  GET  /orders/ID     the order
Environment: PORT (8080), LOG_FILE_PATH, DB_PASSWORD_FILE, PAYMENTS_URL (http://payments/charge).
"""
import http.client
import http.server
import itertools
import json
import os
import re
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

PAYMENTS_URL = os.environ.get("PAYMENTS_URL", "http://payments/charge")
PAYMENT_SECONDS_MAX = 5
BODY_BYTES_MAX = 65536

orders = {}
order_numbers = itertools.count(9921)
log_lock = threading.Lock()
log_file = open(os.environ.get("LOG_FILE_PATH", "orders.log"), "a", encoding="utf-8", buffering=1)


def log(level, **fields):
    """One line as this app has always written it: 2024-01-15 14:32:01 INFO order_id=ORD-9921 status=FULFILLED"""
    text = " ".join(f"{key}={value}" for key, value in fields.items())
    with log_lock:
        log_file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {level} {text}\n")


def database_password():
    with open(os.environ["DB_PASSWORD_FILE"], encoding="utf-8") as file:
        return file.read().strip()


def charge(order_id, amount):
    """Asks the payments service; returns its charge id, or None with the reason."""
    body = json.dumps({"order_id": order_id, "amount": amount}).encode()
    request = urllib.request.Request(PAYMENTS_URL, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PAYMENT_SECONDS_MAX) as response:
            return json.load(response)["charge_id"], None
    except urllib.error.HTTPError as error:
        return None, f"payments_said_{error.code}"
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return None, re.sub(r"\W+", "_", str(error)).strip("_") or "no_answer"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # seconds that an idle connection may hold up a stop

    def log_message(self, *_):
        """Requests are logged as orders, not here."""

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            password = database_password()
            return self.answer(200, {"status": "ok", "database_password": f"present, {len(password)} characters"})
        order = orders.get(self.path.removeprefix("/orders/"))
        if order is None:
            return self.answer(404, {"error": "no such order"})
        return self.answer(200, order)

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/orders" or length > BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(404 if self.path != "/orders" else 413, {"error": "POST /orders, at most 64 KiB"})
        try:
            wanted = json.loads(self.rfile.read(length))
            sku, amount = str(wanted["sku"]), float(wanted["amount"])
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"error": "wanted: {\"sku\": \"BOOK-1\", \"amount\": 42.5}"})
        return self.take_order(sku, amount)

    def take_order(self, sku, amount):
        order_id = f"ORD-{next(order_numbers)}"
        charge_id, reason = charge(order_id, amount)
        status = "FULFILLED" if charge_id else "FAILED"
        orders[order_id] = {"order_id": order_id, "sku": sku, "amount": amount, "status": status,
                            "charge_id": charge_id}
        if charge_id:
            log("INFO", order_id=order_id, status=status, amount=f"{amount:.2f}")
            return self.answer(201, orders[order_id])
        log("ERROR", order_id=order_id, status=status, amount=f"{amount:.2f}", reason=reason)
        return self.answer(502, orders[order_id])


def main():
    server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8080"))), Handler)
    server.daemon_threads = False  # a stop waits for the requests in flight
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    log("INFO", event="started", pid=os.getpid())
    print("orders: listening on port", server.server_port, flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    log("INFO", event="stopped", orders=len(orders))
    return 0


if __name__ == "__main__":
    sys.exit(main())
