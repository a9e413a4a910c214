"""Requests that others collected to tell HTTP/1 parsers apart, and what we answer to each.

tests/corpus/http1/requests.json holds them: the cases of llhttp's tests by section and number (with a Host where they
have none, and made whole), the payloads of HTTP Garden's list of findings by number, the header mutations that
request smugglers try, as CL.TE and as TE.CL, and what RFC 9112 §7.1.1 says of whitespace beside chunk extensions. `answer` is ours, one entry for each final response. `llhttp` is its
verdict, `peers` that of nginx and haproxy where it differs from ours, `waits` who keeps the connection open.
"""
import json
import threading
from pathlib import Path

import pytest

from support.http1_peers import LAST, Haproxy, Nginx, Recorder, ask
from support.proxy_lab import ProxyLab, upstream

CORPUS = Path(__file__).parents[2] / "corpus" / "http1" / "requests.json"
CASES = json.loads(CORPUS.read_text())
SOURCES = {"llhttp": 60, "garden": 60, "smuggler": 60, "rfc": 8}  # how many there are at least

# Why we differ from nginx or haproxy: by how our answer begins.
REASONS = {
    "400 the message has both Transfer-Encoding and Content-Length":
        "RFC 9112 §6.1 lets a server go by Transfer-Encoding; what stands behind it may go by the length. nginx refuses, too",
    "400 a line ends in a bare line feed": "RFC 9112 §2.2 allows to accept it; two recipients that differ in it can be split",
    "400 a field line is folded or starts with whitespace": "RFC 9112 §5.2: refuse it, or replace it; nginx refuses, too",
    "400 a field name holds a character that is not allowed": "nginx drops such a field and goes on; RFC 9112 §5.1 makes it malformed",
    "400 a control character stands in the head": "RFC 9110 §5.5 allows to keep it where it is harmless; nobody can know where that is",
    "400 the head holds a NUL byte": "RFC 9110 §5.5: dangerous; haproxy lets it through in values",
    "400 a chunk size is malformed": "RFC 9112 §7.1: digits, then an extension or nothing; haproxy takes spaces behind them, nginx anything behind a space",
    "400 a chunk is longer than its size": "RFC 9112 §7.1: a chunk's data ends in CRLF, not in LF",
    "400 a line ends too early": "a request of HTTP/0.9, or a field without a colon, which nginx skips",
    "400 the request target is malformed": "RFC 9112 §3.2: no fragment, nothing but visible ASCII; haproxy refuses, too",
    "400 only OPTIONS may have * as its target": "RFC 9112 §3.2.4",
    "400 the protocol version is malformed": "what followed a websocket handshake that the app declined; haproxy had refused the handshake",
    "403 CONNECT is not allowed here": "haproxy passes CONNECT on",
    "505 the protocol version is not supported here": "haproxy takes every version for 1.x",
    "200 GET / 0": "RFC 9112 §3.2.2: the target's host wins over a Host that differs; haproxy refuses",
    "400 the request target has a query but no path": "valid by RFC 9110 §4.2.1, and sent by nobody; haproxy refuses, too",
    "200 GET /get_funky_content_length_body_hello 5": "haproxy refuses a GET of HTTP/1.0 with a body",
    "200 POST / 42": "RFC 9110 §5.5: tabs around a value are no part of it; nginx takes them for one",
}

