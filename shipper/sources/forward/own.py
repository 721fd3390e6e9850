"""Records that Shipper's SDK sent by the forward protocol, because it found no spool: back to what they were.

`shipper.sdk.ways.forward_records` is the other side, and for logs the exporter ``forward``, which says more. The tag is
``<service>.logs`` or ``<service>.spans`` and each record carries the identity of its process under label names, for the
protocol has no place for it; so it can come through any fluentd in between. It becomes the record's resource again, and a span
becomes a span.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgpack

from shipper.contracts import Signal
from shipper.labels.image import image_attributes
from shipper.otlp.encode import AttributeValue, resource, scope
from shipper.otlp.wire import field, fixed32_field, fixed64_field, text, varint_field
from shipper.sources.forward.values import Value, encode, nanoseconds, pair, text_of

_UNKNOWN = b"unknown_service"
_ATTRIBUTES = {
    b"service": "service.name",
    b"release": "service.version",
    b"generation": "shipper.generation",
    b"environment": "deployment.environment.name",
    b"host": "shipper.host",
    b"life": "shipper.life.id",
    b"instance": "service.instance.id",
}
_LIFE = "shipper.life.id"
_KINDS = {b"internal": 1, b"server": 2, b"client": 3, b"producer": 4, b"consumer": 5}
_STATUS = {b"ok": 1, b"error": 2}
_MOST = 256  # resources remembered


@dataclass(frozen=True, slots=True)
class Restored:
    """A LogRecord or Span (its content), with the contents of its Resource and InstrumentationScope."""

    signal: Signal
    resource: bytes
    scope: bytes
    content: bytes


class OwnRecords:
    """Recognises such records. ``host``: what this host puts on all records; empty in a gateway."""

    def __init__(self, host: Mapping[str, AttributeValue]) -> None:
        self._host = host
        self._resources: dict[tuple[Value, ...], bytes] = {}

    def restore(self, tag: bytes, when: Value, record: Value, observed_ns: int) -> Restored | None:
        """What an entry was before it was sent; None when Shipper's SDK did not make it."""
        kind = signal_of(tag)
        if kind is None or not isinstance(record, dict) or b"instance" not in record:
            return None
        if _word(record, b"service", _UNKNOWN) + tag[tag.rindex(b".") :] != tag:
            return None
        if kind is Signal.TRACES:
            return self._span(record) if {b"start_time", b"end_time", b"kind"} <= record.keys() else None
        return self._log(when, record, observed_ns) if b"message" in record else None

    def _log(self, when: Value, record: dict[Value, Value], observed_ns: int) -> Restored:
        at = nanoseconds(when)
        out = [fixed64_field(1, at)] if at else []
        number = record.get(b"severity_number")
        if type(number) is int and 1 <= number <= 24:
            out.append(varint_field(2, number))
        if b"severity" in record:
            out.append(field(3, text(text_of(record[b"severity"]))))
        out.append(field(5, encode(record[b"message"])))
        out += _pairs(6, record.get(b"attributes"))
        out += _ids(record, ((b"trace_id", 9, 16), (b"span_id", 10, 8)))
        out.append(fixed64_field(11, observed_ns))
        if b"event" in record:
            out.append(field(12, text(text_of(record[b"event"]))))
        flags = record.get(b"trace_flags")
        if type(flags) is int and 0 < flags < 1 << 32:
            out.append(fixed32_field(8, flags))
        return Restored(Signal.LOGS, self._resource(record), _scope(record), b"".join(out))

    def _span(self, record: dict[Value, Value]) -> Restored:
        out = _ids(record, ((b"trace_id", 1, 16), (b"span_id", 2, 8), (b"parent_span_id", 4, 8)))
        out.append(field(5, text(text_of(record.get(b"name", b"")))))
        out.append(varint_field(6, _KINDS.get(_word(record, b"kind"), 0)))
        out += [fixed64_field(7, _time(record[b"start_time"])), fixed64_field(8, _time(record[b"end_time"]))]
        out += _pairs(9, record.get(b"attributes"))
        events = record.get(b"events")
        out += (
            [field(11, _event(event)) for event in events if isinstance(event, dict)]
            if isinstance(events, list)
            else []
        )
        status = field(2, text(text_of(record[b"status_message"]))) if b"status_message" in record else b""
        out.append(field(15, status + varint_field(3, _STATUS.get(_word(record, b"status"), 0))))
        return Restored(Signal.TRACES, self._resource(record), b"", b"".join(out))

    def _resource(self, record: dict[Value, Value]) -> bytes:
        labels = tuple(_word(record, key) for key in (*_ATTRIBUTES, b"image"))
        rest = record.get(b"resource")  # what else was known of the host, where an exporter of Shipper sent it
        key = labels if rest is None else (*labels, msgpack.packb(rest))
        found = self._resources.get(key)
        if found is None:
            if len(self._resources) >= _MOST:
                self._resources.clear()
            found = self._resources[key] = self._made(labels, rest if isinstance(rest, dict) else {})
        return found

    def _made(self, labels: tuple[bytes, ...], rest: dict[Value, Value]) -> bytes:
        if rest:
            labels = (*labels[:-1], b"")  # what the image was made of stands in it
        merged = self._merged(labels)
        stated = {text_of(key) for key in rest}
        known = resource({key: value for key, value in merged.items() if key not in stated})
        return known + b"".join(_pairs(1, rest))

    def _merged(self, labels: tuple[bytes, ...]) -> dict[str, AttributeValue]:
        """What the record says of itself; the rest is this host's, unless it came from another one."""
        *named, image = labels
        said = {key: text_of(value) for key, value in zip(_ATTRIBUTES.values(), named, strict=True) if value}
        stated: dict[str, AttributeValue] = {**image_attributes(text_of(image), False), **said}
        if said.get(_LIFE, self._host.get(_LIFE)) != self._host.get(_LIFE):
            return stated
        return {**self._host, **stated}


def signal_of(tag: bytes) -> Signal | None:
    """Which signal a tag could be of, were it one of Shipper's SDK."""
    if tag.endswith(b".logs"):
        return Signal.LOGS
    return Signal.TRACES if tag.endswith(b".spans") else None


def _scope(record: dict[Value, Value]) -> bytes:
    """Who logged it, where that is known."""
    if b"logger" not in record and b"scope" not in record:
        return b""
    version = text_of(record.get(b"logger_version", b""))
    return scope(text_of(record.get(b"logger", b"")), version) + b"".join(_pairs(3, record.get(b"scope")))


def _event(event: dict[Value, Value]) -> bytes:
    name = field(2, text(text_of(event.get(b"name", b""))))
    return b"".join([fixed64_field(1, _time(event.get(b"time"))), name, *_pairs(3, event.get(b"attributes"))])


def _pairs(number: int, attributes: Value) -> list[bytes]:
    if not isinstance(attributes, dict):
        return []
    return [field(number, pair(key, value)) for key, value in attributes.items()]


def _ids(record: dict[Value, Value], wanted: tuple[tuple[bytes, int, int], ...]) -> list[bytes]:
    out: list[bytes] = []
    for key, number, size in wanted:
        try:
            found = bytes.fromhex(text_of(record.get(key, b"")))
        except ValueError:
            continue
        if len(found) == size and any(found):
            out.append(field(number, found))
    return out


def _word(record: dict[Value, Value], key: bytes, missing: bytes = b"") -> bytes:
    value = record.get(key, missing)
    return value if isinstance(value, bytes) else text_of(value).encode()


def _time(value: Value) -> int:
    return value if type(value) is int and 0 <= value < 1 << 64 else 0
