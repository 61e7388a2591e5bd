"""Writes one record with a header whose name is not UTF-8, which no Kafka client for a language does.

    raw_header.py BROKERS TOPIC KEY TIMESTAMP

The value comes on standard input. A header traceparent=kept follows the other one. It calls the
librdkafka of the confluent-kafka package, whose Python interface takes text only.
"""

import ctypes
import pathlib
import sys

import confluent_kafka

# RD_KAFKA_VTYPE_*
END, TOPIC, VALUE, KEY, FLAGS, TIMESTAMP, HEADER = 0, 1, 4, 5, 7, 8, 9
COPY = 2
PRODUCER = 0


def librdkafka():
    folder = pathlib.Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    (path,) = folder.glob("librdkafka-*.so*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


def main():
    brokers, topic, key, timestamp = sys.argv[1:]
    key = key.encode()
    value = sys.stdin.buffer.read()
    library = librdkafka()
    error = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    for name, setting in (("bootstrap.servers", brokers), ("partitioner", "murmur2_random")):
        if library.rd_kafka_conf_set(conf, name.encode(), setting.encode(), error, len(error)) != 0:
            raise RuntimeError(error.value)
    producer = library.rd_kafka_new(PRODUCER, conf, error, ctypes.c_size_t(len(error)))
    if not producer:
        raise RuntimeError(error.value)
    producer = ctypes.c_void_p(producer)
    arguments = [ctypes.c_int(TOPIC), topic.encode()]
    arguments += [ctypes.c_int(KEY), key, ctypes.c_size_t(len(key))]
    arguments += [ctypes.c_int(VALUE), value, ctypes.c_size_t(len(value))]
    arguments += [ctypes.c_int(FLAGS), ctypes.c_int(COPY)]
    arguments += [ctypes.c_int(TIMESTAMP), ctypes.c_int64(int(timestamp))]
    for name, text in ((b"\xff\xfe\xc3(", b"bad"), (b"traceparent", b"kept")):
        arguments += [ctypes.c_int(HEADER), name, text, ctypes.c_ssize_t(len(text))]
    code = library.rd_kafka_producev(producer, *arguments, ctypes.c_int(END))
    if code != 0:
        raise RuntimeError(f"producev: {code}")
    if library.rd_kafka_flush(producer, 30_000) != 0 or library.rd_kafka_outq_len(producer) != 0:
        raise RuntimeError("the record was not written")


if __name__ == "__main__":
    main()