# Where llhttp and we differ: by how our answer begins.
STRICTER = {
    "400 a field line is folded or starts with whitespace": "llhttp in its lenient mode",
    "400 a line ends in a bare line feed": "llhttp in its lenient mode",
    "400 a control character stands in the head": "llhttp in its lenient mode",
    "400 a chunk size line does not end in CRLF": "llhttp in its lenient mode",
    "400 the message has both Transfer-Encoding and Content-Length": "llhttp in its lenient mode",
    "400 the message has more than one Transfer-Encoding": "RFC 9112 §6.1 allows a list; who sends it has something in mind",
    "501 the transfer coding is not supported": "RFC 9112 §6.1",
    "505 the protocol version is not supported here": "llhttp in its lenient mode",
    "400 the protocol version is malformed": "llhttp parses RTSP and ICE as well",
    "403 CONNECT is not allowed here": "we make no tunnels",
    "400 only OPTIONS may have * as its target": "RFC 9112 §3.2.4",
    "400 a line ends too early": "no HTTP/0.9",
    "400 the request target is malformed": "no fragment in a target",
    "400 the request target has a query but no path": "valid by RFC 9110 §4.2.1, and sent by nobody",
    "400 the target's host is malformed": "RFC 9110 §4.2.4: no user information",
    "waits": "the body is not complete",
}
LOOSER = {
    "200 PUT /url 0": "what follows Connection: close is not read",
    "200 POST / 4": "what follows Connection: close is not read",
    "200 ANNOUNCE /music/sweet/music 0": "any token is a method",
    "200 MKCOLA / 0": "any token is a method",
    "200 POST /chunked_w_unicorns_after_length 2": "a chunk extension goes no further than us, however empty",
    "200 POST /chunked_w_unicorns_after_length 11": "a chunk extension goes no further than us, balanced or not",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Recorder() as backend, ProxyLab(tmp_path_factory.mktemp("corpus"), upstream(backend.port)) as proxy:
        proxy.backend = backend
        yield proxy


def ours(lab, case):
    is_waiting = "waits" in case["answer"]
    return ask(lab.ports["explicit"], lab.backend, case["send"].encode("latin-1"), patience=0.3 if is_waiting else 30)


@pytest.mark.parametrize("source", SOURCES)
def test_each_request_is_answered_as_written_down(lab, source):
    cases = [case for case in CASES if case["name"].startswith(source)]
    faults = [f"{case['name']}: {got} instead of {case['answer']}" for case in cases
              if (got := ours(lab, case).answer) != case["answer"]]
    assert len(cases) >= SOURCES[source] and not faults, "\n".join(faults)


def reason_of(reasons, case):
    return next((reasons[one] for one in reversed(case["answer"]) if one in reasons), None)


def test_each_difference_to_llhttp_has_its_reason():
    for case in CASES:
        is_taken = case["answer"][0].startswith("200")
        if is_taken == (case.get("llhttp", "accepted" if is_taken else "refused") == "refused"):
            assert reason_of(LOOSER if is_taken else STRICTER, case), case


def test_no_body_of_a_request_with_two_framings_is_ever_served(lab):
    """Whatever was tried with a Transfer-Encoding beside a Content-Length, nothing of its body became a request."""
    for case in CASES:
        if case["name"].startswith("smuggler") and "Transfer-Encoding:" in case["send"].split("\r\n\r\n")[0].replace("X-T", "X"):
            assert not any("smuggled" in answer for answer in case["answer"]), case


@pytest.mark.parametrize("peer", [Nginx, Haproxy], ids=lambda peer: peer.__name__.lower())
def test_we_differ_from_a_peer_only_where_it_is_written_down_why(lab, peer, tmp_path):
    name, faults, agreed = peer.__name__.lower(), [], 0
    tmp_path.chmod(0o755)
    with Recorder() as backend, peer(tmp_path, backend.port) as other:
        for case in CASES:
            patience = 0.4 if name in case.get("waits", ()) else 30
            theirs = ask(other.port, backend, case["send"].encode("latin-1"), patience).verdict
            mine = ours(lab, case).verdict
            agreed += theirs == mine
            if theirs == mine:
                continue
            if case.get("peers", {}).get(name) != theirs:
                faults.append(f"{case['name']}: {mine}, {name}: {theirs}; written down: {case.get('peers')}")
            elif not reason_of(REASONS, case):
                faults.append(f"{case['name']}: {case['answer']}: no reason is written down")
    assert agreed > len(CASES) * 0.75 and not faults, "\n".join(faults)


def mutations():
    """Each byte that is no part of a name, in each place around a framing field's name and value, and in two at once."""
    places = ("{0}{name}: {value}", "{name}{0}: {value}", "{name}:{0}{value}", "{name}: {value}{0}", "X: y{0}{name}: {value}",
              "{name}: {value}{0}X: y", "{0}{name}{0}: {value}", "{0}{name}:{0}{value}", "{0}{name}: {value}{0}", "{name}{0}:{0}{value}",
              "{name}{0}: {value}{0}", "{name}:{0}{value}{0}")
    for code in (*range(0x21), *range(0x7f, 0x100)):
        for place in places:
            if place.startswith("X: y") and chr(code) not in "\r\n\0":
                continue  # a value like any other
            for other, value in (("Content-Length: 5", "chunked"), ("Transfer-Encoding: chunked", "5")):
                name = "Transfer-Encoding" if value == "chunked" else "Content-Length"
                yield f"{place.format(chr(code), name=name, value=value)}\r\n{other}"


def test_no_mutation_of_a_framing_field_is_taken_beside_another(lab):
    """RFC 9112 §6.3: with one field as it should be and one nearly so, two recipients can differ on the length."""
    refused, before = 0, len(lab.backend.seen)
    faults = []

    def work(part):
        nonlocal refused
        for fields in part:
            request = f"POST /mutated HTTP/1.1\r\nHost: h.test\r\n{fields}\r\n\r\n0\r\n\r\n".encode("latin-1") + LAST
            with lab.client() as client:
                status = client.send(request).read_response()[0]
            refused += status in (400, 501)
            if status not in (400, 501):
                faults.append(f"{status}: {fields!r}")

    every = list(mutations())
    threads = [threading.Thread(target=work, args=(every[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == len(every) > 3000 and not faults, "\n".join(faults[:20])
    assert len(lab.backend.seen) == before
