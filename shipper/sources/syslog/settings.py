"""How syslog is received, as plain values."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, tzinfo

from shipper.errors import ConfigError
from shipper.sources.listen import ListenSettings


@dataclass(frozen=True, slots=True)
class TlsSettings(ListenSettings):
    """A TLS address. ``client_ca``: PEM file of those that must have signed the certificates of clients; "" for nobody."""

    client_ca: str = ""

    def context(self, path: str) -> ssl.SSLContext | None:
        """See `ListenSettings.context`; RFC 5425 has clients known by their certificates."""
        context = ListenSettings.context(self, path)
        if context is not None and self.client_ca:
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(path, f"cannot use the authorities in {self.client_ca}: {error}") from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True, slots=True)
class SyslogSettings:
    """``udp``: host and port of datagrams; ``socket``: path of a unix socket for datagrams; ``streams``: all that is read as
    a stream. ``zone``: of times that name none. ``max_message``: bytes of a message in one piece. ``idle``: seconds after
    which a silent connection is closed, 0 for never.
    """

    udp: tuple[str, int] | None = None
    socket: str = ""
    streams: tuple[ListenSettings, ...] = ()
    zone: tzinfo = UTC
    max_message: int = 64 << 10
    max_connections: int = 512
    idle: float = 0.0
