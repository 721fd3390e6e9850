"""What becomes of the texts of a chunk before they are a payload: the seam between reading lines and understanding them.

A shape is a pure function of its arguments: the same texts with the same observed time give the same bytes whenever they are
looked at again, because a batch is built anew after a crash and in an audit. It works on a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shipper.otlp.encode import LineEncoder


@dataclass(frozen=True, slots=True)
class Shaped:
    """An ExportLogsServiceRequest and what it counts. ``payload`` is empty when no record is left."""

    payload: bytes
    records: int
    filtered: int = 0  # texts left out by a rule
    sampled: int = 0  # texts left out by chance
    failures: Mapping[str, int] = field(default_factory=dict)  # texts passed on without being understood, by cause


class Shape(Protocol):
    """How the texts of a stream become records."""

    def shape(
        self,
        resource: bytes,
        scope: bytes,
        texts: Sequence[bytes],
        observed_ns: int,
        extra: Mapping[int, bytes] | None = None,
        times: Sequence[int] | None = None,
    ) -> Shaped:
        """One request of ``texts``, which are valid UTF-8 without line end.

        ``resource``, ``scope``: contents of those messages. ``extra[i]``: encoded further fields of the LogRecord of text
        ``i``, which are kept as they are. ``times[i]``: nanoseconds since the epoch at which it was written, where what
        carries the lines (a container runtime) says so; 0: not said. Never raises because of what a text holds.
        """
        ...


class PlainShape:
    """Every text is the body of a record, as it is."""

    def shape(
        self,
        resource: bytes,
        scope: bytes,
        texts: Sequence[bytes],
        observed_ns: int,
        extra: Mapping[int, bytes] | None = None,
        times: Sequence[int] | None = None,
    ) -> Shaped:
        """See `Shape.shape`."""
        if not texts:
            return Shaped(b"", 0)
        return Shaped(LineEncoder(resource, scope).encode(texts, observed_ns, extra, times), len(texts))


PLAIN = PlainShape()
