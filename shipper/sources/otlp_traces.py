"""Spans received by OTLP, as a stream: requests are counted from all of them, then some traces are left out, if so configured.

Both by the rules of spans that services hand over by the SDK (`shipper.sdk.emit.spans`, `shipper.sources.services`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any

from google.protobuf.message_factory import GetMessageClass

from shipper.contracts import Batch, Signal, StreamKind
from shipper.errors import RangeGone
from shipper.otlp.decode import attributes_of
from shipper.otlp.encode import AttributeValue
from shipper.otlp.messages import envelopes, parse, request_class
from shipper.otlp.wire import field, fields
from shipper.sources.otlp_check import PIECE
from shipper.sources.services.sampling import Sampling
from shipper.spool import Spool, SpoolStream
from shipper.spool.parts import Part

_SERVER = 2  # SpanKind
_FAILED = 2  # StatusCode
_WEBSOCKET = ("ws", "wss")
_STATUS = frozenset({"http.response.status_code", "http.status_code"})
_ASKED = _STATUS | {"http.route", "url.scheme", "http.scheme"}
_IDS = 4  # the field numbers of trace id, span id, trace state and parent id
_LOW = (1 << 64) - 1

Served = tuple[str, bool, int]
"""See `shipper.measure.otlp_requests.Served`."""


class TracesStream(SpoolStream):
    """See the module. ``counted``: whether somebody counts requests, and calls `measured`; frames wait for that."""

    def __init__(
        self,
        spool: Spool,
        *,
        id: str,
        kind: StreamKind,
        life: str,
        name: str,
        sampling: Sampling,
        counted: bool,
    ) -> None:
        super().__init__(spool, id=id, signal=Signal.TRACES, kind=kind, life=life, name=name)
        self._sampling = sampling
        self._released_to = 0
        self._measured_to: int | None = 0 if counted else None

    # For pumps -------------------------------------------------------------------------------------------------------

    def released(self, below: int) -> None:
        """See `Stream.released`; what is not counted yet stays."""
        self._released_to = max(self._released_to, below)
        self._let_go()

    def _make(self, part: Part, start: int, end: int, observed_ns: int, life: str) -> Batch:
        batch = super()._make(part, start, end, observed_ns, life)
        if self._sampling.keep >= 1.0:
            return batch
        payload, kept, spans = _sampled(self._sampling, part.payload)
        return replace(batch, payload=payload, cut=replace(batch.cut, records=kept, sampled=spans - kept))

    # For whoever counts ----------------------------------------------------------------------------------------------

    def measured(self, below: int) -> None:
        """See `shipper.measure.spans.MeasuredStream.measured`."""
        self._measured_to = max(self._measured_to or 0, below)
        self._let_go()

    def served(
        self, at: int, limit: int
    ) -> tuple[Sequence[tuple[Mapping[str, AttributeValue], Sequence[Served]]], int]:
        """See `shipper.measure.otlp_requests.ServedStream.served`."""
        if at >= self.spool.frontier():
            return [], at
        frames = self.spool.frames(at, limit)
        if not frames:
            raise RangeGone(self.id, at, self.spool.frontier(), "it is not in the spool any more")
        found: list[tuple[Mapping[str, AttributeValue], Sequence[Served]]] = []
        for frame in frames:
            for resource, spans in _spans(frame.payload):
                served = (_served(span) for span in spans if span.kind == _SERVER)
                found.append((attributes_of(resource.attributes), [each for each in served if each is not None]))
        return found, frames[-1].end

    def _let_go(self) -> None:
        below = self._released_to if self._measured_to is None else min(self._released_to, self._measured_to)
        super().released(below)


def _spans(data: bytes) -> Iterator[tuple[Any, Iterable[Any]]]:
    """The spans of a request, with their resource. What is built of a large one is never more than a span and a resource.

    Two bytes of a message can become a hundred; of a span that is itself too large only the ids are known.
    """
    if len(data) <= PIECE:
        yield from ((resource, spans) for resource, _, spans in envelopes(Signal.TRACES, parse(Signal.TRACES, data)))
        return
    envelope_class, span_class = _classes()
    for number, _, _, at, end in fields(data, 0, len(data)):
        if number == 1:
            inside = list(fields(data, at, end))
            stated = b"".join(data[start:stop] for inner, _, start, _, stop in inside if inner == 1)
            spans = (
                span_class.FromString(data[first:last] if last - first <= PIECE else _ids(data, first, last))
                for inner, _, _, value, stop in inside
                if inner == 2
                for unit, _, _, first, last in fields(data, value, stop)
                if unit == 2
            )
            yield envelope_class.FromString(stated if len(stated) <= PIECE else b"").resource, spans


def _ids(data: bytes, at: int, end: int) -> bytes:
    """The beginning of a span up to its name, where its ids are."""
    last = at
    for number, _, _, _, stop in fields(data, at, end):
        if number > _IDS:
            break
        last = stop
    return data[at:last]


@cache
def _classes() -> tuple[Any, Any]:
    """The message classes of a resource envelope and of a span."""
    envelope = request_class(Signal.TRACES).DESCRIPTOR.fields_by_number[1].message_type
    return GetMessageClass(envelope), GetMessageClass(
        envelope.fields_by_number[2].message_type.fields_by_number[2].message_type
    )


def _served(span: Any) -> Served | None:
    """What a server span tells of a request; None for a websocket, which lasts as long as people talk."""
    route = ""
    failed = span.status.code == _FAILED
    for pair in span.attributes:
        key = pair.key
        if key not in _ASKED:
            continue
        if key == "http.route":
            route = pair.value.string_value
        elif key in _STATUS:
            failed = failed or pair.value.int_value >= 500
        elif pair.value.string_value in _WEBSOCKET:
            return None
    return route, failed, max(0, span.end_time_unix_nano - span.start_time_unix_nano)


def _sampled(sampling: Sampling, data: bytes) -> tuple[bytes, int, int]:
    """A request without the traces that are not kept; how many spans it has then, and had. Bytes are moved, not written anew."""
    traces: list[int] = []
    wanted: set[int] = set()
    for span in chain.from_iterable(spans for _, spans in _spans(data)):
        trace = int.from_bytes(span.trace_id, "big") & _LOW
        traces.append(trace)
        if _keeps(sampling, span):
            wanted.add(trace)
    choice = [trace in wanted or sampling.lucky(trace) for trace in traces]
    if all(choice):
        return data, len(choice), len(choice)
    return _chosen(data, 0, len(data), (1, 2), iter(choice)), sum(choice), len(choice)


def _keeps(sampling: Sampling, span: Any) -> bool:
    """Whether a span keeps its trace."""
    if span.status.code == _FAILED or sampling.slow(span.end_time_unix_nano - span.start_time_unix_nano):
        return True
    served = _served(span) if span.kind == _SERVER else None
    return served is not None and served[1]


def _chosen(data: bytes, at: int, end: int, below: tuple[int, ...], choice: Any) -> bytes:
    """The fields of one envelope with only the chosen spans in it. An envelope left without any stays: it says who was there."""
    out: list[bytes] = []
    for number, _, start, value, stop in fields(data, at, end):
        if number == 2 and not below:
            if next(choice):
                out.append(data[start:stop])
        elif below and number == below[0]:
            out.append(field(number, _chosen(data, value, stop, below[1:], choice)))
        else:
            out.append(data[start:stop])
    return b"".join(out)
