"""Confluent's own client of a Schema Registry, against the test registry.

    registry.py check URL                       registers with references, serializes, reads back
    registry.py publish BROKERS TOPIC URL       observations of standard input, by AvroSerializer
    registry.py read BROKERS TOPIC URL          committed forecasts, by AvroDeserializer, a JSON line each
    registry.py table BROKERS TOPIC URL         how many rows foretell.read_forecasts makes of them

`publish` takes JSON lines: {"schema": SCHEMA} changes the writer schema of what follows, any other object
is an observation with its "time" in milliseconds.
"""

import base64
import json
import sys

import confluent_kafka
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

PLACE = """{"type": "record", "name": "Place", "namespace": "geo", "fields": [
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["CELL", "SITE"]}}]}"""
LOAD = """{"type": "record", "name": "Load", "namespace": "cells", "fields": [
    {"name": "at", "type": "geo.Place"},
    {"name": "kinds", "type": {"type": "array", "items": "geo.Kind"}},
    {"name": "series", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "down", "type": ["null", "double"]}]}"""


def check(url):
    client = SchemaRegistryClient({"url": url})
    place = client.register_schema("geo-place", Schema(PLACE, "AVRO"))
    load = Schema(LOAD, "AVRO", [SchemaReference("geo.Place", "geo-place", 1)])
    ours = client.register_schema("load-value", load)
    assert client.register_schema("load-value", load) == ours != place
    assert client.lookup_schema("load-value", load).schema_id == ours
    assert client.get_version("geo-place", 1).schema_id == place
    assert client.get_latest_version("load-value").schema_id == ours
    assert [it.subject for it in client.get_schema(ours).references] == ["geo-place"]
    try:
        client.get_schema(4711)
        raise AssertionError("a schema that is not there")
    except confluent_kafka.schema_registry.error.SchemaRegistryError as error:
        assert error.error_code == 40403, error
    context = SerializationContext("load", MessageField.VALUE)
    value = {
        "at": {"kind": "SITE"},
        "kinds": ["CELL", "SITE"],
        "series": "cell-1",
        "time": 1_522_755_600_000,
        "down": 42.5,
    }
    frame = AvroSerializer(client, load)(value, context)
    read = AvroDeserializer(client)(frame, context)
    assert read["series"] == "cell-1" and read["kinds"] == ["CELL", "SITE"], read
    print(json.dumps({"id": ours, "frame": base64.b64encode(frame).decode()}))


def publish(brokers, topic, url):
    client = SchemaRegistryClient({"url": url})
    context = SerializationContext(topic, MessageField.VALUE)
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": brokers, "partitioner": "murmur2_random", "enable.idempotence": True}
    )
    failed = []
    serialize = None
    for line in sys.stdin:
        value = json.loads(line)
        if "schema" in value:
            serialize = AvroSerializer(client, value["schema"])
            continue
        producer.produce(
            topic,
            key=value["series"],
            value=serialize(value, context),
            timestamp=value["time"],
            on_delivery=lambda error, _message: failed.append(error) if error is not None else None,
        )
        producer.poll(0)
    if producer.flush(60) or failed:
        raise RuntimeError(f"not everything was written: {failed[:1]}")


def read(brokers, topic, url):
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": url}))
    context = SerializationContext(topic, MessageField.VALUE)
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "never-joined",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign(
        [confluent_kafka.TopicPartition(topic, partition, confluent_kafka.OFFSET_BEGINNING) for partition in partitions]
    )
    left = set(partitions)
    while left:
        message = consumer.poll(30)
        if message is None:
            raise RuntimeError("no record and no end of the topic within 30 s")
        if message.error() is not None:
            if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                raise RuntimeError(message.error())
            left.discard(message.partition())
            continue
        forecast = deserialize(message.value(), context)
        print(json.dumps(forecast, default=lambda time: round(time.timestamp() * 1000)))
    consumer.close()


def table(brokers, topic, url):
    import foretell

    by_writer = foretell.read_forecasts(brokers, topic, registry=url)
    of_release = foretell.read_forecasts(brokers, topic)
    assert by_writer.equals(of_release), "other rows by the writer schema"
    print(len(by_writer))


if __name__ == "__main__":
    {"check": check, "publish": publish, "read": read, "table": table}[sys.argv[1]](*sys.argv[2:])
