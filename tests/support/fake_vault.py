"""A Vault-compatible server in the test's own process, with the faults of real ones at hand.

    vault = FakeVault(); vault.address              # http://127.0.0.1:PORT
    vault.put("orders", {"db_password": "x"})       # KV v2 under secret/data/orders; returns the version
    vault.kv1["legacy/orders"] = {"a": "b"}         # anything else that GET /v1/<path> returns as data
    vault.role_id; secret_id = vault.new_secret_id(uses=3)
    vault.token_ttl, vault.token_max_ttl, vault.renewable = 60, 3600, True   # seconds, of new tokens

Faults: .sealed (503 for everything), .revoke_all() (every token dead), .denied (paths that answer 403),
.delay (seconds before every answer), .answer_next(status, count=1, path=None, headers={}) (the next requests, or
those whose path contains `path`), .half_close (part of the answer, then the end), .kv_lag (412 for so many reads),
.stop()/.start() (refuse connections, come back on the same port).

What came is in .requests: objects with .time (monotonic), .method, .path, .token, .headers, .status, .body.
"""
import collections
import http.server
import json
import secrets
import socketserver
import threading
import time


class Request:
    def __init__(self, method, path, headers, body):
        self.time, self.method, self.path, self.headers, self.body = time.monotonic(), method, path, headers, body
        self.token = headers.get("X-Vault-Token")
        self.status = None

    def __repr__(self):
        return f"<{self.method} {self.path} {self.status}>"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _handle(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.vault._serve(self, Request(self.command, self.path, dict(self.headers), body))

    do_GET = do_POST = do_PUT = do_DELETE = do_LIST = _handle


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a client that went away is part of the tests


class FakeVault:
    def __init__(self):
        self.lock = threading.Lock()
        self.requests = []
        self.kv2, self.kv1 = {}, {}
        self.role_id, self.secret_ids, self.wrapped = "role-" + secrets.token_hex(4), {}, {}
        self.tokens = {}
        self.token_ttl, self.token_max_ttl, self.renewable = 3600, 36000, True
        self.sealed, self.half_close, self.delay, self.kv_lag = False, False, 0, 0
        self.denied = set()
        self.next_answers = collections.deque()
        self.in_flight, self.in_flight_max = 0, 0
        self.port, self.server = 0, None
        self.start()

    # ---- life

    def start(self):
        self.server = _Server(("127.0.0.1", self.port), _Handler)
        self.server.vault = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        """Refuses new connections; those that are open answer nothing any more."""
        self.server.shutdown()
        self.server.server_close()
        self.server.vault = None
        self.server = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.server:
            self.stop()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    # ---- what a test arranges

    def put(self, name, fields):
        with self.lock:
            versions = self.kv2.setdefault(name, [])
            versions.append(dict(fields) if fields is not None else None)
            return len(versions)

    def delete(self, name):
        with self.lock:
            self.kv2[name][-1] = None

    def new_secret_id(self, uses=0):
        secret_id = "sid-" + secrets.token_hex(8)
        self.secret_ids[secret_id] = uses if uses > 0 else None
        return secret_id

    def wrap(self, secret_id, creation_path="auth/approle/role/orders/secret-id"):
        token = "wrap." + secrets.token_hex(8)
        self.wrapped[token] = (secret_id, creation_path)
        return token

    def new_token(self, ttl=None):
        token = "s." + secrets.token_hex(12)
        now = time.monotonic()
        self.tokens[token] = {"expires": now + (ttl or self.token_ttl), "dies": now + self.token_max_ttl}
        return token

    def revoke_all(self):
        with self.lock:
            self.tokens.clear()

    def answer_next(self, status, count=1, path=None, headers=None):
        self.next_answers.append([status, count, path, headers or {}])

    # ---- what a test looks at

    def seen(self, method, part, status=None):
        return [request for request in list(self.requests)
                if request.method == method and part in request.path and status in (None, request.status)]

    @property
    def logins(self):
        return self.seen("POST", "/auth/approle/login")

    def most_within(self, seconds):
        """The largest number of requests that came within any window of that length."""
        times, most, first = [request.time for request in list(self.requests)], 0, 0
        for last, end in enumerate(times):
            while end - times[first] > seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    # ---- serving

    def _serve(self, handler, request):
        with self.lock:
            self.requests.append(request)
            self.in_flight += 1
            self.in_flight_max = max(self.in_flight_max, self.in_flight)
            delay = self.delay
        try:
            if delay:
                time.sleep(delay)
            with self.lock:
                status, document, headers = self._answer(request)
            request.status = status
            self._send(handler, status, document, headers)
        finally:
            with self.lock:
                self.in_flight -= 1

    def _send(self, handler, status, document, headers):
        if isinstance(document, (bytes, bytearray)):
            body = bytes(document)
        else:
            body = json.dumps(document).encode() if document is not None else b""
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.half_close and body:
            handler.wfile.write(body[:len(body) // 2])
            handler.close_connection = True
            return
        handler.wfile.write(body)

    def _scripted(self, request):
        for entry in list(self.next_answers):
            status, count, path, headers = entry
            if path is not None and path not in request.path:
                continue
            entry[1] -= 1
            if entry[1] <= 0:
                self.next_answers.remove(entry)
            return status, {"errors": [f"scripted {status}"]}, headers
        return None

    def _answer(self, request):
        scripted = self._scripted(request)
        if scripted:
            return scripted
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}, {}
        path = request.path.removeprefix("/v1/").split("?")[0]
        if path == "auth/approle/login":
            return self._login(json.loads(request.body))
        if path == "sys/wrapping/lookup":
            wrapped = self.wrapped.get(json.loads(request.body)["token"])
            if not wrapped:
                return 400, {"errors": ["wrapping token is not valid or does not exist"]}, {}
            return 200, {"data": {"creation_path": wrapped[1], "creation_ttl": 300}}, {}
        if path == "sys/wrapping/unwrap":
            wrapped = self.wrapped.pop(request.token, None)
            if not wrapped:
                return 400, {"errors": ["wrapping token is not valid or does not exist"]}, {}
            return 200, {"data": {"secret_id": wrapped[0]}}, {}
        token = self.tokens.get(request.token)
        if not token or token["expires"] < time.monotonic():
            return 403, {"errors": ["permission denied"]}, {}
        return self._with_token(request, path, token)

    def _login(self, credential):
        uses = self.secret_ids.get(credential["secret_id"], 0)
        if credential["role_id"] != self.role_id or uses == 0:
            return 400, {"errors": ["invalid role or secret ID"]}, {}
        if uses is not None:
            self.secret_ids[credential["secret_id"]] = uses - 1
        return 200, self._auth(self.new_token(), self.token_ttl), {}

    def _auth(self, token, ttl):
        return {"auth": {"client_token": token, "accessor": "acc-" + token[2:8], "lease_duration": int(ttl),
                         "renewable": self.renewable, "policies": ["orders"]}}

    def _with_token(self, request, path, token):
        now = time.monotonic()
        if path == "auth/token/renew-self":
            granted = min(self.token_ttl, token["dies"] - now)
            if not self.renewable:
                return 400, {"errors": ["lease is not renewable"]}, {}
            token["expires"] = now + granted
            return 200, self._auth(request.token, granted), {}
        if path == "auth/token/lookup-self":
            return 200, {"data": {"ttl": int(token["expires"] - now), "renewable": self.renewable,
                                  "id": request.token, "accessor": "acc"}}, {}
        if path in self.denied:
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}, {}
        if self.kv_lag > 0 and path.startswith("secret/"):
            self.kv_lag -= 1
            return 412, {"errors": ["required index state not present"]}, {}
        if path == "echo":
            return 200, {"method": request.method, "headers": request.headers,
                         "body_length": len(request.body)}, {"X-Vault": "yes", "Connection": "keep-alive, X-Hop",
                                                             "X-Hop": "1"}
        if path in self.kv1:
            return 200, {"lease_id": "", "lease_duration": 2764800, "data": self.kv1[path]}, {}
        versions = self.kv2.get(path.removeprefix("secret/data/"), [])
        if not versions:
            return 404, {"errors": []}, {}
        metadata = {"version": len(versions), "deletion_time": "", "destroyed": False}
        if versions[-1] is None:
            metadata["deletion_time"] = "2024-01-15T14:32:01Z"
            return 404, {"data": {"data": None, "metadata": metadata}}, {}
        return 200, {"lease_id": "", "lease_duration": 0, "data": {"data": versions[-1], "metadata": metadata}}, {}
