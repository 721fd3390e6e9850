"""Records on their way into one frame, under the resource and scope that each belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shipper.contracts import Signal
from shipper.otlp.wire import field as wire_field
from shipper.otlp.wire import varint

Envelope = tuple[Signal, bytes, bytes]
"""Signal, and the contents of Resource and InstrumentationScope."""


@dataclass(slots=True)
class Group:
    """Records (LogRecord or Span) of one envelope, each as a field of its scope. ``size``: bytes of them, about."""

    records: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, content: bytes) -> None:
        """One more record."""
        self.records.append(wire_field(2, content))
        self.size += len(content)


class Batch:
    """Groups by envelope, in the order in which they came."""

    def __init__(self) -> None:
        self._groups: dict[Envelope, Group] = {}

    def group(self, envelope: Envelope) -> Group:
        """The group of an envelope, made where there is none."""
        found = self._groups.get(envelope)
        if found is None:
            found = self._groups[envelope] = Group()
        return found

    def merge(self, other: Batch) -> None:
        """Take over the records of another batch, which is not used any more."""
        for envelope, more in other._groups.items():
            group = self.group(envelope)
            group.records += more.records
            group.size += more.size

    @property
    def size(self) -> int:
        """Bytes of all records, about."""
        return sum(group.size for group in self._groups.values())

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(len(group.records) for group in self._groups.values())

    def requests(self) -> Iterator[tuple[Signal, bytes, int]]:
        """An Export<Signal>ServiceRequest for each signal that there is, and how many records it has; logs last."""
        for signal in (Signal.TRACES, Signal.LOGS):
            parts: list[bytes] = []
            records = 0
            for (of, resource, scope), group in self._groups.items():
                if of is signal and group.records:
                    parts += _envelope(resource, scope, group.records)
                    records += len(group.records)
            if records:
                yield signal, b"".join(parts), records


def _envelope(resource: bytes, scope: bytes, records: list[bytes]) -> list[bytes]:
    """A ResourceLogs or ResourceSpans in pieces, so that the records are copied once."""
    head = wire_field(1, resource)
    inner = wire_field(1, scope)
    size = len(inner) + sum(map(len, records))
    between = b"\x12" + varint(size) + inner
    return [b"\x0a" + varint(len(head) + len(between) - len(inner) + size) + head + between, *records]
