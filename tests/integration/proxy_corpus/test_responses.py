"""llhttp's response cases from an upstream, and what the client gets: tests/corpus/http1/responses.json.

`answer` is `STATUS BYTES` of the body, with `cut off` when its end did not come, or the reason of our 502.
"""
import json
import re
from pathlib import Path

import pytest

from support.http1_peers import answer_to
from support.proxy_lab import ProxyLab, RawBackend, upstream

CASES = json.loads((Path(__file__).parents[2] / "corpus" / "http1" / "responses.json").read_text())
# Stricter than llhttp, by name.
STRICTER = {
    "llhttp response connection 8": "a switch that nobody asked for",
    "llhttp response connection 9": "a switch that nobody asked for",
    "llhttp response connection 15": "an empty line between a 100 and the final response",
    "llhttp response sample 2": "RTSP",
    "llhttp response sample 3": "ICE",
    "llhttp response sample 16": "HTTP/0.9 with a status line",
    "llhttp response sample 18": "an empty line before a response",
    "llhttp response transfer-encoding 2": "RFC 9112 §6.3 would read to the end of the connection; we know no deflate",
    "llhttp response transfer-encoding 3": "the same",
    "llhttp response transfer-encoding 4": "the same",
    "llhttp response transfer-encoding 10": "llhttp in its lenient mode",
}
LOOSER = {
    "llhttp response connection 6": "what follows Connection: close is dropped",
    "llhttp response transfer-encoding 1": "the head was on its way before the chunk; the client sees it cut off",
    "llhttp response transfer-encoding 6": "the head was on its way before the chunk; the client sees it cut off",
    "llhttp response transfer-encoding 7": "a chunk extension goes no further than us, however empty",
    "llhttp response transfer-encoding 9": "a chunk extension goes no further than us, balanced or not",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    def serve(connection):
        number = int(re.match(r"GET /(\d+) ", connection.read_head()).group(1))
        connection.send(CASES[number]["send"])

    with RawBackend(serve) as backend, ProxyLab(tmp_path_factory.mktemp("responses"), upstream(backend.port)) as proxy:
        yield proxy


def test_each_response_reaches_the_client_as_written_down(lab):
    faults = []
    for number, case in enumerate(CASES):
        got = answer_to(lab.ports["explicit"], f"GET /{number} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        if got != case["answer"]:
            faults.append(f"{case['name']}: {got} instead of {case['answer']}")
    assert len(CASES) > 60 and not faults, "\n".join(faults)


def test_each_difference_to_llhttp_has_its_reason():
    for case in CASES:
        is_taken = not case["answer"].startswith("502")
        if is_taken == (case["llhttp"] == "refused"):
            assert case["name"] in (LOOSER if is_taken else STRICTER), case


def test_nothing_after_a_response_becomes_the_next_ones(lab):
    """Two requests on one connection: the second never gets what the first one's upstream said too much."""
    with lab.client() as client:
        for number, case in enumerate(CASES):
            if not re.search(r"\r\n\r\n.*HTTP/1", case["send"], re.DOTALL) or not case["answer"].startswith("200"):
                continue
            if "cut off" in case["answer"] or "Content-Length" not in case["send"].split("\r\n\r\n")[0]:
                continue
            for _ in range(2):
                status, _, body = client.send(f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n").read_response()
                assert f"{status} {len(body)}" == case["answer"], case
