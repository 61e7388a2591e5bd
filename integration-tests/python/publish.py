"""Publishes the rows of traffic.py as Avro observations, with confluent-kafka and fastavro.

    publish.py BROKERS TOPIC SCHEMA CSV_FOLDER ROWS_MAX COPIES

Prints one JSON line per record that was written: [series, time, partition, offset].
"""

import io
import json
import sys

import confluent_kafka
import fastavro
import fastavro.schema

import traffic


def main():
    brokers, topic, schema_file, folder, rows_max, copies = sys.argv[1:]
    parsed = fastavro.schema.load_schema(schema_file)
    canonical = fastavro.schema.to_parsing_canonical_form(fastavro.schema.load_schema(schema_file))
    fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": brokers,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    written = []

    def report(series, time):
        def delivered(error, message):
            if error is not None:
                raise RuntimeError(f"{series} at {time} was not written: {error}")
            written.append([series, time, message.partition(), message.offset()])

        return delivered

    for series, time, values in traffic.read(folder, int(rows_max), int(copies)):
        value = io.BytesIO(b"\xc3\x01" + fingerprint)
        value.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(value, parsed, {"series": series, "time": time, **values})
        producer.produce(
            topic, key=series, value=value.getvalue(), timestamp=time, on_delivery=report(series, time)
        )
        producer.poll(0)
    left = producer.flush(60)
    if left:
        raise RuntimeError(f"{left} records were not written")
    for line in written:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
