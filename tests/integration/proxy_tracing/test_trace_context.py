"""The cases of W3C trace-context's test service, by their names, with the proxy on both sides of a service that takes part.

The harness calls the service through `publish`; the service starts or continues the trace and calls back through
`explicit`. The proxy makes no spans: what it must do is to leave `traceparent` and `tracestate` as they are, several
lines of them in their order, and never to take a malformed one for something else. The service is a strict reading of
the recommendation, kept here so that a case fails when the proxy changed what it was told.
"""
import re
import secrets

import pytest

from support.http2_lab import Http2Backend, Http2Client, Reply
from support.pillion_testing import RawClient
from support.proxy_lab import ProxyLab, RawBackend, upstream

TRACE, PARENT = "12345678901234567890123456789012", "1234567890123456"
VALID = f"00-{TRACE}-{PARENT}-01"
KEY = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}")
VALUE = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


def parse_parent(values):
    """(trace id, flags), or None."""
    if len(values) != 1:
        return None
    found = re.fullmatch(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", values[0].strip(" \t"))
    if not found or found[1] == "ff" or set(found[2]) == {"0"} or set(found[3]) == {"0"} or (found[1] == "00" and found[5]):
        return None
    return found[2], found[4]


def parse_state(values):
    """[(key, value)…]; empty when any member is malformed."""
    members = [one.strip(" \t") for one in ",".join(values).split(",")]
    pairs = [one.partition("=")[::2] for one in members if one]
    if len(pairs) > 32 or not all(KEY.fullmatch(key) and VALUE.fullmatch(value) for key, value in pairs):
        return []
    return pairs


class Service(RawBackend):
    """Continues the trace of each request in a call of its own through the proxy."""

    def __init__(self):
        self.lab = None
        super().__init__(self._serve)

    def _serve(self, connection):
        while True:
            head = connection.read_head()
            lines = [line.partition(":")[::2] for line in head.split("\r\n")[1:] if line]
            named = {name: [value[1:] for key, value in lines if key.lower() == name] for name in ("traceparent", "tracestate")}
            parent = parse_parent(named["traceparent"])
            trace, flags = parent or (secrets.token_hex(16), "00")
            state = parse_state(named["tracestate"]) if parent else []
            call = f"GET /call HTTP/1.1\r\nHost: b\r\nTraceParent: 00-{trace}-{secrets.token_hex(8)}-{flags}\r\n"
            call += "".join(f"tracestate: {key}={value}\r\n" for key, value in state)
            with RawClient(self.lab.ports["explicit"]) as client:
                assert client.send(call + "\r\n").read_response()[0] == 200
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def called_by_http1(lab, headers):
    with lab.client("publish") as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return client.send(f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{lines}\r\n").read_response()[0]


def called_by_http2(lab, headers):
    with Http2Client(lab.ports["publish"]) as client:
        return client.request(fields=[(name.lower(), value.strip(" \t")) for name, value in headers]).status


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Service() as service, Http2Backend(lambda request: Reply()) as harness, \
            ProxyLab(tmp_path_factory.mktemp("trace"), upstream(harness.port, 'protocol = "http2"'), app_port=service.port) as one:
        one.harness, service.lab = harness, one
        yield one


def parent(*values):
    return [("traceparent", value) for value in values]


def state(*values):
    return [("traceparent", f"00-{TRACE}-{PARENT}-00"), *(("tracestate", value) for value in values)]


# Each: the fields of the requests to try, whether the trace goes on, and the members of tracestate that must arrive.
CASES = {
    "both_traceparent_and_tracestate_missing": ([[]], False, []),
    "traceparent_included_tracestate_missing": ([parent(VALID)], True, []),
    "traceparent_duplicated": ([parent(f"00-{TRACE[:-1]}1-{PARENT}-01", VALID)], False, []),
    "traceparent_header_name": ([[("trace-parent", VALID)], [("trace.parent", VALID)]], False, []),
    "traceparent_header_name_valid_casing": ([[(name, VALID)] for name in ("TraceParent", "TrAcEpArEnT", "TRACEPARENT")], True, []),
    "traceparent_version_0x00": ([parent(VALID + "."), parent(VALID + "-what-the-future-will-be-like")], False, []),
    "traceparent_version_0xcc": ([parent("cc" + VALID[2:]), parent("cc" + VALID[2:] + "-what-the-future-will-be-like")], True, []),
    "traceparent_version_0xcc, illegal": ([parent("cc" + VALID[2:] + ".what-the-future-will-be-like")], False, []),
    "traceparent_version_0xff": ([parent("ff" + VALID[2:])], False, []),
    "traceparent_version_illegal_characters": ([parent(".0" + VALID[2:]), parent("0." + VALID[2:])], False, []),
    "traceparent_version_too_long": ([parent("0" + VALID), parent("00" + VALID)], False, []),
    "traceparent_version_too_short": ([parent(VALID[1:])], False, []),
    "traceparent_trace_id_all_zero": ([parent(f"00-{'0' * 32}-{PARENT}-01")], False, []),
    "traceparent_trace_id_illegal_characters": ([parent(f"00-.{TRACE[1:]}-{PARENT}-01"), parent(f"00-{TRACE[:-1]}.-{PARENT}-01")], False, []),
    "traceparent_trace_id_too_long": ([parent(f"00-{TRACE}3-{PARENT}-01")], False, []),
    "traceparent_trace_id_too_short": ([parent(f"00-{TRACE[:-1]}-{PARENT}-01")], False, []),
    "traceparent_parent_id_all_zero": ([parent(f"00-{TRACE}-{'0' * 16}-01")], False, []),
    "traceparent_parent_id_illegal_characters": ([parent(f"00-{TRACE}-.{PARENT[1:]}-01"), parent(f"00-{TRACE}-{PARENT[:-1]}.-01")], False, []),
    "traceparent_parent_id_too_long": ([parent(f"00-{TRACE}-{PARENT}7-01")], False, []),
    "traceparent_parent_id_too_short": ([parent(f"00-{TRACE}-{PARENT[:-1]}-01")], False, []),
    "traceparent_trace_flags_illegal_characters": ([parent(VALID[:-2] + ".0"), parent(VALID[:-2] + "0.")], False, []),
    "traceparent_trace_flags_too_long": ([parent(VALID[:-2] + "001")], False, []),
    "traceparent_trace_flags_too_short": ([parent(VALID[:-2] + "1")], False, []),
    "traceparent_ows_handling": ([parent(text.format(VALID)) for text in (" {}", "\t{}", "{} ", "{}\t", "\t {} \t")], True, []),
    "tracestate_included_traceparent_missing": ([[("tracestate", "foo=1")], [("tracestate", "foo=1,bar=2")]], False, []),
    "tracestate_included_traceparent_included": ([state("foo=1,bar=2")], True, ["foo=1", "bar=2"]),
    "tracestate_header_name": ([parent(VALID) + [("trace-state", "foo=1")], parent(VALID) + [("trace.state", "foo=1")]], True, []),
    "tracestate_header_name_valid_casing": ([parent(VALID) + [(name, "foo=1")] for name in ("TraceState", "TrAcEsTaTe", "TRACESTATE")], True, ["foo=1"]),
    "tracestate_empty_header": ([state("foo=1", ""), state("", "foo=1")], True, ["foo=1"]),
    "tracestate_empty_header alone": ([state("")], True, []),
    "tracestate_multiple_headers_different_keys": ([state("foo=1,bar=2", "rojo=1,congo=2", "baz=3")], True,
                                                   ["foo=1", "bar=2", "rojo=1", "congo=2", "baz=3"]),
    "tracestate_duplicated_keys": ([state("foo=1,foo=2"), state("foo=1", "foo=2")], True, ["foo=1", "foo=2"]),
    "tracestate_all_allowed_characters": (
        [state("abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z=" + "".join(map(chr, (*range(0x20, 0x2c), *range(0x2d, 0x3d), *range(0x3e, 0x7f)))))],
        True, ["abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z=" + "".join(map(chr, (*range(0x20, 0x2c), *range(0x2d, 0x3d), *range(0x3e, 0x7f))))]),
    "tracestate_ows_handling": ([state("foo=1 \t , \t bar=2, \t baz=3"), state("foo=1\t \t,\t \tbar=2,\t \tbaz=3"), state("\t foo=1,bar=2 ", "\tbaz=3 \t")],
                                True, ["foo=1", "bar=2", "baz=3"]),
    "tracestate_key_illegal_characters": ([state("foo =1"), state("FOO=1"), state("foo.bar=1")], True, []),
    "tracestate_key_illegal_vendor_format": ([state("@foo=1,bar=2")], True, []),
    "tracestate_key with at signs": ([state("foo@=1,foo@@bar=1,foo@bar@baz=1,bar=2")], True, ["foo@=1", "foo@@bar=1", "foo@bar@baz=1", "bar=2"]),
    "tracestate_member_count_limit": ([state(*(",".join(f"bar{i:02}={i:02}" for i in range(first, min(first + 10, 33))) for first in (1, 11, 21, 31)))],
                                      True, [f"bar{i:02}={i:02}" for i in range(1, 33)]),
    "tracestate_member_count_limit, exceeded": ([state(*(f"bar{i}={i}" for i in range(33)))], True, []),
    "tracestate_key_length_limit": ([state("foo=1", "z" * 256 + "=1")], True, ["foo=1", "z" * 256 + "=1"]),
    "tracestate_key_length_limit, exceeded": ([state("foo=1", "z" * 257 + "=1")], True, []),
    "tracestate_value_illegal_characters": ([state("foo=bar=baz"), state("foo=,bar=3")], True, []),
}


@pytest.mark.parametrize("call", [called_by_http1, called_by_http2], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("name", CASES)
def test_the_case_passes_with_the_proxy_on_both_sides(lab, name, call):
    requests, goes_on, members = CASES[name]
    for headers in requests:
        lab.harness.requests.clear()
        assert call(lab, headers) == 200
        assert len(lab.harness.requests) == 1
        fields = lab.harness.requests[0].headers
        parents = [value for key, value in fields if key == "traceparent"]
        assert len(parents) == 1 and parse_parent(parents), parents
        assert (parse_parent(parents)[0] == TRACE) == goes_on
        assert PARENT not in parents[0].split("-")[2]
        assert [value for key, value in fields if key == "tracestate"] == members


def test_a_connection_option_cannot_take_the_trace_away(lab):
    lab.harness.requests.clear()
    assert called_by_http1(lab, [*state("foo=1"), ("Connection", "traceparent, tracestate, close")]) == 200
    assert TRACE in lab.harness.requests[0]["traceparent"] and lab.harness.requests[0]["tracestate"] == "foo=1"
