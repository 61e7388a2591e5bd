"""Forecasts read back from Kafka, as a table."""

from __future__ import annotations

import datetime
import importlib.resources
import io
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from ._errors import ForetellError

# C3 01 and the CRC-64-AVRO of schemas/forecast.avsc, little-endian.
_SINGLE_OBJECT = bytes.fromhex("c301")
# Confluent framing: then four bytes of a schema id.
_CONFLUENT = b"\0"
# Longest wait for one batch of records.
_POLL_SECONDS = 0.2
_BATCH = 10_000

Time = datetime.datetime | datetime.timedelta | int


def read_forecasts(
    brokers: str,
    topic: str = "forecasts",
    *,
    since: Time | None = None,
    until: Time | None = None,
    limit: int | None = None,
    series: str | None = None,
    group: str | None = None,
    datum: bool = False,
    registry: str | Mapping[str, Any] | None = None,
    format: Literal["pandas", "arrow"] = "pandas",
    timeout: float = 30.0,
    config: Mapping[str, Any] | None = None,
) -> Any:
    """Reads committed forecasts, a row per forecast, target and step.

    Reads with ``isolation.level=read_committed`` what was there when the call began, joins no consumer group
    and commits nothing, so that neither a worker nor another reader notices.

    Args:
        brokers: ``host:port,host:port``.
        topic: The topic with the forecasts.
        since: Forecasts published at or after this time: a ``datetime`` with a time zone, milliseconds since
            the Unix epoch, or a ``timedelta`` back from now. ``None``: from the beginning.
        until: Forecasts published before this time; ``None``: to the end.
        limit: At most so many forecasts, the oldest of each partition first.
        series: Forecasts of this series only.
        group: A group id, for clusters whose access rules want a certain one.
        datum: The worker writes plain Avro datums (``forecast.wire_format = "datum"``).
        registry: Address of the Schema Registry, or the configuration of confluent-kafka's
            ``SchemaRegistryClient``, for forecasts in Confluent framing (``"confluent"``): they are read by the
            schema that they were written with. Without it they are taken for forecasts of this release.
        format: ``pandas`` for a DataFrame, ``arrow`` for a ``pyarrow.Table``.
        timeout: Seconds without any record or answer after which reading fails.
        config: Further librdkafka properties, such as those of TLS and SASL.

    Returns:
        A table ordered by source partition and offset, with the columns ``series``, ``origin`` (time of the
        newest observation), ``step`` (from 1), ``time`` (that the value is for), ``target``, ``mean``, one
        column per quantile level such as ``q0.9`` (NaN where a model has none of that level), ``model``,
        ``version``, ``digest``, ``source_topic``, ``source_partition``, ``source_offset``, ``imputed``,
        ``partial``. Times are UTC, values in the target's own unit.

    Raises:
        ImportError: Without confluent-kafka, fastavro and pandas or pyarrow: ``pip install 'foretell[kafka]'``.
        ForetellError: When the topic is not there, or a record is not a forecast of this release.
        TimeoutError: When the brokers do not answer.
    """
    _require(format)
    if format not in ("pandas", "arrow"):
        raise ForetellError(f"format is {format!r}; it must be pandas or arrow")
    if limit is not None and limit < 0:
        raise ForetellError(f"limit is {limit}; it must be at least 0")
    decode = _decoder(datum, registry)
    table = _Columns()

    def take(message: Any) -> bool:
        forecast = decode(message)
        if series is None or forecast["series"] == series:
            table.add(forecast)
        return limit is None or table.forecasts < limit

    if limit != 0:
        _consume(
            _consumer(brokers, group, config),
            topic,
            (_milliseconds("since", since), _milliseconds("until", until)),
            timeout,
            take,
        )
    return table.build(format)


def _require(format: str) -> None:
    try:
        import confluent_kafka  # noqa: F401
        import fastavro  # noqa: F401

        if format == "arrow":
            import pyarrow  # noqa: F401
        else:
            import pandas  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"reading forecasts needs {error.name}, which is not installed: pip install 'foretell[kafka]'"
        ) from error


def _milliseconds(name: str, time: Time | None) -> int | None:
    if time is None or (isinstance(time, int) and not isinstance(time, bool)):
        return time
    if isinstance(time, datetime.timedelta):
        time = datetime.datetime.now(datetime.timezone.utc) - time
    if not isinstance(time, datetime.datetime) or time.tzinfo is None:
        raise ForetellError(
            f"{name} is {time!r}; it must be a datetime with a time zone, a timedelta, or whole milliseconds"
        )
    return round(time.timestamp() * 1000)


