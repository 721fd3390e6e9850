"""An OTLP request as it goes over the wire: joined payloads, compressed, and headers that name what is in it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cramjam
from isal import isal_zlib

from shipper.contracts import Batch, Request, Signal, StreamKind
from shipper.otlp.decode import to_json
from shipper_exporters._otlp.jsonlines import json_lines
from shipper_exporters._otlp.settings import Compression, Protocol

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_GZIP_LEVEL = 1  # ISA-L: 5 % more CPU than level 0 for a sixth fewer bytes; zlib's 1 takes five times the CPU
_GZIP_FORMAT = 31  # the zlib way to ask for a gzip header, here with its time stamp 0
_ALL = 1 << 62  # bytes of a line of JSON: everything is in one
_ZSTD_LEVEL = (
    1  # on log lines fewer bytes than gzip for about the same CPU; a higher level takes twice that for no fewer
)


@dataclass(frozen=True, slots=True)
class OtlpBody:
    """A request as it goes over the wire."""

    data: bytes = field(repr=False)
    headers: Mapping[str, str]
    records: int


def encode(request: Request, protocol: Protocol, compression: Compression) -> OtlpBody:
    """The body of a request as told; equal requests give equal bodies. For gRPC it is the message with its prefix.

    Raises ValueError unless its batches are of one life, as the headers name only one.
    """
    headers = dict(names(request.batches))
    data = b"".join([batch.payload for batch in request.batches])
    if protocol == "http/json":
        data = _json(request.signal, data)
    data = _COMPRESSED[compression](data)
    if protocol == "grpc":
        data = framed(data, compressed=compression != "none")
    else:
        headers["Content-Type"] = JSON if protocol == "http/json" else PROTOBUF
    if compression != "none":
        headers["grpc-encoding" if protocol == "grpc" else "Content-Encoding"] = compression
    return OtlpBody(data, headers, sum(batch.cut.records for batch in request.batches))


def names(batches: Sequence[Batch]) -> dict[str, str]:
    """The headers by which a Shipper gateway tells what it already has; other receivers ignore them."""
    if not batches:
        raise ValueError("a request has at least one batch")
    lives = {batch.life for batch in batches}
    if len(lives) > 1:
        raise ValueError(f"a request names one life, not {len(lives)}")
    life = lives.pop()
    listed = ",".join(_name(batch) for batch in batches)
    return {
        "Shipper-Life": life,
        "Shipper-Batches": listed,
        "Shipper-Observed": str(min(batch.cut.observed_ns for batch in batches)),
        "Idempotency-Key": hashlib.sha256(f"{life}\n{listed}".encode()).hexdigest()[:32],
    }


def _name(batch: Batch) -> str:
    cut = batch.cut
    name = f"{batch.stream}:{cut.start}-{cut.end}:{len(batch.payload)}:{cut.records}"
    return name if batch.kind is StreamKind.DATA else f"{name}:{batch.kind}"


def framed(message: bytes, *, compressed: bool) -> bytes:
    """A message as gRPC has it on the wire (grpc/grpc doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message)."""
    return struct.pack(">BI", compressed, len(message)) + message


def _json(signal: Signal, data: bytes) -> bytes:
    lines = json_lines(signal, data, _ALL)
    return lines[0] if len(lines) == 1 else to_json(signal, data)  # of nothing no line is made


def _gzip(data: bytes) -> bytes:
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    return compressor.compress(data) + compressor.flush()


def _zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data, level=_ZSTD_LEVEL))


_COMPRESSED: Mapping[Compression, Callable[[bytes], bytes]] = {"gzip": _gzip, "zstd": _zstd, "none": bytes}
