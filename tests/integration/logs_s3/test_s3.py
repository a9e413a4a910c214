"""Objects in S3: every line is in one, every signature is right (by botocore's own reckoning), repeats overwrite."""
import collections
import gzip
import hashlib
import json
import re
import subprocess
from signal import SIGKILL

import pytest

from support.http_receiver import HttpReceiver
from support.log_lab import LogLab, line
from support.pillion_testing import run, wait_until

botocore = pytest.importorskip("botocore", reason="python3-botocore is not installed")
from botocore.auth import S3SigV4Auth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

FILE = 'file = "@dir@/app.log"\ntimezone = "utc"'
COUNT = 500
ACCESS, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "temporary/token=="


def expected_signature(asked):
    """What botocore signs for the request that came, given the time that it says."""
    sent = asked.headers["Authorization"]
    names = re.search(r"SignedHeaders=([^,]+)", sent)[1].split(";")
    scope = re.search(r"Credential=[^/]+/(\S+),", sent)[1].split("/")
    request = AWSRequest(asked.method, f"http://{asked.headers['Host']}{asked.path}",
                         headers={name: asked.headers[name] for name in names if name != "host"})
    if asked.headers["x-amz-content-sha256"] != hashlib.sha256(asked.body).hexdigest():
        return "the hash of the body is wrong"
    request.context["timestamp"] = asked.headers["x-amz-date"]
    signer = S3SigV4Auth(Credentials(ACCESS, SECRET, TOKEN if "x-amz-security-token" in names else None), "s3", scope[1])
    canonical = "\n".join([request.method, asked.path, "", *(f"{name}:{asked.headers[name]}" for name in names),
                           "", ";".join(names), asked.headers["x-amz-content-sha256"]])
    return signer.signature(signer.string_to_sign(request, canonical), request)


class FakeS3(HttpReceiver):
    """PUT of objects below a bucket; `verdict(request) -> (status, body)` may refuse."""

    def __init__(self, verdict=lambda request: (200, b"")):
        self.verdict = verdict
        self.objects, self.puts, self.wrong = {}, collections.Counter(), []
        super().__init__(self.put, ("PUT",))

    def put(self, request):
        signature = re.search(r"Signature=(\w+)", request.headers["Authorization"])[1]
        with self.lock:
            if signature != expected_signature(request):
                self.wrong.append(request.path)
                return 403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
            status, text = self.verdict(request)
            if status == 200:
                self.objects[request.path] = request.body
                self.puts[request.path] += 1
            return status, text

    def numbers(self, unpack=gzip.decompress):
        with self.lock:
            bodies = list(self.objects.values())
        return [json.loads(text)["n"] for body in bodies for text in unpack(body).splitlines()]


@pytest.fixture
def lab(workspace):
    lab = LogLab(workspace)
    lab.path("app.log").write_text("".join(line(n) for n in range(COUNT)))
    lab.path("access").write_text(ACCESS + "\n")
    lab.path("secret").write_text(SECRET + "\n")
    lab.path("token").write_text(TOKEN + "\n")
    return lab


def output(fake, more="", batch='batch = { max_size = "8KiB", max_wait = "20ms" }'):
    return (f'{batch}\nretry = {{ base = "10ms", max = "50ms" }}\n'
            f's3 = {{ url = "{fake.url}", bucket = "log bucket", region = "eu-west-7", '
            f'access_key_file = "@dir@/access", secret_key_file = "@dir@/secret"{more} }}')


def test_every_line_is_in_an_object_whose_request_is_signed(lab):
    def busy(request):
        return (503, b"<Error><Code>SlowDown</Code></Error>") if request.number % 3 == 1 else (200, b"")

    with FakeS3(busy) as s3:
        lab.configure(FILE, output(s3, ', session_token_file = "@dir@/token", '
                                   'key = "logs/%Y/%m/%d/%{service.name} ü/%{id}.ndjson"'))
        with lab.start() as logs:
            wait_until(lambda: len(s3.numbers()) >= COUNT, timeout=60)
            assert logs.stop() == 0, logs.output
        assert not s3.wrong
    assert sorted(s3.numbers()) == list(range(COUNT)) and set(s3.puts.values()) == {1}
    assert all(path.startswith("/log%20bucket/logs/2024/01/15/lab%20%C3%BC/") and path.endswith(".ndjson.gz")
               for path in s3.objects)
    assert s3.accepted[0].headers["Content-Type"] == "application/gzip" and "Content-Encoding" not in s3.accepted[0].headers
    assert lab.receipt()["records_delivered"] == COUNT


def test_zstd_objects(lab):
    def unpack(body):
        return subprocess.run(["zstd", "-dc"], input=body, stdout=subprocess.PIPE, check=True).stdout

    with FakeS3() as s3:
        lab.configure(FILE, output(s3, ', compression = "zstd"'))
        with lab.start() as logs:
            wait_until(lambda: len(s3.numbers(unpack)) >= COUNT, timeout=60)
            assert logs.stop() == 0, logs.output
        assert not s3.wrong and all(path.endswith(".ndjson.zst") for path in s3.objects)
        assert s3.accepted[0].headers["Content-Type"] == "application/zstd"


def test_a_crash_before_the_checkpoint_overwrites_the_same_objects(lab):
    with FakeS3() as s3:
        lab.configure(FILE, output(s3), '[checkpoint]\ninterval = "1h"')
        logs = lab.start()
        wait_until(lambda: len(s3.numbers()) == COUNT, timeout=60)
        logs.signal(SIGKILL)
        logs.wait()
        before = set(s3.objects)
        with open(lab.path("app.log"), "a") as file:
            file.write(line(COUNT))
        with lab.start() as logs:
            wait_until(lambda: COUNT in s3.numbers() and max(s3.puts.values()) == 2, timeout=60)
            assert logs.stop() == 0, logs.output
        assert not s3.wrong
    repeated = {path for path, puts in s3.puts.items() if puts == 2}
    assert repeated and repeated <= before
    assert sorted(s3.numbers()) == list(range(COUNT + 1))  # nothing twice, though all was read twice


def test_refused_rights_are_waited_for_and_keys_are_read_anew(lab):
    lab.path("secret").write_text("wrong")
    with FakeS3() as s3:
        lab.configure(FILE, output(s3))
        with lab.start() as logs:
            wait_until(lambda: "SignatureDoesNotMatch" in logs.stderr)
            lab.path("secret").write_text(SECRET)
            wait_until(lambda: len(s3.numbers()) == COUNT, timeout=60)
            assert logs.stop() == 0, logs.output
        assert lab.receipt()["records_dropped"] == 0


def test_a_key_that_would_repeat_is_refused_at_the_start(lab):
    with FakeS3() as s3:
        lab.configure(FILE, output(s3, ', key = "logs/%Y"'))
        done = run(["pillion-logs", "--config", lab.config, "--check"], check=78)
    assert "key needs %{id}" in done.stderr