def _consumer(brokers: str, group: str | None, config: Mapping[str, Any] | None) -> Any:
    import confluent_kafka

    return confluent_kafka.Consumer(
        {
            **(config or {}),
            "bootstrap.servers": brokers,
            # Never joined: partitions are assigned by hand. librdkafka wants a name all the same.
            "group.id": group or f"foretell-read-{uuid.uuid4()}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # An offset that retention has removed meanwhile: go on with the oldest that is there.
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )


def _consume(
    consumer: Any,
    topic: str,
    times: tuple[int | None, int | None],
    timeout: float,
    take: Callable[[Any], bool],
) -> None:
    """Hands every record of the range to ``take`` until that answers False."""
    import confluent_kafka

    try:
        ends = _assign(consumer, topic, times, timeout)
        heard = time.monotonic()
        while ends:
            messages = consumer.consume(_BATCH, _POLL_SECONDS)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > timeout:
                raise TimeoutError(f"{topic}: no record and no answer from the brokers for {timeout:g} s")
            for message in messages:
                partition, error = message.partition(), message.error()
                if error is not None:
                    # The end of what is committed: with transactions it is not at the last offset read.
                    if error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                        ends.pop(partition, None)
                    elif error.fatal() or not error.retriable():
                        raise ForetellError(f"{topic}: {error.str()}")
                elif partition in ends:
                    if message.offset() < ends[partition] and not take(message):
                        return
                    if message.offset() + 1 >= ends[partition]:
                        del ends[partition]
    except confluent_kafka.KafkaException as error:
        raise _kafka_error(topic, error) from error
    finally:
        consumer.close()


def _assign(consumer: Any, topic: str, times: tuple[int | None, int | None], timeout: float) -> dict[int, int]:
    """Assigns what lies between two times, and says per partition where it ends."""
    from confluent_kafka import TopicPartition

    metadata = consumer.list_topics(topic, timeout=timeout).topics[topic]
    if metadata.error is not None or not metadata.partitions:
        reason = metadata.error.str() if metadata.error is not None else "it has no partitions"
        raise ForetellError(f"{topic}: {reason}; foretell topics create makes it")
    since, until = times
    starts, ends = [], {}
    for partition in metadata.partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout)

        def at(moment: int | None, default: int, partition: int = partition, high: int = high) -> int:
            if moment is None:
                return default
            [found] = consumer.offsets_for_times([TopicPartition(topic, partition, moment)], timeout=timeout)
            # -1: nothing is as young as that.
            return int(found.offset) if found.offset >= 0 else high

        start, end = at(since, low), at(until, high)
        if start < end:
            starts.append(TopicPartition(topic, partition, start))
            ends[partition] = end
    if starts:
        consumer.assign(starts)
    return ends


def _kafka_error(topic: str, error: Any) -> Exception:
    from confluent_kafka import KafkaError

    cause = error.args[0]
    if cause.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN):
        return TimeoutError(f"{topic}: the brokers do not answer: {cause.str()}")
    return ForetellError(f"{topic}: {cause.str()}")


def _schema() -> dict[str, Any]:
    return _plain(importlib.resources.files("foretell").joinpath("forecast.avsc").read_text("utf-8"))


def _plain(text: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(text)
    # A plain number: a datetime would round times before 1970 and beyond 9999.
    for field in schema["fields"]:
        if field["name"] == "origin":
            field["type"] = "long"
    return schema


def _writers(registry: str | Mapping[str, Any]) -> Callable[[int], Any]:
    """Writer schemas by their ids in the registry, each asked for once."""
    import fastavro

    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
        from confluent_kafka.schema_registry.error import SchemaRegistryError
    except ImportError as error:
        raise ImportError(
            f"a schema registry needs {error.name}, which is not installed: pip install 'foretell[registry]'"
        ) from error
    url = registry if isinstance(registry, str) else registry.get("url")
    client = SchemaRegistryClient({"url": registry} if isinstance(registry, str) else dict(registry))
    known: dict[int, Any] = {}

    def writer(schema_id: int) -> Any:
        if schema_id not in known:
            try:
                text = client.get_schema(schema_id).schema_str
            except SchemaRegistryError as error:
                raise ForetellError(f"the registry at {url} gave no schema with the id {schema_id}: {error}") from error
            if text is None:
                raise ForetellError(f"the registry at {url} has the schema {schema_id} without its text")
            known[schema_id] = fastavro.parse_schema(_plain(text))
        return known[schema_id]

    return writer


def _decoder(datum: bool, registry: str | Mapping[str, Any] | None) -> Callable[[Any], Any]:
    import fastavro
    from fastavro.schema import fingerprint, to_parsing_canonical_form

    parsed = fastavro.parse_schema(_schema())
    canonical = to_parsing_canonical_form(_schema())
    prefix = b"" if datum else _SINGLE_OBJECT + bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))
    writers = None if registry is None else _writers(registry)

    def decode(message: Any) -> Any:
        value: bytes = message.value() or b""
        where = f"{message.topic()} partition {message.partition()} offset {message.offset()}"
        writer, skip = parsed, len(prefix)
        if not datum and value.startswith(_CONFLUENT) and len(value) >= 5:
            skip = 5
            if writers is not None:
                writer = writers(int.from_bytes(value[1:5], "big"))
        elif not value.startswith(prefix) or not value:
            if value.startswith(_SINGLE_OBJECT):
                reason = (
                    f"was written with another schema (fingerprint {value[2:10].hex()}, known is {prefix[2:].hex()})"
                )
                raise ForetellError(f"{where} {reason}: use the release of foretell that the worker is of")
            raise ForetellError(
                f"{where} is not a forecast in single-object encoding or Confluent framing; if the worker writes "
                "plain datums (forecast.wire_format), say datum=True"
            )
        body = io.BytesIO(value[skip:])
        try:
            forecast: Any = fastavro.schemaless_reader(body, writer, parsed if writer is not parsed else None)
        except Exception as error:  # fastavro raises what the broken bytes happen to meet.
            raise ForetellError(f"{where} is not a forecast of this release: {error}") from error
        if body.read(1):
            hint = "; it may be in single-object encoding: leave datum out" if datum else ""
            raise ForetellError(f"{where} has bytes after the forecast{hint}")
        return forecast

    return decode


