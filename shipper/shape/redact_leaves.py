"""Which strings of an OTLP request may be masked, and where they lie: found by walking to what a search has touched.

A match in raw bytes may lie in a length or across two fields, so nothing is masked where it was found: the walk goes down
only into messages that a match touches, and gives the string or bytes fields there. What names things is none of them: keys
of attributes, scopes, metrics and units, schema URLs, ids, and the attributes of a resource that are its identity.
Field numbers: opentelemetry-proto 1.x, the same tables as in `shipper.otlp.scan`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.wire import FIXED64, LENGTH, VARINT, fields

IDENTITY = (b"service.", b"shipper.", b"host.", b"deployment.", b"cloud.", b"k8s.", b"container.", b"telemetry.")
"""Attributes of a resource that begin so say where a record is from; without them it could not be accounted for."""

_DEEPEST = 100  # messages in messages, as in the protobuf library
_QUICK = 9  # so many bytes are there of any field that is read in the quick way, up to its content
_TEXT, _WHOLE = "text", "whole"
_KEY_VALUES = ("KeyValue", "Identity")
_SCHEMA: dict[str, dict[int, str]] = {
    "logs": {1: "LogsOfResource"},
    "traces": {1: "TracesOfResource"},
    "metrics": {1: "MetricsOfResource"},
    "LogsOfResource": {1: "Resource", 2: "LogsOfScope"},
    "TracesOfResource": {1: "Resource", 2: "TracesOfScope"},
    "MetricsOfResource": {1: "Resource", 2: "MetricsOfScope"},
    "LogsOfScope": {1: "Scope", 2: "LogRecord"},
    "TracesOfScope": {1: "Scope", 2: "Span"},
    "MetricsOfScope": {1: "Scope", 2: "Metric"},
    "Resource": {1: "Identity"},
    "Scope": {3: "KeyValue"},
    "LogRecord": {3: _TEXT, 5: "AnyValue", 6: "KeyValue", 12: _TEXT},
    "Span": {3: _TEXT, 5: _TEXT, 9: "KeyValue", 11: "SpanEvent", 13: "Link", 15: "Status"},
    "SpanEvent": {2: _TEXT, 3: "KeyValue"},
    "Link": {3: _TEXT, 4: "KeyValue"},
    "Status": {2: _TEXT},
    "Metric": {
        2: _TEXT,
        5: "Numbers",
        7: "Numbers",
        9: "Histogram",
        10: "ExponentialHistogram",
        11: "Summary",
        12: "KeyValue",
    },
    "Numbers": {1: "NumberPoint"},
    "Histogram": {1: "HistogramPoint"},
    "ExponentialHistogram": {1: "ExponentialPoint"},
    "Summary": {1: "SummaryPoint"},
    "NumberPoint": {5: "Exemplar", 7: "KeyValue"},
    "HistogramPoint": {8: "Exemplar", 9: "KeyValue"},
    "ExponentialPoint": {1: "KeyValue", 11: "Exemplar"},
    "SummaryPoint": {7: "KeyValue"},
    "Exemplar": {7: "KeyValue"},
    "AnyValue": {1: _TEXT, 5: "ArrayValue", 6: "KeyValueList", 7: _TEXT},
    "ArrayValue": {1: "AnyValue"},
    "KeyValueList": {1: "KeyValue"},
    "SecretValue": {1: _WHOLE, 5: "SecretArray", 6: "SecretList", 7: _WHOLE},
    "SecretArray": {1: "SecretValue"},
    "SecretList": {1: "SecretPair"},
    "SecretPair": {2: "SecretValue"},
}
_SECRET = frozenset(kind for kind in _SCHEMA if kind.startswith("Secret"))


class Touched:
    """Ranges that a search has found, and a bit for each pattern that may match there; ranges that overlap are one."""

    def __init__(self, found: Iterable[tuple[int, int, int]]) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self._bits: list[int] = []
        for start, end, bits in sorted(found):
            if self.ends and start < self.ends[-1]:
                self.ends[-1] = max(end, self.ends[-1])
                self._bits[-1] |= bits
            else:
                self.starts.append(start)
                self.ends.append(end)
                self._bits.append(bits)

    def first(self, at: int) -> int:
        """The number of the first range that ends behind ``at``."""
        return bisect_right(self.ends, at)

    def bits(self, at: int, end: int) -> int:
        """Of all ranges that share a byte with ``[at, end)``; 0: none does."""
        bits = 0
        index = self.first(at)
        while index < len(self.starts) and self.starts[index] < end:
            bits |= self._bits[index]
            index += 1
        return bits


@dataclass(frozen=True, slots=True)
class Leaf:
    """A string or bytes field: where its content lies, the bits of patterns to look for; ``whole``: all of it is secret."""

    start: int
    end: int
    bits: int
    whole: bool = False


def leaves(signal: Signal, data: bytes, touched: Touched, secret_key: Callable[[bytes], bool]) -> list[Leaf]:
    """Those of a request that are touched, and all values whose touched key ``secret_key`` says to name a secret.

    Raises `MalformedOtlp`.
    """
    found: list[Leaf] = []
    todo: list[tuple[str, int, int, int]] = [(signal.value, 0, len(data), 1)]
    while todo:
        kind, at, end, depth = todo.pop()
        if depth > _DEEPEST:
            raise MalformedOtlp(f"more than {_DEEPEST} messages nested in each other", at)
        if kind in _KEY_VALUES:
            inner = _inside(kind, data, at, end, touched, secret_key)
            todo += [(below, value, stop, depth + 1) for below, value, stop in inner]
            continue
        for below, value, stop in _children(kind, data, at, end, touched):
            if below == _TEXT:
                found.append(Leaf(value, stop, touched.bits(value, stop)))
            elif below == "AnyValue" and _is_one_text(data, value, stop):
                begin = value + (2 if stop - value < 0x82 else 3)
                found.append(Leaf(begin, stop, touched.bits(begin, stop)))
            elif below == _WHOLE:
                found.append(Leaf(value, stop, 0, whole=True))
            else:
                todo.append((below, value, stop, depth + 1))
    return found


def _children(kind: str, data: bytes, at: int, end: int, touched: Touched) -> list[tuple[str, int, int]]:
    """The fields of a message that are known and touched: what they are and where their content lies."""
    known = _SCHEMA[kind]
    if kind in _SECRET:
        return [
            (known[number], value, stop)
            for number, wire, _, value, stop in fields(data, at, end)
            if wire == LENGTH and number in known
        ]
    starts, ends = touched.starts, touched.ends
    index, count = touched.first(at), len(starts)
    out: list[tuple[str, int, int]] = []
    while at < end and index < count and starts[index] < end:
        tag, value, stop = data[at], at, 0
        if end - at > _QUICK and 7 < tag < 0x80:  # what most fields are, in a fraction of the time
            wire, size = tag & 7, data[at + 1]
            if wire == LENGTH and size < 0x80:
                value, stop = at + 2, at + 2 + size
            elif wire == LENGTH and data[at + 2] < 0x80:
                value, stop = at + 3, at + 3 + (size & 0x7F | data[at + 2] << 7)
            elif wire == FIXED64:
                stop = at + 9
            elif wire == VARINT and size < 0x80:
                stop = at + 2
        if not 0 < stop <= end:
            number, wire, _, value, stop = next(fields(data, at, end))
            tag = number << 3 | wire
        at = stop
        if stop <= starts[index]:
            continue
        while index < count and ends[index] <= value:
            index += 1
        if index < count and starts[index] < stop and tag & 7 == LENGTH and tag >> 3 in known:
            out.append((known[tag >> 3], value, stop))
    return out


def _is_one_text(data: bytes, at: int, end: int) -> bool:
    """Whether an AnyValue is a string and nothing else, of a length of one byte or two: nearly all are."""
    size = end - at
    if size < 3 or data[at] != 0x0A:
        return False
    if size < 0x82:
        return data[at + 1] == size - 2
    return data[at + 1] >= 0x80 and data[at + 2] < 0x80 and (data[at + 1] & 0x7F | data[at + 2] << 7) == size - 3


def _inside(
    kind: str, data: bytes, at: int, end: int, touched: Touched, secret_key: Callable[[bytes], bool]
) -> list[tuple[str, int, int]]:
    """The value of an attribute, where it has to be looked into."""
    key, key_at = b"", at
    values: list[tuple[int, int]] = []
    for number, wire, _, value, stop in fields(data, at, end):
        if wire == LENGTH and number == 1:
            key, key_at = data[value:stop], value
        elif wire == LENGTH and number == 2:
            values.append((value, stop))
    if kind == "Identity" and key.startswith(IDENTITY):
        return []
    if touched.bits(key_at, key_at + len(key)) and secret_key(key):
        return [("SecretValue", value, stop) for value, stop in values]
    return [("AnyValue", value, stop) for value, stop in values if touched.bits(value, stop)]
