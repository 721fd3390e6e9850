"""Entries of the forward protocol to LogRecords: the hot path, so it makes bytes and no objects.

A text attribute is two pieces, of which the first (key and lengths) is the same for all texts of a length under a key and is
remembered. What a record means is found by its keys alone: its text, its severity, its trace. All else is an attribute.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from shipper.otlp.wire import field as wire_field
from shipper.otlp.wire import varint
from shipper.shape.severity import Levels
from shipper.sources.batch import Group
from shipper.sources.file.lines import readable
from shipper.sources.forward import values
from shipper.sources.forward.values import Value, encode, is_text, key_bytes
from shipper.sources.heads import Keys

UNREADABLE = "shipper.forward.error"
"""Attribute of a record that was not what the protocol says: what was wrong. Its body is the whole of what came."""

_TIME = struct.Struct("<cQcQ").pack
_OBSERVED = struct.Struct("<cQ").pack
_LEVELS = {
    name.encode(): Levels(name)
    for name in ("level", "severity", "severity_text", "severityText", "loglevel", "log.level", "lvl", "levelname")
}
_TRACES = {b"trace_id": 16, b"traceId": 16, b"traceid": 16, b"trace.id": 16, b"otelTraceID": 16}
_SPANS = {b"span_id": 8, b"spanId": 8, b"spanid": 8, b"span.id": 8, b"otelSpanID": 8}
_MEANT = frozenset((*_LEVELS, *_TRACES, *_SPANS))
_HEX = frozenset(b"0123456789abcdefABCDEF")


class RecordEncoder:
    """Encodes entries. ``body``: the keys of which the first that a record has is its text."""

    def __init__(self, body: Sequence[str]) -> None:
        self._body = [key.encode() for key in body]
        self._keys = Keys(key_bytes)

    def encode(self, entries: Iterable[Value], tag: bytes, metadata: Value, observed_ns: int, into: Group) -> int:
        """Append a record for each entry (``[time, record]``, or ``[[time, metadata], record]``).

        ``metadata``: of the whole message, where its option has some. Returns how many entries were not what the protocol
        says. Raises what reading ``entries`` raises.
        """
        common = self._common(tag, metadata)
        unreadable = 0
        out = into.records
        for entry in entries:
            try:
                when, record = entry
                items = record.items
            except (TypeError, ValueError, AttributeError):
                unreadable += 1
                data = self._unreadable(entry, observed_ns, common)
            else:
                parts = [b""]
                if type(when) is list:
                    when = self._header(when, parts)
                for key in self._body:
                    if key in record:
                        self._text(record.pop(key), parts)
                        break
                if not _MEANT.isdisjoint(record):
                    self._meaning(record, parts)
                keys = self._keys
                for key, value in items():
                    if type(value) is bytes and (value.isascii() or is_text(value)):
                        parts += (keys[key][len(value)], value)
                    else:
                        parts.append(keys[key].of(encode(value)))
                at = values.nanoseconds(when)
                parts[0] = _TIME(b"\x09", at, b"\x59", observed_ns) if at else _OBSERVED(b"\x59", observed_ns)
                parts.append(common)
                data = b"".join(parts)
            out.append(b"\x12" + varint(len(data)) + data)
            into.size += len(data)
        return unreadable

    def _common(self, tag: bytes, metadata: Value) -> bytes:
        """What is on every record of a message."""
        out = values.attribute("fluent.tag", tag)
        return out + b"".join(self._metadata(metadata)) if metadata else out

    def _metadata(self, metadata: Value) -> list[bytes]:
        if not isinstance(metadata, dict):
            return [values.attribute("fluent.metadata", metadata)]
        return [values.attribute(values.text_of(key), value) for key, value in metadata.items()]

    def _header(self, header: list[Value], parts: list[bytes]) -> Value:
        """The time out of ``[time, metadata]``; the metadata goes to ``parts``."""
        if len(header) > 1 and header[1]:
            parts += self._metadata(header[1])
        return header[0] if header else None

    def _text(self, value: Value, parts: list[bytes]) -> None:
        """The body, without the line end that some tailers leave on it."""
        if type(value) is bytes and is_text(value):
            value = value.removesuffix(b"\n")
            text = b"\x0a" + varint(len(value))
            parts += (b"\x2a" + varint(len(text) + len(value)) + text, value)
        elif type(value) is bytes:
            text, original = readable(value.removesuffix(b"\n"))
            parts += (wire_field(5, wire_field(1, text)), original)
        else:
            parts.append(wire_field(5, encode(value)))

    def _meaning(self, record: dict[Value, Value], parts: list[bytes]) -> None:
        """Move severity and trace context out of the record; what is not understood stays in it."""
        for key, levels in _LEVELS.items():
            if key in record:
                said = record[key]
                if type(said) is int or (type(said) is bytes and is_text(said)):
                    found = levels[said]
                    if found.number:
                        del record[key]
                        parts.append(found.encoded)
                break
        for keys, number in ((_TRACES, 9), (_SPANS, 10)):
            for key in keys.keys() & record.keys():
                if identifier := _identifier(record[key], keys[key]):
                    del record[key]
                    parts.append(wire_field(number, identifier))
                    break

    def _unreadable(self, entry: Value, observed_ns: int, common: bytes) -> bytes:
        """A record that holds whatever came in the place of an entry."""
        return b"".join(
            (
                _OBSERVED(b"\x59", observed_ns),
                wire_field(5, encode(entry)),
                common,
                values.attribute(UNREADABLE, b"this is not [time, record]"),
            )
        )


def _identifier(value: Value, size: int) -> bytes:
    """The bytes of a trace or span id in hexadecimal digits; empty where it is none (all zeros is none)."""
    if type(value) is not bytes or len(value) != 2 * size or not _HEX.issuperset(value):
        return b""
    found = bytes.fromhex(value.decode())
    return found if any(found) else b""
