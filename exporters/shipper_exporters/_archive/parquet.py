"""An archive's object as a Parquet table, for engines that query buckets (Athena, DuckDB, Spark, ClickHouse).

The OTLP object is the record; the table is a copy of it to be queried. What such queries filter by (service, release, generation,
host, life, time, severity, trace) has columns of its own, everything else is in maps of text.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from shipper.contracts import Request, Signal
from shipper.errors import MissingExtra
from shipper.otlp.decode import Record, records
from shipper.otlp.encode import AttributeValue

_COLUMNS = {  # column: resource attribute
    "service": "service.name",
    "environment": "deployment.environment.name",
    "release": "service.version",
    "generation": "shipper.generation",
    "host": "host.id",
    "life": "shipper.life.id",
}

_MOST = (1 << 63) - 1  # of a column of whole numbers or times
_SMALLEST_TYPE = 127


def require() -> None:
    """Raise `MissingExtra` where pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError as missing:
        raise MissingExtra("an archive with parquet: true", "parquet") from missing


def parquet_key(key: str) -> str:
    """Where the table of the object at ``key`` goes: apart from the objects, whose readers take every file for one."""
    folder, _, name = key.rpartition("/")
    signal, _, unique = name.partition("_")
    path = f"{folder}/{unique.partition('.')[0]}" if folder else unique.partition(".")[0]
    return f"parquet/{signal}/{path}.parquet"


def encode_table(request: Request) -> bytes:
    """The table of all records of a request, in their order; equal requests give equal bytes. Raises `MalformedOtlp`."""
    import pyarrow as arrow
    from pyarrow import parquet

    rows = [
        _row(request.signal, record, batch.key, number)
        for batch in request.batches
        for number, record in enumerate(records(request.signal, batch.payload))
    ]
    table = arrow.Table.from_pylist(rows, schema=_schema(arrow, request.signal))
    out = io.BytesIO()
    parquet.write_table(table, out, compression="zstd")
    return out.getvalue()


def _schema(arrow: Any, signal: Signal) -> Any:
    text, moment = arrow.string(), arrow.timestamp("ns", tz="UTC")
    pairs = arrow.map_(text, text)
    shared = {"time": moment, **dict.fromkeys(_COLUMNS, arrow.dictionary(arrow.int32(), text)), "scope": text}
    own = {
        Signal.LOGS: {
            "observed": moment,
            "severity": arrow.int8(),
            "severity_text": text,
            "event": text,
            "body": text,
            "trace_id": text,
            "span_id": text,
        },
        Signal.TRACES: {
            "end": moment,
            "name": text,
            "status": arrow.int8(),
            "trace_id": text,
            "span_id": text,
            "parent_span_id": text,
        },
        Signal.METRICS: {
            "name": text,
            "unit": text,
            "value": arrow.float64(),
            "count": arrow.int64(),
            "sum": arrow.float64(),
        },
    }[signal]
    last = {"attributes": pairs, "resource": pairs, "batch": text, "number": arrow.int32()}
    return arrow.schema(list({**shared, **own, **last}.items()))


def _row(signal: Signal, record: Record, batch: str, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "time": _moment(record.time_ns or record.observed_ns),
        **{column: _text(record.resource.get(name)) for column, name in _COLUMNS.items()},
        "scope": record.scope,
        "attributes": _texts(record.attributes),
        "resource": _texts(record.resource),
        "batch": batch,
        "number": number,
    }
    if signal is Signal.METRICS:
        return {**row, "name": record.name, "unit": record.unit, **_value(record.value)}
    row |= {"trace_id": record.trace_id or None, "span_id": record.span_id or None}
    if signal is Signal.TRACES:
        more = {"end": _moment(record.end_ns), "name": record.name, "status": _small(record.status)}
        return {**row, **more, "parent_span_id": record.parent_span_id or None}
    return {
        **row,
        "observed": _moment(record.observed_ns),
        "severity": _small(record.severity),
        "severity_text": record.severity_text,
        "event": record.event_name or None,
        "body": _text(record.body),
    }


def _value(value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, Mapping):
        count = value["count"]
        assert isinstance(count, int)
        return {"count": min(count, _MOST), "sum": value["sum"]}
    return {"value": None if value is None else float(value)}  # type: ignore[arg-type]


def _moment(ns: int) -> int | None:
    """A time as a column has it, which ends with the year 2262; None when it is not known."""
    return min(ns, _MOST) or None


def _small(number: int) -> int | None:
    """The number of an enum; None for one that no version of OTLP has."""
    return number if 0 <= number <= _SMALLEST_TYPE else None


def _texts(attributes: Mapping[str, AttributeValue]) -> list[tuple[str, str | None]]:
    return [(name, _text(value)) for name, value in attributes.items()]


def _text(value: AttributeValue) -> str | None:
    """Text as it is, anything else as JSON; bytes in hex."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=lambda other: other.hex(), ensure_ascii=False)
