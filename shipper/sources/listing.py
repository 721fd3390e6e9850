"""The ``Shipper-Batches`` header: which batches a request's body consists of. Nothing in it is believed unchecked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.contracts import Signal, StreamKind
from shipper.errors import MalformedOtlp
from shipper.sources.otlp_check import Held, checked
from shipper.sources.refusal import Refusal, bad

LIFE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ITEM = re.compile(r"([A-Za-z0-9._-]{1,128}):(\d{1,18})-(\d{1,18}):(\d{1,12}):(\d{1,12})(?::(account|life))?", re.ASCII)
_LARGEST_TIME = 1 << 63


@dataclass(frozen=True, slots=True)
class Listed:
    """One batch as the sender lists it: positions, how many records, and where its bytes are in the body."""

    stream: str
    start: int
    end: int
    records: int
    offset: int
    length: int
    kind: StreamKind


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent a request and what it consists of; ``batches`` is empty for a sender that is no Shipper."""

    life: str = ""
    batches: tuple[Listed, ...] = ()
    observed_ns: int = 0  # when the sender first saw the oldest record; 0: it did not say


def read_origin(headers: Mapping[str, str], size: int) -> Origin:
    """What the headers of a request, which have their names in lower case, say for a body of ``size`` bytes.

    Raises a `Refusal` (400) when they are not well formed, or their byte counts are not those of the body.
    """
    observed = _observed(headers.get("shipper-observed", ""))
    text = headers.get("shipper-batches")
    if text is None:
        return Origin(observed_ns=observed)
    life = headers.get("shipper-life", "")
    if not LIFE.fullmatch(life):
        raise _wrong(f"Shipper-Life {life[:80]!r} is not a life's id")
    batches: list[Listed] = []
    offset = 0
    for item in text.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise _wrong(f"Shipper-Batches has {item[:80]!r}, expected stream:start-end:bytes:records")
        stream, start, end, length, records, kind = match.groups()
        if int(start) >= int(end):
            raise _wrong(f"Shipper-Batches has the empty range {start}-{end}")
        batches.append(
            Listed(stream, int(start), int(end), int(records), offset, int(length), StreamKind(kind or "data"))
        )
        offset += int(length)
    if offset != size:
        raise _wrong(f"Shipper-Batches lists {offset} bytes, the body has {size}")
    return Origin(life, tuple(batches), observed)


async def check_listed(signal: Signal, body: bytes, origin: Origin) -> list[Held]:
    """Check each listed batch by itself; what they hold. Raises `MalformedOtlp`, and a `Refusal` for a wrong list."""
    found: list[Held] = []
    for batch in origin.batches:
        try:
            held = await checked(signal, body[batch.offset : batch.offset + batch.length])
        except MalformedOtlp as error:
            raise MalformedOtlp(f"batch {batch.stream}: {error.problem}", batch.offset + error.offset) from error
        if held.records != batch.records:
            raise bad(
                "headers",
                f"Shipper-Batches lists {batch.records} records of {batch.stream}, the body has {held.records}",
            )
        found.append(held)
    return found


def _observed(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _LARGEST_TIME):
        raise _wrong(f"Shipper-Observed {text[:40]!r} is not a time in nanoseconds")
    return int(text)


def _wrong(message: str) -> Refusal:
    return bad("headers", message)
