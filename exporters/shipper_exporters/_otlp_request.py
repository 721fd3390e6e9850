"""An OTLP/HTTP request as it goes over the wire: joined payloads, compressed, and headers that name what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isal import isal_zlib

from shipper.contracts import Batch, Request, StreamKind

PROTOBUF = "application/x-protobuf"
_GZIP_LEVEL = 1  # ISA-L: 5 % more CPU than level 0 for a sixth fewer bytes; zlib's 1 takes five times the CPU
_GZIP_FORMAT = 31  # the zlib way to ask for a gzip header, here with its time stamp 0


@dataclass(frozen=True, slots=True)
class OtlpBody:
    """A request as it goes over the wire."""

    data: bytes = field(repr=False)
    headers: Mapping[str, str]
    records: int


def encode(request: Request, compression: str) -> OtlpBody:
    """The body of a request, compressed as told (``gzip`` or ``none``); equal requests give equal bodies.

    Raises ValueError unless its batches are of one life, as the headers name only one.
    """
    headers = {"Content-Type": PROTOBUF, **_names(request.batches)}
    payloads = [batch.payload for batch in request.batches]
    if compression == "gzip":
        headers["Content-Encoding"] = "gzip"
        data = _gzip(payloads)
    else:
        data = b"".join(payloads)
    return OtlpBody(data, headers, sum(batch.cut.records for batch in request.batches))


def _names(batches: Sequence[Batch]) -> dict[str, str]:
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


def _gzip(parts: Sequence[bytes]) -> bytes:
    compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    out = [compressor.compress(part) for part in parts]
    out.append(compressor.flush())
    return b"".join(out)
