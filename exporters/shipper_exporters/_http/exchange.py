"""What exporters that speak HTTP have in common: patience, bodies in slices, and when to come again.

Nothing in here knows a protocol above HTTP. Times are taken from the injected clock, so that a time-out is tested without
waiting for it. What other exporters use of ``_addresses``, ``_files``, ``_failures`` and ``_words`` is named here, too.
"""

from __future__ import annotations

import email.utils
import socket
from collections.abc import Callable, Mapping

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from shipper.clock import Patience
from shipper.errors import Retryable
from shipper_exporters._way.addresses import Addresses, WatchingResolver, is_address
from shipper_exporters._way.failures import network_failure
from shipper_exporters._way.files import SecretFile, TlsFiles
from shipper_exporters._way.words import excerpt

__all__ = [
    "MAX_WAIT",
    "Addresses",
    "NoAnswer",
    "Patience",
    "SecretFile",
    "TlsFiles",
    "Upload",
    "WatchingResolver",
    "connect_socket",
    "excerpt",
    "is_address",
    "network_failure",
    "read_bounded",
    "retry_after",
]

MAX_WAIT = 86_400.0  # a Retry-After beyond a day is taken as a day
READ_STEP = 1 << 14
_SLICE = 1 << 17
_TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; not every build of Python names it
_UNSENT = 1 << 18


class NoAnswer(Retryable):
    """The time for an answer is over; all that is known is that somebody took the connection, or did not refuse it."""


class Upload(Payload):
    """A request body sent in slices, each a sign of progress; it can be sent again."""

    def __init__(self, data: bytes, content_type: str, progress: Callable[[], None]) -> None:
        super().__init__(data, content_type=content_type)
        self._size = len(data)
        self._progress = progress
        self.whole = False
        """Whether the other side may have all of it, from any of the attempts."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """See `Payload.decode`."""
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """See `Payload.write`."""
        data = self._value
        if len(data) <= _SLICE:
            self.whole = True
            await writer.write(data)
            return
        view = memoryview(data)
        for at in range(0, len(data), _SLICE):
            self.whole = self.whole or at + _SLICE >= len(data)
            await writer.write(view[at : at + _SLICE])
            self._progress()


def connect_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose kernel buffer takes little more than what the network has room for."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT)
    return made


def retry_after(headers: Mapping[str, str], wall_ns: int) -> float | None:
    """Seconds to wait by the ``Retry-After`` header (RFC 9110 section 10.2.3: seconds or a date); None without a valid one."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), MAX_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        seconds = moment.timestamp() - wall_ns / 1e9
    except (ValueError, OverflowError, OSError):
        return None
    return min(max(0.0, seconds), MAX_WAIT)


async def read_bounded(
    response: aiohttp.ClientResponse, limit: int, progress: Callable[[], None] = lambda: None
) -> bytes:
    """The body of an answer; one byte more than ``limit`` when it is longer, and the rest is not read.

    ``progress`` is called once for each `READ_STEP` bytes: a long answer over a slow link is waited for, one that drips is not.
    """
    chunks: list[bytes] = []
    size = 0
    while size <= limit and (chunk := await response.content.read(limit + 1 - size)):
        chunks.append(chunk)
        if (size + len(chunk)) // READ_STEP > size // READ_STEP:
            progress()
        size += len(chunk)
    return b"".join(chunks)
