"""A Kafka cluster in the test's own process: librdkafka's mock brokers, by ctypes, and a consumer beside them.

    with KafkaCluster() as kafka: kafka.brokers; kafka.fail("Produce", code, …); kafka.messages("topic")
"""
import ctypes
import ctypes.util

import pytest

confluent_kafka = pytest.importorskip("confluent_kafka", reason="python3-confluent-kafka is not installed")

API_KEYS = {"Produce": 0, "Metadata": 3, "InitProducerId": 22}


class KafkaCluster:
    def __init__(self, brokers=3):
        self.library = ctypes.CDLL("librdkafka.so.1")
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(self.library, name).restype = ctypes.c_void_p
        self.library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        why = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self.library.rd_kafka_conf_new())
        self.handle = ctypes.c_void_p(self.library.rd_kafka_new(0, conf, why, len(why)))
        assert self.handle, why.value
        self.cluster = ctypes.c_void_p(self.library.rd_kafka_mock_cluster_new(self.handle, brokers))
        self.brokers = self.library.rd_kafka_mock_cluster_bootstraps(self.cluster).decode()

    def create_topic(self, name, partitions=4):
        self.library.rd_kafka_mock_topic_create(self.cluster, name.encode(), partitions, 1)

    def fail(self, request, *codes):
        """The next requests of that kind are answered with these error codes."""
        errors = (ctypes.c_int * len(codes))(*codes)
        self.library.rd_kafka_mock_push_request_errors_array(self.cluster, ctypes.c_int16(API_KEYS[request]),
                                                             ctypes.c_size_t(len(codes)), errors)

    def set_down(self, broker, is_down=True):
        call = "rd_kafka_mock_broker_set_down" if is_down else "rd_kafka_mock_broker_set_up"
        getattr(self.library, call)(self.cluster, broker)

    def messages(self, topic, partitions=4):
        """Everything in the topic: [(partition, key, value)], in order per partition."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.brokers, "group.id": "test",
                                             "enable.partition.eof": True, "auto.offset.reset": "earliest"})
        consumer.assign([confluent_kafka.TopicPartition(topic, number, confluent_kafka.OFFSET_BEGINNING)
                         for number in range(partitions)])
        found, at_end = [], set()
        while len(at_end) < partitions:
            message = consumer.poll(10)
            assert message is not None, f"no answer; at the end: {at_end}"
            if message.error():
                assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
                at_end.add(message.partition())
            else:
                found.append((message.partition(), message.key(), message.value()))
        consumer.close()
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.rd_kafka_mock_cluster_destroy(self.cluster)
        self.library.rd_kafka_destroy(self.handle)
