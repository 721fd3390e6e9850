"""An OTLP request as it goes over the wire: joined payloads, compressed, and headers that name what is in it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shipper.contracts import Batch, Packing, Prepared, Request, Signal, StreamKind
from shipper.errors import MalformedOtlp, Rejected
from shipper_exporters._otlp.compress import STREAMS
from shipper_exporters._otlp.jsonlines import json_lines
from shipper_exporters._otlp.settings import Compression, Protocol

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_ALL = 1 << 62  # bytes of a line of JSON: everything is in one
_TAIL = b"]}"
_LISTS = {Signal.LOGS: "resourceLogs", Signal.TRACES: "resourceSpans", Signal.METRICS: "resourceMetrics"}


@dataclass(frozen=True, slots=True)
class OtlpBody:
    """A request as it goes over the wire."""

    data: bytes = field(repr=False)
    headers: Mapping[str, str]
    records: int


class OtlpPacking(Packing):
    """One request's body, compressed while its batches come. For gRPC it is the message with its prefix."""

    def __init__(self, signal: Signal, protocol: Protocol, compression: Compression) -> None:
        self._signal = signal
        self._protocol = protocol
        self._compression = compression
        self._stream = STREAMS[compression]()
        self._elements = _Elements(signal) if protocol == "http/json" else None
        self._names = Names()
        self._records = 0

    def add(self, batch: Batch) -> None:
        """See `Packing.add`.

        Raises ValueError unless all batches are of one life, as the headers name only one; `Rejected` for what cannot be JSON.
        """
        self._names.add(batch)
        self._records += batch.cut.records
        self._stream.add(batch.payload if self._elements is None else self._elements.more(batch.payload))

    def prepared(self, request_id: str) -> Prepared:
        """See `Packing.prepared`."""
        body = self.body()
        return Prepared(request_id, self._signal, body, len(body.data))

    def body(self) -> OtlpBody:
        """What goes over the wire; called once."""
        if self._elements is not None:
            self._stream.add(self._elements.end())
        return _body(self._stream.end(), self._names, self._records, self._protocol, self._compression)


class _Elements:
    """A request in JSON is the list of its batches' elements."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._head = f'{{"{_LISTS[signal]}":['.encode()
        self._any = False

    def more(self, payload: bytes) -> bytes:
        """What comes next in the body for a batch. Raises `Rejected`."""
        try:
            lines = json_lines(self._signal, payload, _ALL)
        except MalformedOtlp as error:
            raise Rejected(str(error)) from None
        elements = [line[len(self._head) : -len(_TAIL)] for line in lines]
        if not elements:
            return b""
        before = b"," if self._any else self._head
        self._any = True
        return before + b",".join(elements)

    def end(self) -> bytes:
        return _TAIL if self._any else b"{}"


def encode(request: Request, protocol: Protocol, compression: Compression) -> OtlpBody:
    """The body of a request as told; equal requests give equal bodies. For gRPC it is the message with its prefix.

    Raises ValueError unless its batches are of one life, as the headers name only one; `Rejected` for what cannot be JSON.
    """
    packing = OtlpPacking(request.signal, protocol, compression)
    for batch in request.batches:
        packing.add(batch)
    return packing.body()


def _body(data: bytes, names: Names, records: int, protocol: Protocol, compression: Compression) -> OtlpBody:
    headers = names.headers()
    if protocol == "grpc":
        data = framed(data, compressed=compression != "none")
    else:
        headers["Content-Type"] = JSON if protocol == "http/json" else PROTOBUF
    if compression != "none":
        headers["grpc-encoding" if protocol == "grpc" else "Content-Encoding"] = compression
    return OtlpBody(data, headers, records)


class Names:
    """The headers by which a Shipper gateway tells what it already has; other receivers ignore them."""

    def __init__(self) -> None:
        self._life = ""
        self._listed: list[str] = []
        self._observed_ns = 0

    def add(self, batch: Batch) -> None:
        """One more batch of the request. Raises ValueError for one of another life."""
        if not self._listed:
            self._life, self._observed_ns = batch.life, batch.cut.observed_ns
        elif self._life != batch.life:
            raise ValueError("a request names one life, not 2")
        self._observed_ns = min(self._observed_ns, batch.cut.observed_ns)
        self._listed.append(_name(batch))

    def headers(self) -> dict[str, str]:
        """Those of all that were added. Raises ValueError when there are none."""
        if not self._listed:
            raise ValueError("a request has at least one batch")
        listed = ",".join(self._listed)
        return {
            "Shipper-Life": self._life,
            "Shipper-Batches": listed,
            "Shipper-Observed": str(self._observed_ns),
            "Idempotency-Key": hashlib.sha256(f"{self._life}\n{listed}".encode()).hexdigest()[:32],
        }


def names(batches: Sequence[Batch]) -> dict[str, str]:
    """See `Names`."""
    named = Names()
    for batch in batches:
        named.add(batch)
    return named.headers()


def _name(batch: Batch) -> str:
    cut = batch.cut
    name = f"{batch.stream}:{cut.start}-{cut.end}:{len(batch.payload)}:{cut.records}"
    return name if batch.kind is StreamKind.DATA else f"{name}:{batch.kind}"


def framed(message: bytes, *, compressed: bool) -> bytes:
    """A message as gRPC has it on the wire (grpc/grpc doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message)."""
    return struct.pack(">BI", compressed, len(message)) + message
