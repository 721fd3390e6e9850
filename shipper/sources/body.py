"""Reading the body of a request that a stranger sent: bounded in size, in memory over all requests, and in time."""

from __future__ import annotations

import asyncio
import gzip
import io
from dataclasses import dataclass

import cramjam
from aiohttp import web
from isal import igzip, isal_zlib

from shipper.sources.refusal import INVALID_ARGUMENT, Refusal, bad, later, too_large

_GzipError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub takes the class for an instance
_PIECE = 1 << 20
_INLINE = 64 << 10  # compressed bodies below this are decompressed on the event loop


@dataclass(slots=True)
class Budget:
    """Bytes of all requests under way together."""

    limit: int
    used: int = 0

    def check(self, amount: int, own: int = 0) -> None:
        """Raise a `Refusal` (503) when so many more bytes would be too many; one request alone (``own``) never is."""
        if self.used > own and self.used + amount > self.limit:
            raise later("busy", f"{self.used} bytes of requests are being stored; send this again")


class Held:
    """What one request holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._amount = 0

    def check(self, amount: int) -> None:
        """Raise a `Refusal` (503) when there is no room for so many more bytes now."""
        self._budget.check(amount, self._amount)

    def take(self, amount: int) -> None:
        """Count bytes in. Raises a `Refusal` (503) when that would be too many."""
        self.check(amount)
        self._budget.used += amount
        self._amount += amount

    def give_back(self) -> None:
        """The request is answered."""
        self._budget.used -= self._amount
        self._amount = 0


def coding(header: str) -> str:
    """``gzip``, ``deflate``, ``zstd`` or ``identity``. Raises a `Refusal` (415) for another content coding.

    OTLP asks for gzip only; deflate is what the stock Python exporter can also be told to send, zstd a Collector.
    """
    name = header.strip().lower() or "identity"
    if name not in (*_UNPACKERS, "identity"):
        message = f"Content-Encoding {name[:40]!r} is not taken; use gzip, deflate, zstd or none"
        raise Refusal(415, INVALID_ARGUMENT, "encoding", message, {"Accept-Encoding": "gzip, deflate, zstd"})
    return name


def unpack(how: str, wire: bytes, limit: int) -> bytes:
    """A body of this coding, decompressed to no more than ``limit`` bytes. Raises a `Refusal`: 413 beyond, 400 when broken."""
    return wire if how == "identity" else _UNPACKERS[how](wire, limit)


async def read(request: web.BaseRequest, held: Held, *, max_body: int, max_decompressed: int, seconds: float) -> bytes:
    """The body of a request, decompressed.

    ``seconds``: how long a sender may take for it. Raises a `Refusal`: 413 over a limit, 503 when too much is under
    way or the sender is too slow (not 408, which OTLP senders do not retry), 400 for a body that breaks off or is no
    valid gzip, 415 for another coding.
    """
    how = coding(request.headers.get("Content-Encoding", ""))
    limit = min(max_body, max_decompressed) if how == "identity" else max_body
    try:
        async with asyncio.timeout(seconds):
            wire = await _receive(request, held, limit)
    except TimeoutError:
        raise later("slow", f"the body did not arrive within {seconds:g} s") from None
    except (ConnectionError, web.RequestPayloadError) as error:
        raise bad("broken_off", f"the body broke off: {error}") from None
    if how == "identity":
        return wire
    return await unpacked(how, wire, held, max_decompressed)


async def unpacked(how: str, wire: bytes, held: Held, limit: int) -> bytes:
    """As `unpack`, beside other work when it may take long; what it takes is ``held``."""
    if len(wire) < _INLINE:
        body = unpack(how, wire, limit)
    else:
        body = await asyncio.to_thread(unpack, how, wire, limit)
    held.take(len(body))
    return body


async def _receive(request: web.BaseRequest, held: Held, limit: int) -> bytes:
    stated = request.content_length or 0
    if stated > limit:
        raise too_large(f"the body of {stated} bytes is larger than the limit of {limit} bytes")
    held.check(stated)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # it is no part of the answer
    pieces: list[bytes] = []
    size = 0
    while piece := await request.content.readany():
        size += len(piece)
        if size > limit:
            raise too_large(f"the body is larger than the limit of {limit} bytes")
        held.take(len(piece))
        pieces.append(piece)
    return b"".join(pieces)


def _gunzip(wire: bytes, limit: int) -> bytes:
    """All members of a gzip body, never more than ``limit`` bytes and one piece in memory."""
    if not wire:
        return b""
    unpacker = isal_zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(wire, limit + 1)
    except _GzipError as error:
        raise bad("gzip", f"the body is not valid gzip: {error}") from None
    if len(body) > limit:
        raise _larger(limit)
    if not unpacker.eof:
        raise bad("gzip", "the gzip body is cut short")
    return _gunzip_members(wire, limit) if unpacker.unused_data else bytes(body)


def _gunzip_members(wire: bytes, limit: int) -> bytes:
    """The same for a body of several members, which hardly anybody sends."""
    pieces: list[bytes] = []
    size = 0
    try:
        with igzip.open(io.BytesIO(wire)) as file:  # type: ignore[no-untyped-call]
            while piece := file.read(_PIECE):
                size += len(piece)
                if size > limit:
                    raise _larger(limit)
                pieces.append(piece)
    except EOFError:
        raise bad("gzip", "the gzip body is cut short") from None
    except (gzip.BadGzipFile, _GzipError) as error:
        raise bad("gzip", f"the body is not valid gzip: {error}") from None
    return b"".join(pieces)


def _inflate(wire: bytes, limit: int) -> bytes:
    """A deflate body (RFC 9110 section 8.4.1.2: in the zlib format), never more than ``limit`` bytes and one piece in memory."""
    unpacker = isal_zlib.decompressobj()
    try:
        body = unpacker.decompress(wire, limit + 1)
    except _GzipError as error:
        raise bad("deflate", f"the body is not valid deflate: {error}") from None
    if len(body) > limit:
        raise _larger(limit)
    if wire and not unpacker.eof:
        raise bad("deflate", "the deflate body is cut short")
    return bytes(body)


def _unzstd(wire: bytes, limit: int) -> bytes:
    """A zstd body (RFC 8878), written into room that grows until it is enough, and never beyond ``limit``."""
    if not wire:
        return b""
    room = min(limit, max(_PIECE, 4 * len(wire)))
    while True:
        buffer = bytearray(room)
        try:
            return bytes(memoryview(buffer)[: cramjam.zstd.decompress_into(wire, buffer)])
        except cramjam.DecompressionError as error:
            if str(error) != _NO_ROOM:
                raise bad("zstd", f"the body is not valid zstd: {error}") from None
        if room >= limit:
            raise _larger(limit)
        room = min(limit, room * 8)


def _larger(limit: int) -> Refusal:
    return too_large(f"the body is larger than {limit} bytes when decompressed")


_NO_ROOM = "failed to write whole buffer"  # what cramjam says of a buffer that is too small
_UNPACKERS = {"gzip": _gunzip, "deflate": _inflate, "zstd": _unzstd}
