"""Who may send to this process, and by which protocol."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shipper.config.inputs import CertificatePath, KeyPath, LinesPath, SecretPath
from shipper.config.section import Section
from shipper.config.units import Seconds, Size

MIB = 1 << 20


class Receiver(Section, frozen=True):
    """What receivers have in common. Loopback and unix sockets are safe; other addresses need what their protocol has."""

    tls_cert: Annotated[CertificatePath, Meta(description="PEM file with the certificate chain.")] = ""
    tls_key: Annotated[KeyPath, Meta(description="PEM file with its private key.")] = ""
    insecure: Annotated[
        bool, Meta(description="Allow an address that is not loopback without TLS and without knowing the clients.")
    ] = False


class OtlpReceiver(Receiver, frozen=True):
    """OTLP from services on this host, by stock OpenTelemetry SDKs; `otlp: {}` is enough. Only read by shipper run."""

    http: Annotated[str, Meta(description="host:port or unix:/path for OTLP/HTTP; empty or off: none.")] = (
        "127.0.0.1:4318"
    )
    grpc: Annotated[str, Meta(description="host:port or unix:/path for OTLP/gRPC; empty or off: none.")] = (
        "127.0.0.1:4317"
    )
    token_file: Annotated[
        SecretPath, Meta(description="File whose first line is the bearer token that clients must send.")
    ] = ""
    max_body: Annotated[Size, Meta(description="Largest request as it comes over the wire.")] = 16 * MIB
    max_decompressed: Annotated[Size, Meta(description="Largest request once decompressed.")] = 64 * MIB


class ForwardReceiver(Receiver, frozen=True):
    """The forward protocol of Fluentd, Fluent Bit and their loggers; `forward: {}` is enough."""

    tcp: Annotated[str, Meta(description="host:port for TCP, with TLS where tls_cert is given; empty: off.")] = (
        "127.0.0.1:24224"
    )
    socket: Annotated[str, Meta(description="Path of a unix socket; empty: off.")] = ""
    shared_key_file: Annotated[
        LinesPath,
        Meta(description="File whose first line is the key that clients must know (shared_key, Shared_Key)."),
    ] = ""
    users_file: Annotated[
        LinesPath, Meta(description="File of name:password lines; clients must then be one of these users as well.")
    ] = ""
    hostname: Annotated[
        str, Meta(description="What clients see as this server's name; not set: the name of the machine.")
    ] = ""
    body: Annotated[
        list[str], Meta(description="The first of these keys that a record has is its text; the rest are attributes.")
    ] = msgspec.field(default_factory=lambda: ["log", "message", "msg"])
    max_message: Annotated[Size, Meta(description="Largest message (a chunk), also once decompressed.")] = 32 * MIB
    max_connections: Annotated[int, Meta(description="Connections at once.", ge=1)] = 512
    idle: Annotated[
        Seconds, Meta(description="Close a connection on which nothing came for so long; 0: never.", ge=0)
    ] = 0.0


class SyslogReceiver(Receiver, frozen=True):
    """Syslog of RFC 5424 and RFC 3164; listens where an address or a path is given."""

    udp: Annotated[str, Meta(description="host:port for datagrams; empty: off.")] = ""
    tcp: Annotated[str, Meta(description="host:port for plain TCP; empty: off.")] = ""
    tls: Annotated[str, Meta(description="host:port for TLS (RFC 5425), with tls_cert and tls_key; empty: off.")] = ""
    socket: Annotated[str, Meta(description="Path of a unix socket for datagrams, such as /dev/log; empty: off.")] = ""
    stream_socket: Annotated[str, Meta(description="Path of a unix socket for streams; empty: off.")] = ""
    tls_client_ca: Annotated[
        str, Meta(description="PEM file of the authorities that must have signed the certificates of TLS clients.")
    ] = ""
    zone: Annotated[
        str, Meta(description="Zone of times that name none: local, UTC, an offset such as +02:00, or Europe/Berlin.")
    ] = "local"
    max_message: Annotated[Size, Meta(description="A longer message is split, and its parts are marked.")] = 64 << 10
    max_connections: Annotated[int, Meta(description="Connections at once.", ge=1)] = 512
    idle: Annotated[
        Seconds, Meta(description="Close a connection on which nothing came for so long; 0: never.", ge=0)
    ] = 0.0


class Receivers(Section, frozen=True):
    """What listens for services that do not use the SDK (docs/receivers.md); all are off unless named."""

    otlp: Annotated[OtlpReceiver | None, Meta(description="OTLP/HTTP and OTLP/gRPC.")] = None
    forward: Annotated[ForwardReceiver | None, Meta(description="The Fluent forward protocol.")] = None
    syslog: Annotated[SyslogReceiver | None, Meta(description="Syslog.")] = None
    fsync: Annotated[
        Literal["always", "interval", "never"],
        Meta(description="When received data is forced to disk: before it is acknowledged, every 0.2 s, or by the OS."),
    ] = "interval"
    spool_max: Annotated[
        Size, Meta(description="Disk space for each signal of a receiver that the destinations have not yet taken.")
    ] = 1 << 30
    when_full: Annotated[
        Literal["refuse", "drop_oldest"],
        Meta(description="Then: refuse, so that clients wait and try again, or drop the oldest and count it."),
    ] = "refuse"
