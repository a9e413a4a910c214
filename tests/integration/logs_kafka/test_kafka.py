"""Kafka: every record once in its topic and partition, whatever brokers answer."""
import json
import re

import pytest

from support.kafka_lab import KafkaCluster
from support.log_lab import LogLab, line
from support.pillion_testing import Program, program, run, wait_until

FILE = 'file = "@dir@/app.log"\ntimezone = "utc"'
COUNT = 500
SOON = 'batch = { max_size = "8KiB", max_wait = "20ms" }\nretry = { base = "20ms" }\n'
# Error codes of the protocol (https://kafka.apache.org/protocol#protocol_error_codes).
NOT_LEADER, TIMED_OUT, TOO_LARGE = 6, 7, 10


@pytest.fixture
def lab(workspace):
    lab = LogLab(workspace)
    lab.path("app.log").write_text("".join(line(n, user=f"u{n % 7}") for n in range(COUNT)))
    return lab


@pytest.fixture
def kafka():
    with KafkaCluster() as cluster:
        for topic in ("logs-lab", "plain"):
            cluster.create_topic(topic)
        yield cluster


def run_until(lab, delivered=COUNT, dropped=0):
    with lab.start() as logs:
        wait_until(lambda: any(f"delivered {delivered} + dropped {dropped} + pending 0" in message
                               for message in lab.drain_messages()), timeout=60, what=logs.stderr[-500:])
        assert logs.stop() == 0, logs.output
    return lab.receipt()


def test_each_record_is_there_once_in_order_of_its_key(lab, kafka):
    kafka.fail("Produce", NOT_LEADER, TIMED_OUT)  # repeated by the library, without a second copy
    lab.configure(FILE, SOON + f'kafka = {{ brokers = {json.dumps(kafka.brokers.split(","))}, '
                               'topic = "logs-%{service.name}", key = "%{user}" }')
    receipt = run_until(lab)
    messages = kafka.messages("logs-lab")
    assert sorted(json.loads(value)["n"] for _, _, value in messages) == list(range(COUNT))
    for user in range(7):
        own = [(partition, json.loads(value)["n"]) for partition, key, value in messages if key == f"u{user}".encode()]
        assert len({partition for partition, _ in own}) == 1
        assert [n for _, n in own] == list(range(user, COUNT, 7))
    assert receipt["records_delivered"] == COUNT


def test_a_record_that_is_refused_for_good_becomes_a_dead_letter(lab, kafka):
    lab.path("app.log").write_text(line(0) + line(1, pad="x" * 5000) + line(2))
    lab.configure(FILE, SOON + f'kafka = {{ brokers = ["{kafka.brokers.split(",")[0]}"], topic = "plain", '
                               'dead_letter = "@dir@/dead", compression = "none", '
                               'settings = { "message.max.bytes" = "2000" } }')
    receipt = run_until(lab, 2, 1)
    letter, = map(json.loads, lab.path("dead").read_text().splitlines())
    assert letter["document"]["n"] == 1 and letter["index"] == "plain" and "too large" in letter["error"]
    assert sorted(json.loads(value)["n"] for _, _, value in kafka.messages("plain")) == [0, 2]
    assert receipt["records_dropped"] == 1


def test_brokers_that_are_away_are_waited_for_and_nothing_is_lost(lab, kafka):
    for broker in (1, 2, 3):
        kafka.set_down(broker)
    lab.configure(FILE, SOON + f'kafka = {{ brokers = ["{kafka.brokers.split(",")[0]}"], topic = "plain" }}')
    with lab.start() as logs:
        wait_until(lambda: "kafka" in logs.stderr and "trying again" in logs.stderr or "Connect" in logs.stderr)
        for broker in (1, 2, 3):
            kafka.set_down(broker, False)
        wait_until(lambda: any(f"delivered {COUNT} " in message for message in lab.drain_messages()), timeout=60)
        assert logs.stop() == 0, logs.output
    assert sorted(json.loads(value)["n"] for _, _, value in kafka.messages("plain")) == list(range(COUNT))


def test_what_is_not_acknowledged_at_the_stop_is_sent_by_the_next_start(lab, kafka):
    for broker in (1, 2, 3):
        kafka.set_down(broker)
    lab.configure(FILE, SOON + f'kafka = {{ brokers = ["{kafka.brokers.split(",")[0]}"], topic = "plain" }}')
    with lab.start(PILLION_DRAIN_SECONDS=1) as logs:
        assert logs.stop() == 0, logs.output
    assert lab.receipt()["records_pending"] == COUNT
    for broker in (1, 2, 3):
        kafka.set_down(broker, False)
    run_until(lab)
    assert sorted(json.loads(value)["n"] for _, _, value in kafka.messages("plain")) == list(range(COUNT))


def test_wrong_settings_are_an_error_at_the_start(lab):
    lab.configure(FILE, 'kafka = { brokers = ["127.0.0.1:1"], topic = "t", settings = { "no.such" = "1" } }')
    done = run(["pillion-logs", "--config", lab.config, "--check"], check=78)
    assert "no.such" in done.stderr
    lab.configure(FILE, 'kafka = { brokers = ["127.0.0.1:1"], topic = "%{open" }')
    done = run(["pillion-logs", "--config", lab.config, "--check"], check=78)
    assert "kafka: topic" in done.stderr


def test_the_library_is_in_memory_only_when_it_is_configured(lab, kafka):
    def maps(output):
        lab.configure(FILE, output)
        with lab.start() as logs:
            with open(f"/proc/{logs.pid}/maps") as file:
                return set(re.findall(r"/(lib[a-z]+)[^/\n]*\.so", file.read()))
    assert "librdkafka" in maps(f'kafka = {{ brokers = ["{kafka.brokers.split(",")[0]}"], topic = "plain" }}')
    assert not {"librdkafka", "libsystemd"} & maps("stdout = {}")
