"""Running pillion-logs by itself: a configuration, a receipt, numbered lines, a fake Elasticsearch.

    lab = LogLab(workspace)
    lab.configure(input='file = "@dir@/app.log"', output='file = { path = "@dir@/out.json" }')
    with lab.start() as logs: ...
    lab.receipt(logs)                 # {"records_read": 3, ...}
"""
import collections
import json
import random
import threading

from support.adapter_lab import AdapterLab
from support.http_receiver import HttpReceiver


class LogLab(AdapterLab):
    def __init__(self, workspace):
        super().__init__("logs", workspace)

    def path(self, name):
        return self.directory / name

    def configure(self, input, output, extra=""):
        text = f"[[input]]\n{input}\n[[output]]\n{output}\n{extra}\n"
        self.config.write_text(text.replace("@dir@", str(self.directory)))

    def start(self, wait_ready=True, **env):
        """The program, ready. Its state is below the workspace, so that a second start goes on."""
        return self.run(wait_ready, **{"PILLION_STATE_DIR": self.directory / "state", **env})

    def checkpoint_path(self, name):
        return self.directory / "state/lab/logs" / f"{name}.checkpoint"

    def records(self, name="out.json"):
        """All records of the output file and its rotations, oldest first; every line must be JSON."""
        rotated = sorted(self.directory.glob(name + ".[0-9]*"), key=lambda p: -int(p.suffix[1:]))
        texts = [path.read_text() for path in [*rotated, self.path(name)] if path.exists()]
        lines = "".join(texts).splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()  # being written at this moment
        return [json.loads(line) for line in lines]

    def numbers(self, name="out.json"):
        return [record["n"] for record in self.records(name)]


def line(number, **fields):
    more = "".join(f" {key}={value}" for key, value in fields.items())
    return f"2024-01-15 14:32:01 INFO n={number}{more}\n"


class NumberedWriter(threading.Thread):
    """Appends numbered lines to a file, as an app does, and rotates it in the given way now and then."""

    def __init__(self, path, count, rotate="rename", seed=1, every=500):
        super().__init__(daemon=True)
        self.path, self.count, self.rotate, self.every = path, count, rotate, every
        self.random = random.Random(seed)
        self.written = 0

    def run(self):
        file = open(self.path, "a", buffering=1)
        for number in range(self.count):
            file.write(line(number, pad="x" * self.random.randrange(60)))
            self.written = number + 1
            if self.random.randrange(self.every) == 0:
                file = self.rotate_now(file)
        file.close()

    def rotate_now(self, file):
        kept = sorted(self.path.parent.glob(self.path.name + ".[0-9]*"), key=lambda p: -int(p.suffix[1:]))
        for old in kept:
            old.rename(f"{self.path}.{int(old.suffix[1:]) + 1}")
        self.path.rename(f"{self.path}.1")
        if self.random.randrange(2):  # the app writes on into the renamed file for a moment
            file.write("\n")
        file.close()
        return open(self.path, "a", buffering=1)


class FakeElasticsearch(HttpReceiver):
    """A _bulk endpoint whose answers are seeded.

    `verdict(document, attempt) -> status` decides each item (attempt counts from 1 per document);
    `respond(request) -> (status, headers, body) or None` may answer a whole request by itself.
    `stored` counts how often each n was accepted.
    """

    def __init__(self, verdict=lambda document, attempt: 201, respond=lambda request: None):
        self.verdict, self.respond = verdict, respond
        self.stored = collections.Counter()
        self.ids = {}
        self.attempts = collections.Counter()
        super().__init__(self.answer_bulk)

    def answer_bulk(self, request):
        with self.lock:
            return self.respond(request) or (200, self.bulk(request.body))

    def bulk(self, body):
        lines = body.split(b"\n")
        assert lines[-1] == b"", "a bulk body ends with a newline"
        items = []
        for action, source in zip(lines[0:-1:2], lines[1:-1:2]):
            (operation, meta), = json.loads(action).items()
            document = json.loads(source)
            number = document.get("n")
            self.attempts[number] += 1
            status = self.verdict(document, self.attempts[number])
            if status < 300 and meta.get("_id") is not None:
                if meta["_id"] in self.ids and operation == "create":
                    status = 409
                else:
                    self.ids[meta["_id"]] = number
            if status < 300:
                self.stored[number] += 1
            item = {"status": status}
            if status >= 300:
                item["error"] = {"type": {429: "es_rejected_execution_exception",
                                          400: "document_parsing_exception"}.get(status, "other"),
                                 "reason": f"seeded {status}"}
            items.append({operation: item})
        return json.dumps({"errors": any(next(iter(i.values()))["status"] >= 300 for i in items),
                           "items": items}).encode()
