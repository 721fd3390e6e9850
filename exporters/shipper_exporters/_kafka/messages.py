"""A request as Kafka messages: OTLP protobuf, as the OpenTelemetry Collector's Kafka exporter writes it (``otlp_proto``).

The value of a message is an Export<Signal>ServiceRequest. Its key is the life, so that all of a host stands in one partition, in
order. Its headers name the batches in it as the headers of an OTLP request do, so that a consumer can tell what it has already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shipper.contracts import Batch, Request, Signal
from shipper.errors import Rejected
from shipper.otlp.layout import Layout
from shipper.otlp.splice import take, units
from shipper_exporters._otlp.request import names

_OVERHEAD = 512  # of a message beside its value and its headers: key, lengths, and what the producer adds


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Equal batches give equal messages, each time."""

    key: bytes
    value: bytes = field(repr=False)
    headers: tuple[tuple[str, bytes], ...]

    def part(self, signal: Signal, first: int, last: int) -> Message:
        """The units of it from ``first`` to ``last``, and a header that says so. Raises `MalformedOtlp`."""
        headers = (*self.headers, ("shipper-records", f"{first}-{last}".encode()))
        return Message(self.key, take(signal, self.value, first, last), headers)


def messages(request: Request, limit: int) -> list[Message]:
    """The messages of a request, none of more than ``limit`` bytes; small batches share one.

    Raises `Rejected` for a record that is larger, and `MalformedOtlp`.
    """
    made: list[Message] = []
    together: list[Batch] = []
    size = 0
    for batch in request.batches:
        own = len(batch.payload) + len(batch.key) + 64
        if together and (size + own > limit - _OVERHEAD or together[0].life != batch.life):
            made.append(_message(together, b"".join(one.payload for one in together)))
            together, size = [], 0
        if own > limit - _OVERHEAD:
            made.extend(_parts(request.signal, batch, limit - _OVERHEAD))
            continue
        together.append(batch)
        size += own
    if together:
        made.append(_message(together, b"".join(one.payload for one in together)))
    return made


def _message(batches: Sequence[Batch], value: bytes, part: str = "") -> Message:
    headers = [(name.lower(), text.encode()) for name, text in names(batches).items()]
    if part:
        headers.append(("shipper-part", part.encode()))
    return Message(batches[0].life.encode(), value, tuple(headers))


def _parts(signal: Signal, batch: Batch, limit: int) -> Iterator[Message]:
    """A batch that is too large for one message; each part says which it is, as 2/3."""
    pieces = list(_cut(signal, batch.payload, limit - len(batch.key) - 64))
    for number, piece in enumerate(pieces, start=1):
        yield _message([batch], piece, f"{number}/{len(pieces)}")


def _cut(signal: Signal, payload: bytes, limit: int) -> Iterator[bytes]:
    """The payload in pieces of whole records. A piece is halved until it fits: sizes vary, and to measure them costs more."""
    layout = Layout(payload)
    todo = [(0, units(signal, payload))]
    while todo:
        first, last = todo.pop()
        piece = layout.take(first, last)
        if len(piece) <= limit:
            yield piece
        elif last - first <= 1:
            raise Rejected(f"a record of {len(piece)} bytes is larger than a message may be (max_message_bytes)")
        else:
            middle = (first + last) // 2
            todo += [(middle, last), (first, middle)]