class _Columns:
    """Forecasts taken apart, column by column."""

    def __init__(self) -> None:
        self.forecasts = 0
        self._heads: list[tuple[Any, ...]] = []
        # Per target of a forecast: the index of its head, its name and its steps.
        self._of: list[int] = []
        self._targets: list[str] = []
        self._steps: list[int] = []
        self._means: list[Any] = []
        self._quantiles: list[dict[float, Any]] = []

    def add(self, forecast: dict[str, Any]) -> None:
        model, source = forecast["model"], forecast["source"]
        for target in forecast["targets"]:
            self._of.append(self.forecasts)
            self._targets.append(target["name"])
            self._steps.append(len(target["mean"]))
            self._means.append(target["mean"])
            self._quantiles.append({entry["level"]: entry["values"] for entry in target["quantiles"]})
        self._heads.append(
            (
                forecast["series"],
                forecast["origin"],
                forecast["step_ms"],
                model["name"],
                model["version"],
                model["digest"],
                source["topic"],
                source["partition"],
                source["offset"],
                forecast["imputed"],
                forecast["partial"],
            )
        )
        self.forecasts += 1

    def build(self, format: str) -> Any:
        """The table, ordered by source."""
        columns = self._columns()
        if format == "arrow":
            import pyarrow as pa

            stamp = pa.timestamp("ms", "UTC")
            return pa.table(
                {
                    name: pa.array(values.astype("datetime64[ms]"), stamp)
                    if name in ("origin", "time")
                    else pa.array(values, pa.string() if values.dtype == object else None)
                    for name, values in columns.items()
                }
            )
        import pandas as pd

        frame = pd.DataFrame(columns)
        for name in ("origin", "time"):
            frame[name] = pd.to_datetime(frame[name], unit="ms", utc=True).astype("datetime64[ms, UTC]")
        return frame

    def _columns(self) -> dict[str, np.ndarray[Any, Any]]:
        heads = list(zip(*self._heads, strict=True)) if self._heads else [()] * 11
        texts = (0, 3, 4, 5, 6)
        kinds: list[Any] = [object if index in texts else np.int64 for index in range(11)]
        kinds[7], kinds[9], kinds[10] = np.int32, np.int32, np.bool_
        head = [np.array(values, kind) for values, kind in zip(heads, kinds, strict=True)]
        # Sources are ordered before they are spread out; the sort is stable, so targets keep their order.
        of = np.array(self._of, np.int64)
        order = np.lexsort((head[8][of], head[7][of], head[6][of].astype(str))) if len(of) else of
        steps = np.array(self._steps, np.int64)[order]
        rows = np.repeat(of[order], steps)
        step = np.arange(steps.sum(), dtype=np.int64) - np.repeat(np.cumsum(steps) - steps, steps) + 1
        series, origin, step_ms, model, version, digest, topic, partition, offset, imputed, partial = (
            values[rows] for values in head
        )
        levels = sorted({level for quantiles in self._quantiles for level in quantiles})
        return {
            "series": series,
            "origin": origin,
            "step": step.astype(np.int32),
            "time": origin + step * step_ms,
            "target": np.repeat(np.array(self._targets, object)[order], steps),
            "mean": self._spread([self._means[index] for index in order]),
            **{f"q{level:g}": self._quantile(level, order, steps) for level in levels},
            "model": model,
            "version": version,
            "digest": digest,
            "source_topic": topic,
            "source_partition": partition,
            "source_offset": offset,
            "imputed": imputed,
            "partial": partial,
        }

    def _quantile(self, level: float, order: Any, steps: Any) -> np.ndarray[Any, Any]:
        return self._spread(
            [self._quantiles[index].get(level, [np.nan] * count) for index, count in zip(order, steps, strict=True)]
        )

    @staticmethod
    def _spread(parts: list[Any]) -> np.ndarray[Any, Any]:
        return np.concatenate([np.asarray(part, np.float64) for part in parts] or [np.empty(0)])
