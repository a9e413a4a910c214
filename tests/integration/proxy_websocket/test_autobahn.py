"""Every conversation of Autobahn's list, through the proxy and without it: the client must not be able to tell which.

The server is python3-websockets; what it is worth is not our subject, but a case that ended other than the list says
would test nothing, so that is checked too.
"""
import zlib

import pytest

from support.proxy_lab import ProxyLab, upstream
from support.websocket_cases import GOODBYE, OFFERS, SECTIONS, compressed_messages
from support.websocket_lab import BINARY, TEXT, EchoServer, Http1Socket, Http2Socket, frame, frames, talk

pytest.importorskip("websockets", reason="python3-websockets is not installed")

CLOSE_BYTE = 0x88


@pytest.fixture(scope="module")
def server():
    with EchoServer() as one:
        yield one


@pytest.fixture(scope="module")
def proxy(server, tmp_path_factory):
    with ProxyLab(tmp_path_factory.mktemp("websocket"), upstream(server.port)) as one:
        yield one


def conversation(client, parts, outcome):
    """What came back, data and control apart: how they interleave is the server's own timing. So is whether it still
    answers what came right before a fault."""
    is_failing = isinstance(outcome, set)
    found = frames(talk(client, parts, awaited=0 if is_failing else len(outcome)))
    if is_failing:
        found = [one for one in found if one[0] & 8]
    return {"data": [one for one in found if one[0] & 8 == 0], "control": [one for one in found if one[0] & 8]}


def messages_of(data):
    messages = []
    for first, payload in data:
        if first & 0x0f:
            messages.append(b"")
        messages[-1] += payload
    return messages


def fault_of(conversation, outcome):
    """How it ended other than the list says, or None."""
    closes = [payload for first, payload in conversation["control"] if first == CLOSE_BYTE]
    if len(closes) != 1:
        return f"{len(closes)} close frames"
    if isinstance(outcome, set):
        code = int.from_bytes(closes[0][:2], "big")
        return None if code in outcome else f"closed with {code}"
    return None if messages_of(conversation["data"]) == outcome else "other messages came back"


@pytest.fixture(scope="module")
def direct(server):
    """The conversations without a proxy, held once for all the routes."""
    known = {}

    def of(number, parts, outcome):
        if number not in known:
            known[number] = conversation(Http1Socket(server.port), parts, outcome)
        return known[number]
    return of


ROUTES = {"HTTP/1.1": Http1Socket, "HTTP/2": Http2Socket}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("route", ROUTES)
def test_the_conversation_is_the_same_through_the_proxy(proxy, direct, route, section):
    faults, count = [], 0
    for number, parts, outcome in SECTIONS[section]():
        count += 1
        wanted = direct(number, parts, outcome)
        got = conversation(ROUTES[route](proxy.ports["explicit"]), parts, outcome)
        fault = fault_of(wanted, outcome)
        if fault:
            faults.append(f"{number}: without the proxy: {fault}")
        if got != wanted:
            faults.append(f"{number}: {str(got)[:300]} instead of {str(wanted)[:300]}")
    assert not faults and count >= 7, "\n".join(faults)


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("route", ROUTES)
def test_compressed_messages_pass(proxy, route, offer):
    asked, bits, keeps_context = OFFERS[offer]
    for opcode in (TEXT, BINARY):
        parts, messages = compressed_messages(bits, keeps_context, opcode)
        client = ROUTES[route](proxy.ports["explicit"], extensions=asked)
        found = frames(talk(client, [*parts, GOODBYE], awaited=len(messages)))
        state, resets, back = zlib.decompressobj(wbits=-15), "server_no_context_takeover" in asked, []
        for first, payload in found:
            if first & 8:
                continue
            assert first & 0x80, "the server sent a fragment"
            if first & 0x40:
                payload = state.decompress(payload + b"\0\0\xff\xff")
                state = zlib.decompressobj(wbits=-15) if resets else state
            back.append(payload)
        assert back == messages


def test_a_hundred_conversations_at_once_do_not_mix(proxy):
    clients = [(Http1Socket if i % 2 else Http2Socket)(proxy.ports["explicit"]) for i in range(100)]
    for i, client in enumerate(clients):
        client.send(frame(TEXT, b"number %d" % i * 50))
    for i, client in enumerate(clients):
        message = b"number %d" % i * 50
        assert messages_of(conversation(client, [GOODBYE], [message])["data"]) == [message]
