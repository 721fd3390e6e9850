"""Listening safely: who may connect from where, and how many at once."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp.http_exceptions import HttpProcessingError

from shipper.errors import ConfigError
from shipper.events import Reporter, RequestRefused


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where to listen. ``cert`` and ``key`` are PEM files; ``token`` is what a client sends as ``Bearer``; "" for none.

    ``insecure``: listen beyond this machine without TLS or token all the same (behind a proxy that has both).
    """

    host: str = "127.0.0.1"
    port: int = 4318
    cert: str = ""
    key: str = ""
    token: str = ""
    insecure: bool = False

    def check(self, path: str) -> None:
        """Raise `ConfigError` (``path`` is where these settings stand) for what cannot work or would not be safe."""
        if bool(self.cert) != bool(self.key):
            raise ConfigError(path, "TLS needs both a certificate and a key")
        if not 0 <= self.port < 65536:
            raise ConfigError(path, f"{self.port} is not a port")
        if is_loopback(self.host) or self.insecure or (self.cert and self.token):
            return
        raise ConfigError(
            path,
            f"{self.host or 'every address'} can be reached by other machines: that needs TLS (cert, key) and a token;"
            " listen on 127.0.0.1, or set insecure when a proxy in front has both",
        )

    def context(self, path: str) -> ssl.SSLContext | None:
        """The TLS context, None without TLS. Raises `ConfigError` for files that cannot be used."""
        if not self.cert:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(Path(self.cert), Path(self.key))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(path, f"cannot use certificate {self.cert} with key {self.key}: {error}") from error
        return context


def is_loopback(host: str) -> bool:
    """True for addresses that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def listen(
    settings: ListenSettings, path: str, factory: Callable[[], asyncio.Protocol]
) -> tuple[asyncio.Server, list[tuple[str, int]]]:
    """Bind and listen; the server, and the addresses it has. Raises `ConfigError` when that is impossible."""
    tls = settings.context(path)
    loop = asyncio.get_running_loop()
    host = settings.host.strip("[]") or None
    try:
        server = await loop.create_server(factory, host, settings.port, ssl=tls)
    except (OSError, OverflowError) as error:
        raise ConfigError(path, f"cannot listen on {settings.host}:{settings.port}: {error}") from error
    return server, [_address(sock) for sock in server.sockets]


def _address(sock: socket.socket) -> tuple[str, int]:
    host, port, *_ = sock.getsockname()
    return host, port


class HttpLog(logging.Handler):
    """Takes what aiohttp logs about connections: bytes that are no HTTP become an event, a bug keeps its traceback."""

    def __init__(self, name: str, report: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._name = name
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            first_line = str(error).strip().partition("\n")[0]
            self._report(RequestRefused(self._name, "http", error.code, first_line[:200]))
        else:
            logging.getLogger("shipper").handle(record)

    def logger(self) -> logging.Logger:
        """A logger that nobody else has, with this as its only handler."""
        logger = logging.Logger(f"shipper.{self._name}.http")
        logger.addHandler(self)
        return logger


class Closed(asyncio.Protocol):
    """What a connection gets that is one too many: its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close at once."""
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
