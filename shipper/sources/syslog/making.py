"""From the configuration to what the syslog receiver wants."""

from __future__ import annotations

from shipper.config import split_address
from shipper.config.schema_receivers import SyslogReceiver
from shipper.errors import ConfigError
from shipper.shape.timetext import zone
from shipper.sources.listen import ListenSettings
from shipper.sources.syslog.settings import SyslogSettings, TlsSettings
from shipper.sources.syslog.source import PATH


def settings(config: SyslogReceiver) -> SyslogSettings:
    """How to receive. Raises `ConfigError` for a zone that this machine does not know."""
    try:
        of_times = zone(config.zone)
    except ValueError as problem:
        raise ConfigError(f"{PATH}.zone", str(problem)) from problem
    streams: list[ListenSettings] = []
    if config.tcp:
        streams.append(ListenSettings(*split_address(config.tcp), insecure=config.insecure))
    if config.tls:
        known = config.insecure or bool(config.tls_client_ca)
        cert, key = config.tls_cert, config.tls_key
        streams.append(
            TlsSettings(*split_address(config.tls), cert, key, insecure=known, client_ca=config.tls_client_ca)
        )
    for one in streams:
        one.check(PATH)
    if config.stream_socket:
        streams.append(ListenSettings(path=config.stream_socket))
    return SyslogSettings(
        udp=split_address(config.udp) if config.udp else None,
        socket=config.socket,
        streams=tuple(streams),
        zone=of_times,
        max_message=config.max_message,
        max_connections=config.max_connections,
        idle=config.idle,
    )
