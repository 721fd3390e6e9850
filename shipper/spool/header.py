"""What a frame says about its OTLP payload without anyone decoding it: JSON, because a person may have to read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shipper.contracts import Member, StreamKind


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The header of a frame that holds one serialized Export<Signal>ServiceRequest.

    ``records``: log records, spans or data points. ``units``: what the payload can be split into (log records, spans,
    metrics). ``observed_ns``: when the oldest of them was first seen by a Shipper. ``life``: whose it is, empty for
    the life that owns the spool. ``members``: batches of other hosts, which together are the payload, in its order.
    ``tokens``: by what a receiver recognises that the frame's content is sent again.
    """

    records: int
    units: int
    observed_ns: int
    life: str = ""
    members: tuple[Member, ...] = ()
    tokens: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """As a frame's header."""
        if not (self.life or self.members or self.tokens):  # most of them
            return b'{"records":%d,"units":%d,"observed":%d}' % (self.records, self.units, self.observed_ns)
        value: dict[str, Any] = {"records": self.records, "units": self.units, "observed": self.observed_ns}
        if self.life:
            value["life"] = self.life
        if self.members:
            value["members"] = [_row(member) for member in self.members]
        if self.tokens:
            value["tokens"] = self.tokens
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> FrameHeader:
        """Read a frame's header. Raises ValueError when it is not one."""
        try:
            value = json.loads(data)
            members = tuple(_member(row) for row in value.get("members", ()))
            return cls(
                int(value["records"]),
                int(value["units"]),
                int(value["observed"]),
                str(value.get("life", "")),
                members,
                tuple(value.get("tokens", ())),
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a frame header: {error!r}") from error


def _row(m: Member) -> Sequence[Any]:
    return [m.life, m.stream, m.start, m.end, m.records, m.offset, m.length, m.received_ns, m.kind.value]


def _member(row: Sequence[Any]) -> Member:
    life, stream, start, end, records, offset, length, received_ns, kind = row
    return Member(life, stream, start, end, records, offset, length, received_ns, StreamKind(kind))
