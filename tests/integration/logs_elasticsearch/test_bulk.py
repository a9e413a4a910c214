"""Every record ends exactly once in the index or in the dead letter file, whatever the server answers."""
import json
import random

import pytest

from support.log_lab import FakeElasticsearch, LogLab, line
from support.pillion_testing import free_port, wait_until

FILE = 'file = "@dir@/app.log"\ntimezone = "utc"'
COUNT = 3000


@pytest.fixture
def lab(workspace):
    lab = LogLab(workspace)
    lab.path("app.log").write_text("".join(line(n) for n in range(COUNT)))
    return lab


def configure(lab, url, batch='{ max_size = "64KiB", max_wait = "20ms" }', options=""):
    lab.configure(FILE, f'batch = {batch}\nretry = {{ base = "10ms", max = "100ms" }}\n'
                        f'elasticsearch = {{ url = "{url}", index = "orders"{options} }}')


def dead_letters(lab):
    path = lab.path("state/lab/logs/elasticsearch.dead-letter.ndjson")
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def settled(lab, fake):
    return len(fake.stored) + len(dead_letters(lab)) >= COUNT


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_item_has_its_own_verdict(lab, seed):
    fate = random.Random(seed)
    final = {n: fate.choice([201] * 20 + [400]) for n in range(COUNT)}
    busy = {n: fate.choice([0] * 10 + [1, 2, 3]) for n in range(COUNT)}

    def verdict(document, attempt):
        return fate.choice([429, 503]) if attempt <= busy[document["n"]] else final[document["n"]]

    def respond(request):
        if request.number % 7 == 3:
            return 503, {"Retry-After": "0"}, b"busy"
        if request.number % 11 == 5:
            return 200, b'{"errors":true,"items":[{"create":{"sta'
        return None

    with FakeElasticsearch(verdict, respond) as fake:
        configure(lab, fake.url)
        with lab.start() as logs:
            wait_until(lambda: settled(lab, fake), timeout=60)
            assert logs.stop() == 0, logs.output
    letters = dead_letters(lab)
    wanted = [n for n in range(COUNT) if final[n] == 400]
    assert sorted(letter["document"]["n"] for letter in letters) == wanted
    assert sorted(fake.stored) == [n for n in range(COUNT) if final[n] == 201]
    assert set(fake.stored.values()) == {1}, "a record was stored twice"
    assert letters[0]["status"] == 400 and letters[0]["error"]["reason"] == "seeded 400"
    receipt = lab.receipt()
    assert receipt == {"records_read": COUNT, "records_delivered": COUNT - len(wanted),
                       "records_dropped": len(wanted), "records_pending": 0}


def test_a_request_that_is_too_large_is_halved_and_a_record_alone_is_a_dead_letter(lab):
    def respond(request):
        body = request.body
        too_large = body.count(b"\n") > 2 * 50 or b'"n":1234,' in body or b'"n":1234}' in body
        return (413, b"") if too_large else None

    with FakeElasticsearch(respond=respond) as fake:
        configure(lab, fake.url)
        with lab.start() as logs:
            wait_until(lambda: settled(lab, fake), timeout=60)
            assert logs.stop() == 0
    assert [letter["document"]["n"] for letter in dead_letters(lab)] == [1234]
    assert sorted(fake.stored) == [n for n in range(COUNT) if n != 1234]
    assert set(fake.stored.values()) == {1}


def test_without_rights_everything_is_held_and_goes_out_when_they_are_given(lab):
    lab.path("key").write_text("wrong\n")

    def respond(request):
        return None if request.headers["Authorization"] == "ApiKey right" else (403, b"")

    with FakeElasticsearch(respond=respond) as fake:
        configure(lab, fake.url, options=f', auth = {{ api_key_file = "{lab.path("key")}" }}')
        with lab.start() as logs:
            wait_until(lambda: any("STATUS=elasticsearch orders: the server answers 403" in m
                                   for m in lab.drain_messages()))
            assert not fake.stored
            lab.path("key").write_text("right\n")
            wait_until(lambda: len(fake.stored) == COUNT)
            assert logs.stop() == 0
    assert lab.receipt()["records_dropped"] == 0


def test_a_server_that_is_down_at_the_stop_leaves_records_pending_and_the_next_start_delivers(lab):
    configure(lab, f"http://127.0.0.1:{free_port()}")
    with lab.start(PILLION_DRAIN_SECONDS=2) as logs:
        wait_until(lambda: "trying again" in logs.stderr)
        assert logs.stop() == 0
    receipt = lab.receipt()
    assert receipt["records_pending"] == receipt["records_read"] > 0
    assert "not acknowledged" in logs.stderr
    with FakeElasticsearch() as fake:
        configure(lab, fake.url)
        with lab.start() as logs:
            wait_until(lambda: len(fake.stored) == COUNT)
            assert logs.stop() == 0
    assert set(fake.stored.values()) == {1}


def test_the_request_is_what_elasticsearch_expects(lab):
    with FakeElasticsearch() as fake:
        configure(lab, fake.url, options=', operation = "index", pipeline = "mend"')
        with lab.start() as logs:
            wait_until(lambda: len(fake.stored) == COUNT)
            assert logs.stop() == 0
    first = fake.requests[0]
    assert first.path == "/orders/_bulk?filter_path=errors,items.*.status,items.*.error&pipeline=mend"
    assert first.headers["Content-Type"] == "application/x-ndjson"
    assert first.headers["Content-Encoding"] == "gzip"
