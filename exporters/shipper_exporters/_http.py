"""What exporters that speak HTTP have in common: patience, addresses, secrets in files, and what a failure means.

Nothing in here knows a protocol above HTTP. Times are taken from the injected clock, so that a time-out is tested without
waiting for it.
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from aiohttp.payload import Payload

from shipper.clock import Clock, Deadline
from shipper.errors import DeliveryError, Retryable, Unusable

MAX_WAIT = 86_400.0  # a Retry-After beyond a day is taken as a day
_SLICE = 1 << 17
_TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; not every build of Python names it
_UNSENT = 1 << 18
_LOOK_AGAIN = 0.25
_DISCARD_PORT = 9  # any port: nothing is sent to it


class NoAnswer(Retryable):
    """The time for an answer is over; all that is known is that somebody took the connection, or did not refuse it."""


class Patience:
    """Ends what it wraps (`TimeoutError`) when nothing moved for ``seconds``, or at the deadline.

    Silence is what is bounded, not the whole call: over a slow link a large request that keeps moving is left to finish,
    where a fixed limit would have it sent again and again and never arrive. (`connect_socket` keeps what is handed to the
    kernel, and so looks as if it had moved, small.)
    """

    def __init__(self, clock: Clock, seconds: float, deadline: Deadline) -> None:
        self._clock = clock
        self._seconds = seconds
        self._deadline = deadline
        self._moved = clock.monotonic()

    def progress(self) -> None:
        """Something moved: the silence starts anew."""
        self._moved = self._clock.monotonic()

    async def __aenter__(self) -> Patience:
        self._scope = asyncio.timeout(None)
        await self._scope.__aenter__()
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        await self._scope.__aexit__(kind, error, trace)

    async def _watch(self) -> None:
        while (left := min(self._moved + self._seconds, self._deadline.at) - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, _LOOK_AGAIN))  # a notice may have moved the deadline meanwhile
        self._scope.reschedule(asyncio.get_running_loop().time())


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


class SecretFile:
    """The first line of a file, read again when the file changes. Raises `Unusable` when it cannot be read."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._value = ""

    def read(self) -> str:
        """The secret as it is now."""
        try:
            stamp = _stamp(self._path)
            if stamp != self._seen:
                with open(self._path, encoding="utf-8") as file:
                    self._value = file.readline().strip()
                self._seen = stamp
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"cannot read the token in {self._path}: {_plain(error)}") from None
        if not self._value or not self._value.isascii() or not self._value.isprintable():
            raise Unusable(f"the first line of {self._path} is no token")
        return self._value


class TlsFiles:
    """The TLS context made of certificate files, made again when one of them changes."""

    def __init__(self, ca_file: str, cert_file: str, key_file: str) -> None:
        self._ca, self._cert, self._key = ca_file, cert_file, key_file
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | bool:
        """What aiohttp takes as ``ssl``. Raises `Unusable` when a file cannot be used."""
        files = [path for path in (self._ca, self._cert, self._key) if path]
        if not files:
            return True
        try:
            seen = tuple(_stamp(path) for path in files)
            if self._context is None or seen != self._seen:
                context = ssl.create_default_context(cafile=self._ca or None)
                if self._cert:
                    context.load_cert_chain(self._cert, self._key or None, password=_no_password)
                self._context, self._seen = context, seen
        except (OSError, ValueError) as error:
            raise Unusable(f"cannot use the TLS files {', '.join(files)}: {_plain(error)}") from None
        return self._context


def _no_password() -> str:
    # without this OpenSSL would ask on the terminal
    raise ValueError("the private key is encrypted; a key without a passphrase is needed")


def _stamp(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class Addresses:
    """What the addresses of a destination are to this host: foreign, local, or our own listener."""

    def __init__(self, own: Collection[tuple[str, int]]) -> None:
        self._own = [(address, port) for host, port in own if (address := _address(host))]
        self._local: dict[str, bool] = {}

    def check(self, name: str, addresses: Collection[str], port: int) -> None:
        """Remember where ``name`` leads. Raises `Unusable` when that is one of our own listeners."""
        found = [address for text in addresses if (address := _address(text))]
        self._local[name] = any(_is_local(address) for address in found)
        for address in found:
            for own, own_port in self._own:
                if port == own_port and (address == own or (own.is_unspecified and _is_local(address))):
                    raise Unusable(f"{name} port {port} is our own listener: it would be sent round in a circle")

    @property
    def known(self) -> bool:
        """Whether any address was seen yet."""
        return bool(self._local)

    @property
    def local(self) -> bool:
        """Whether any of the destination's addresses is on this host."""
        return any(self._local.values())


class WatchingResolver(AbstractResolver):
    """The system's resolver; every answer is checked before anything is connected."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`."""
        results = await self._inner.resolve(host, port, family)
        self._addresses.check(host, [result["host"] for result in results], port)
        return results

    async def close(self) -> None:
        """See `AbstractResolver.close`."""
        await self._inner.close()


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address and not a name."""
    return _address(host) is not None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the address is one of this host's own: then the kernel would also use it as the source (nothing is sent)."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _DISCARD_PORT))
            return _address(probe.getsockname()[0]) == address
    except OSError:  # no route there, so it is not here
        return False


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


def excerpt(text: str | bytes, limit: int = 200) -> str:
    """The beginning of what a stranger said, on one line and safe to print."""
    if isinstance(text, bytes):
        text = text[: limit * 4].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


async def read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body of an answer; one byte more than ``limit`` when it is longer, and the rest is not read."""
    chunks: list[bytes] = []
    size = 0
    while size <= limit and (chunk := await response.content.read(limit + 1 - size)):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def network_failure(error: aiohttp.ClientError | OSError, where: str, *, unsent: bool = False) -> DeliveryError:
    """What a failure below HTTP means; ``where`` is the destination, for the sentence. ``unsent``: see `Retryable`."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unusable(f"{where}: its TLS certificate is not accepted: {excerpt(str(error.certificate_error))}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Retryable(f"{where}: its name cannot be resolved: {_plain(error.os_error)}", unsent=unsent)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return Retryable(f"{where}: no TLS connection: {_plain(error.os_error)}", unsent=unsent)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Retryable(f"{where}: cannot connect: {_plain(error.os_error)}", unsent=unsent)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return Retryable(f"{where}: closed the connection without an answer", unsent=unsent)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Retryable(f"{where}: closed the connection in the middle of its answer")
    if isinstance(error, aiohttp.ClientResponseError):
        return Unusable(
            f"{where}: does not speak HTTP ({excerpt(error.message)}); is it another port, such as the one for gRPC?"
        )
    return Retryable(f"{where}: the connection broke: {_plain(error)}", unsent=unsent)


def _plain(error: BaseException) -> str:
    """An exception as a person would say it."""
    text: Any = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return excerpt(str(text))
