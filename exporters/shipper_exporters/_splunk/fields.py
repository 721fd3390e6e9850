"""What Splunk knows of an event besides its text: host, source, source type, index, and the indexed fields.

Indexed fields are flat (HEC refuses others with code 15). The names are those of OpenTelemetry and of the Collector's
``splunk_hec`` exporter, so that one search finds what came either way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from shipper.otlp.encode import AttributeValue

HOST = ("host.name", "shipper.host", "host.id")
SOURCE = ("com.splunk.source", "log.file.path", "service.name")
SOURCETYPE = ("com.splunk.sourcetype",)

_FLAT = frozenset({str, int, bool})
_DEEPEST = 24
_encode = msgspec.json.encode


@dataclass(frozen=True)
class Placement:
    """What the settings say about where events belong; empty: not said."""

    index: str = ""
    source: str = ""
    sourcetype: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """What the events of one resource share, encoded: ``place`` and ``fields`` as they stand in the JSON of an event."""

    place: bytes
    fields: bytes
    keys: frozenset[str]

    @classmethod
    def of(
        cls, resource: Mapping[str, AttributeValue], extra: Mapping[str, AttributeValue], placement: Placement
    ) -> Head:
        """The head for a resource; ``extra`` are further fields."""
        fields = flat({**resource, **extra})
        where = _encode(place(resource, placement))[1:-1]
        return cls(where + b"," if where else b"", _encode(fields)[1:-1], frozenset(fields))

    def event(self, time_ns: int, own: Mapping[str, AttributeValue], body: bytes) -> bytes:
        """One event with a line feed behind it. ``body``: its JSON."""
        if not own:
            return self.opening(time_ns) + body + b"}\n"
        own = flat(own)
        if self.keys.isdisjoint(own):
            mine, shared = _encode(own)[1:], self.fields
        else:
            mine, shared = _encode({**msgspec.json.decode(b"{%b}" % self.fields), **own})[1:], b""
        comma = b"," if shared else b""
        return b"".join(
            (b"{", _time(time_ns), self.place, b'"fields":{', shared, comma, mine, b',"event":', body, b"}\n")
        )

    def opening(self, time_ns: int) -> bytes:
        """All that stands in front of the text of an event without fields of its own."""
        fields = b'"fields":{%b},' % self.fields if self.fields else b""
        return b'{%b%b%b"event":' % (_time(time_ns), self.place, fields)


def _time(time_ns: int) -> bytes:
    """The time of an event; nothing when it is not known."""
    return b'"time":%b,' % seconds(time_ns) if time_ns else b""


def seconds(time_ns: int) -> bytes:
    """A time in ns as seconds, with all nine decimals."""
    digits = b"%010d" % time_ns
    return b"%b.%b" % (digits[:-9], digits[-9:])


def place(resource: Mapping[str, AttributeValue], placement: Placement) -> dict[str, str]:
    """Host, source, source type and index, as far as they are known."""
    found = {
        "host": first(resource, HOST),
        "source": placement.source or first(resource, SOURCE),
        "sourcetype": placement.sourcetype or first(resource, SOURCETYPE),
        "index": placement.index,
    }
    return {key: value for key, value in found.items() if value}


def first(resource: Mapping[str, AttributeValue], keys: tuple[str, ...]) -> str:
    """The first of the attributes that is there, as text."""
    return next((value for key in keys if isinstance(value := resource.get(key), str) and value), "")


def flat(attributes: Mapping[str, AttributeValue]) -> Mapping[str, AttributeValue]:
    """Attributes as fields: maps flattened to dotted names, what has no JSON form as text, lists of plain values kept."""
    if all(map(_FLAT.__contains__, map(type, attributes.values()))) and "" not in attributes:
        return attributes
    return dict(_flattened(attributes, "", _DEEPEST))


def _flattened(
    attributes: Mapping[str, AttributeValue], prefix: str, depth: int
) -> Iterator[tuple[str, AttributeValue]]:
    for key, value in attributes.items():
        name = prefix + (key or "_")
        if isinstance(value, Mapping) and value and depth:
            yield from _flattened(value, f"{name}.", depth - 1)
        else:
            yield name, _plain(value)


def _plain(value: AttributeValue) -> AttributeValue:
    if type(value) in _FLAT:
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list) and all(type(item) in _FLAT for item in value):
        return value
    text = _encode(value)
    return text[1:-1].decode() if isinstance(value, bytes) else text.decode()
