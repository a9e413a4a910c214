"""docs/openapi.yaml is the control API: the same paths, and every answer as its schema says."""
import json
import socket
from pathlib import Path

import pytest

from support.pillion_testing import REPOSITORY, http_request

yaml = pytest.importorskip("yaml", reason="needs python3-yaml")
jsonschema = pytest.importorskip("jsonschema", reason="needs python3-jsonschema")

SERVICE = '''
    [network]
    mode = "host"
    [service]
    stop_grace = "5s"
    [init.prepare]
    command = ["/bin/true"]
    [sidecar.helper]
    command = ["/bin/sleep", "1000"]
    limits = { memory = "64MiB" }
    [app]
    command = ["/bin/sh", "-c", "echo hello; exec sleep 1000"]
    env = { MODE = "one" }
'''


def load_document():
    return yaml.safe_load((REPOSITORY / "docs" / "openapi.yaml").read_text())


def make_strict(schema):
    """A key that the document does not name is an error here: documents are for clients, tests are for us."""
    if isinstance(schema, list):
        return [make_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: make_strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        strict["additionalProperties"] = False
    return strict


class Checker:
    """Asks a service and checks each answer against what the document says of its path and status."""

    def __init__(self, service):
        self.service, self.document = service, load_document()
        self.components = make_strict(self.document["components"])
        self.seen = set()

    def resolve(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def describe(self, method, path):
        for pattern, item in self.document["paths"].items():
            parts, given = pattern.split("/"), path.split("/")
            if len(parts) == len(given) and all(a == b or a[:1] == "{" for a, b in zip(parts, given)):
                return pattern, item[method.lower()]
        raise AssertionError(f"docs/openapi.yaml does not know {path}")

    def validate(self, schema, value):
        whole = {**make_strict(schema), "components": self.components}
        errors = sorted(jsonschema.Draft202012Validator(whole).iter_errors(value), key=str)
        assert not errors, f"docs/openapi.yaml: {errors[0].json_path}: {errors[0].message}\n{value}"

    def ask(self, method, target, body=None, status=200):
        reply = http_request(method, f"unix:{self.service.runtime_dir}/control:{target}",
                             body=None if body is None else json.dumps(body), timeout=60)
        assert reply.status == status, (method, target, reply)
        pattern, operation = self.describe(method, target.split("?")[0])
        answer = self.resolve(operation["responses"][str(reply.status)])
        content_type = reply.headers["Content-Type"].split(";")[0]
        schema = answer["content"][content_type].get("schema", {})
        self.seen.add((method, pattern))
        if content_type == "application/x-ndjson":
            values = [json.loads(line) for line in reply.body.splitlines() if line]
            for value in values:
                self.validate(schema, value)
            return values
        if content_type != "application/json":
            return reply.body.decode()
        self.validate(schema, reply.json())
        return reply.json()


def test_every_route_is_documented_and_every_documented_path_is_a_route(services):
    service = services(SERVICE).start()
    routes = set(Checker(service).ask("GET", "/v1")["routes"])
    documented = {f"{method.upper()} {path}" for path, item in load_document()["paths"].items() for method in item}
    assert routes - documented == set(), "routes that docs/openapi.yaml must describe"
    assert documented - routes == set(), "paths of docs/openapi.yaml that nobody serves"


def test_references_and_schemas_of_the_document_are_sound():
    document = load_document()

    def walk(node):
        if isinstance(node, dict):
            reference = node.get("$ref")
            if reference:
                target = document
                for part in reference.removeprefix("#/").split("/"):
                    assert part in target, reference
                    target = target[part]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"].endswith("."), (method, path)
            named = {one.get("name") or one["$ref"].rsplit("/", 1)[1] for one in operation.get("parameters", [])}
            assert all(part[1:-1] in named for part in path.split("/") if part.startswith("{")), path


def test_answers_are_as_documented(services):
    service = services(SERVICE).start()
    api = Checker(service)
    status = api.ask("GET", "/v1/status")
    assert [child["name"] for child in status["children"]] == ["prepare", "helper", "app"]
    assert api.ask("GET", "/v1/version")["supervisor_pid"] == status["supervisor_pid"]
    assert api.ask("GET", "/v1/events?limit=1000")[0]["kind"] == "service_preparing"
    api.ask("GET", "/v1/events?level=loud", status=400)
    assert api.ask("GET", "/v1/timeline")["start"]["complete"]
    assert {child["name"] for child in api.ask("GET", "/v1/usage")["children"]} == {"prepare", "helper", "app"}
    api.ask("GET", "/v1/recommend")
    api.ask("GET", "/v1/recommend?child=nobody", status=404)
    assert "pillion_" in api.ask("GET", "/v1/metrics?own=1")
    api.ask("POST", "/v1/children/helper/resize", {"limits": {"memory": "96MiB"}})
    api.ask("POST", "/v1/children/helper/resize", {"limits": {"memory": "many"}}, status=400)
    assert api.ask("POST", "/v1/children/helper/stop?wait=1")["state"] == "stopped"
    api.ask("POST", "/v1/children/helper/start?wait=1", {"timeout": "30s"})
    api.ask("POST", "/v1/children/helper/restart", status=202)
    api.ask("POST", "/v1/children/nobody/restart", status=404)
    api.ask("POST", "/v1/children/app/retry", status=409)
    api.ask("POST", "/v1/children/helper/restart", [], status=400)
    service.wait_ready()
    assert api.ask("POST", "/v1/reload", {"dry_run": True})["changed"] is False
    good = service.file.read_text()
    service.file.write_text(good.replace('"one"', '"two"'))
    report = api.ask("POST", "/v1/reload", {"dry_run": True})
    assert report["changed"] and report["differences"][0]["child"] == "app"
    api.ask("POST", "/v1/reload", {}, status=202)
    service.wait_ready()
    service.file.write_text("[app]\ncomand = 1\n")
    assert api.ask("POST", "/v1/reload", {}, status=422)["diagnostics"][0]["file"] == str(service.file)
    service.file.write_text(good)
    api.ask("POST", "/v1/deploy", {}, status=400)
    api.ask("POST", "/v1/deploy", {"command": ["sleep"]}, status=422)
    api.ask("POST", "/v1/deploy/cancel", {}, status=409)
    number = api.ask("POST", "/v1/deploy", {"env": {"MODE": "three"}}, status=202)["number"]
    service.wait_for(lambda: api.ask("GET", "/v1/deploy").get("last", {}).get("number") == number)
    assert api.ask("GET", "/v1/deploy")["last"]["promoted"]
    api.ask("POST", "/v1/restart?wait=1")
    api.ask("POST", "/v1/upgrade", {}, status=202)
    service.wait_for(lambda: api.ask("GET", "/v1/version")["supervisor_pid"] != status["supervisor_pid"])
    receipt = api.ask("POST", "/v1/stop?wait=1", {"grace": "5s"})["receipt"]
    assert receipt["reason"] == "pillion stop"


# ---- clients that mean no good

def connect(service):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(service.runtime_dir / "control"))
    return client


def answer_of(client):
    data = b""
    while chunk := client.recv(65536):
        data += chunk
    return data


def supervisor_numbers(service):
    pid = service.status()["supervisor_pid"]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pid, len(list(Path(f"/proc/{pid}/fd").iterdir())), pages * 4096


def test_rubbish_giants_and_crowds_do_not_harm_the_service(services):
    service = services(SERVICE).start()
    api = Checker(service)
    app = service.child("app")["pid"]
    pid, fds, memory = supervisor_numbers(service)
    for rubbish in (b"\0\1\2\3" * 1000 + b"\r\n\r\n", b"GET\r\n\r\n", b"POST /v1/stop HTTP/1.1\r\nHost: x\r\n"
                    b"Content-Length: -5\r\n\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
        with connect(service) as client:
            try:
                client.sendall(rubbish)
                head = answer_of(client)
            except (BrokenPipeError, ConnectionResetError):
                continue  # dropped before it had said everything
            assert head.split()[1][:1] == b"4", head[:100]
    # A body that is announced as larger than is taken is refused before it has been sent.
    with connect(service) as client:
        client.sendall(b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n")
        assert b" 413 " in answer_of(client)[:20]
    # A crowd that says nothing, beyond the limit, and one that never finishes its request.
    crowd = []
    try:
        for i in range(500):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(0.2)
            try:
                client.connect(str(service.runtime_dir / "control"))
                if i % 2:
                    client.send(b"GET /v1/status HTTP/1.1\r\nHos")
            except OSError:  # the queue is full, or it was turned away
                client.close()
                continue
            crowd.append(client)
        fds_during = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        assert fds_during <= fds + 64 + 24, "64 connections and no more"  # beside what watching a child takes
        assert Path(f"/proc/{app}").exists()
    finally:
        for client in crowd:
            client.close()
    service.wait_for(lambda: (service.status() or {}).get("supervisor_pid") == pid)
    service.wait_for(lambda: supervisor_numbers(service)[1] <= fds + 24)
    assert supervisor_numbers(service)[2] < memory + (16 << 20)
    assert service.child("app")["pid"] == app and api.ask("GET", "/v1/status")["ready"]


def test_a_client_that_stalls_is_dropped_and_holds_nobody_up(services):
    service = services(SERVICE).start()
    with connect(service) as client:
        client.sendall(b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        # Others are answered meanwhile.
        assert service.status()["ready"]
        refusal = answer_of(client)  # ten seconds later
        assert b" 408 " in refusal[:20]
    assert service.status()["ready"], "half a request stops nothing"


def ask_and_keep(service, line):
    client = connect(service)
    client.sendall(f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    return client


def head_of(client, seconds):
    """The status line, or nothing while there is no answer yet."""
    client.settimeout(seconds)
    try:
        return client.recv(4096).split(b"\r\n")[0].decode()
    except TimeoutError:
        return ""


def test_clients_that_wait_leave_room_for_those_that_ask(services):
    service = services('''
        [network]
        mode = "host"
        [service]
        stop_grace = "60s"
        [app]
        command = ["/bin/sh", "-c", "trap '' TERM; until [ -e @dir@/go ]; do sleep 0.05; done"]
''').start()
    followers = [ask_and_keep(service, "GET /v1/events?follow=1") for _ in range(50)]
    answers = [head_of(client, 10) for client in followers]
    assert answers.count("HTTP/1.1 200 OK") == 48 and sum(" 503 " in answer for answer in answers) == 2
    assert service.status()["ready"]
    # A stop is let in although no other waiter is; 64 of them leave room for a status, too.
    stoppers = [ask_and_keep(service, "POST /v1/stop?wait=1") for _ in range(8)]
    service.wait_for(lambda: service.status()["state"] == "draining", what="the first stop to be heard")
    fds = supervisor_numbers(service)[1]
    for client in followers:
        client.close()
    service.wait_for(lambda: supervisor_numbers(service)[1] <= fds - 48, what="the followers to be gone")
    stoppers += [ask_and_keep(service, "POST /v1/stop?wait=1") for _ in range(56)]
    refused = [client for client in stoppers if " 503 " in head_of(client, 0.05)]
    assert len(refused) == 8, "56 of 64 wait"
    assert service.status()["state"] == "draining"
    (service.directory / "go").touch()
    assert all(head_of(client, 20) == "HTTP/1.1 200 OK" for client in stoppers if client not in refused)
    for client in stoppers:
        client.close()
