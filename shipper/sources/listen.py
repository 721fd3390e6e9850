"""Listening safely: who may connect from where, and how many at once."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp.http_exceptions import HttpProcessingError

from shipper.errors import ConfigError
from shipper.events import Reporter, RequestRefused

SOCKET_MODE = 0o666  # services run as users of their own; whoever may reach the directory may connect


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where to listen. ``cert`` and ``key`` are PEM files; ``token`` is what a client sends as ``Bearer``; "" for none.

    ``insecure``: listen beyond this machine without TLS or token all the same (behind a proxy that has both).
    ``path``: of a unix socket, which is then used instead of host and port.
    """

    host: str = "127.0.0.1"
    port: int = 4318
    cert: str = ""
    key: str = ""
    token: str = ""
    insecure: bool = False
    path: str = ""

    def check(self, path: str) -> None:
        """Raise `ConfigError` (``path`` is where these settings stand) for what cannot work or would not be safe."""
        if bool(self.cert) != bool(self.key):
            raise ConfigError(path, "TLS needs both a certificate and a key")
        if not 0 <= self.port < 65536:
            raise ConfigError(path, f"{self.port} is not a port")
        if self.path or is_loopback(self.host) or self.insecure or (self.cert and self.token):
            return
        raise ConfigError(
            path,
            f"{self.host or 'every address'} can be reached by other machines: that needs TLS (a certificate and its key) and a token;"
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
    settings: ListenSettings, path: str, factory: Callable[[], asyncio.BaseProtocol]
) -> tuple[asyncio.Server, list[tuple[str, int]]]:
    """Bind and listen; the server, and the addresses it has (a unix socket's is its path and 0).

    Raises `ConfigError` when that is impossible.
    """
    tls = settings.context(path)
    loop = asyncio.get_running_loop()
    if settings.path:
        prepare_socket(settings.path, path)
        try:
            server: asyncio.Server = await loop.create_unix_server(factory, settings.path, ssl=tls)
            os.chmod(settings.path, SOCKET_MODE)
        except OSError as error:
            raise ConfigError(path, f"cannot listen on {settings.path}: {error}") from error
        return server, [(settings.path, 0)]
    host = settings.host.strip("[]") or None
    try:
        server = await loop.create_server(factory, host, settings.port, ssl=tls)
    except (OSError, OverflowError) as error:
        raise ConfigError(path, f"cannot listen on {settings.host}:{settings.port}: {error}") from error
    return server, [_address(sock) for sock in server.sockets]


def prepare_socket(socket_path: str, path: str) -> None:
    """Make way for a unix socket: its directory is made, and a socket that nobody listens on any more is removed.

    Raises `ConfigError` when somebody listens there, or when something else lies in its place.
    """
    try:
        os.makedirs(os.path.dirname(socket_path), mode=0o755, exist_ok=True)
        if not stat.S_ISSOCK(os.lstat(socket_path).st_mode):
            raise ConfigError(path, f"{socket_path} exists and is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(socket_path) != errno.ECONNREFUSED:
                raise ConfigError(path, f"another process listens on {socket_path}")
        os.unlink(socket_path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(path, f"cannot listen on {socket_path}: {error}") from error


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
