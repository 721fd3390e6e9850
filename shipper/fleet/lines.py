"""A record as one line for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from shipper.contracts import Signal
from shipper.fleet.labels import labels_of
from shipper.otlp.decode import Record
from shipper.otlp.encode import AttributeValue

_SEVERITIES = ("", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")  # four numbers each, from 1


def line(record: Record) -> str:
    """Time (UTC, or a dash), severity or what it is, host, release, then what it says; control characters are escaped."""
    labels = labels_of(record.resource)
    words = (_time(record), _word(record).ljust(5), labels.get("host", "-"), labels.get("release", "-"), _says(record))
    return printable(" ".join(words))


def printable(text: str) -> str:
    """No control character of a log gets to somebody's terminal; a tab may."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text)


def _time(record: Record) -> str:
    at_ns = record.time_ns or record.observed_ns
    if not at_ns:
        return "-"  # it says nothing of its time
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _word(record: Record) -> str:
    if record.signal is Signal.TRACES:
        return "SPAN!" if record.status == 2 else "SPAN"
    if record.signal is Signal.METRICS:
        return "POINT"
    number = record.severity if 0 < record.severity <= 24 else 0
    return record.severity_text or _SEVERITIES[(number + 3) // 4] or "-"


def _says(record: Record) -> str:
    if record.signal is Signal.TRACES:
        took = max(0, record.end_ns - record.time_ns) / 1e6
        return f"{record.name} {took:.3f} ms trace={record.trace_id}"
    if record.signal is Signal.METRICS:
        unit = f" {record.unit}" if record.unit else ""
        return f"{record.name} {_text(record.value)}{unit} {_text(dict(record.attributes))}"
    attributes = dict(record.attributes)
    event = _text(attributes) if record.event_name and record.body is None and attributes else ""
    return " ".join(part for part in (record.event_name, _text(record.body), event or _error(attributes)) if part)


def _error(attributes: Mapping[str, AttributeValue]) -> str:
    """The exception that a log record carries, without its stack, which is in the JSON form."""
    kind, message = (_text(attributes.get(f"exception.{part}")) for part in ("type", "message"))
    fingerprint = _text(attributes.get("shipper.exception.fingerprint"))
    said = ": ".join(part for part in (kind, message) if part)
    return f"({' '.join(part for part in (said, fingerprint) if part)})" if said else ""


def _text(value: AttributeValue) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, ensure_ascii=False, default=str)
