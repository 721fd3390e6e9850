"""What the Kafka exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import AuthoritiesPath, CertificatePath, KeyPath, SecretPath
from shipper.config.section import Section
from shipper.config.units import Seconds, Size, Word
from shipper_exporters._http.exchange import Addresses
from shipper_exporters._http.settings import check_literal, named_endpoints, wrong

_PORT = 9092
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class KafkaSettings(Section, frozen=True):
    """What ``options`` of a destination of type ``kafka`` may hold."""

    endpoint: Annotated[str, Meta(description="host:port of a broker; the others are learned from it.")] = ""
    endpoints: Annotated[
        list[Word], Meta(description="Instead of endpoint: some brokers, of which any may be down at the start.")
    ] = field(default_factory=list)
    # What the Collector's Kafka exporter writes to and its receiver reads from, unless they are told otherwise.
    logs_topic: Annotated[str, Meta(description="Topic for logs; none: no logs are sent.")] = "otlp_logs"
    traces_topic: Annotated[str, Meta(description="Topic for traces; none: no traces are sent.")] = "otlp_spans"
    metrics_topic: Annotated[str, Meta(description="Topic for metrics; none: no metrics are sent.")] = "otlp_metrics"
    compression: Annotated[
        Literal["zstd", "lz4", "snappy", "gzip", "none"], Meta(description="How messages are compressed.")
    ] = "zstd"
    max_message_bytes: Annotated[
        Size, Meta(description="Largest message before compression; the brokers' message.max.bytes.", ge=1024)
    ] = 1_000_000
    tls: Annotated[bool, Meta(description="Speak to the brokers over TLS.")] = False
    ca_file: Annotated[
        AuthoritiesPath, Meta(description="PEM file with the authorities to trust, instead of the system's.")
    ] = ""
    cert_file: Annotated[CertificatePath, Meta(description="PEM file with the client certificate.")] = ""
    key_file: Annotated[KeyPath, Meta(description="PEM file with its private key.")] = ""
    mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Meta(description="SASL mechanism, where there is a user.")
    ] = "SCRAM-SHA-512"
    username: Annotated[str, Meta(description="User name for SASL.")] = ""
    password_file: Annotated[SecretPath, Meta(description="File with the password; read again when it changes.")] = ""
    timeout: Annotated[
        Seconds, Meta(description="How long nothing may be acknowledged before that is said and it is tried again.")
    ] = 30.0
    trust_local: Annotated[
        bool, Meta(description="Count what is taken by a broker on this host as off the host, though it ends with it.")
    ] = False
    # Brokers of the user's own, which do not bill: the same pace as to a Collector.
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 5.0
    burst: Annotated[int, Meta(description="Requests that may go at once after a pause.", ge=1)] = 20
    max_in_flight: Annotated[int, Meta(description="Requests under way at once.", ge=1, le=64)] = 4
    max_wire_bytes: Annotated[Size, Meta(description="A request of this size is full.", ge=1024)] = 1 << 20


def check(destination: str, settings: KafkaSettings, addresses: Addresses) -> list[URL]:
    """The brokers. Raises `ConfigError` for options that cannot work."""
    brokers = []
    example = f"kafka-1.example:{_PORT}"
    for option, given in named_endpoints(destination, settings.endpoint, settings.endpoints, example):
        broker = _broker(destination, option, given)
        check_literal(destination, option, broker, addresses)
        brokers.append(broker)
    topics = ("logs_topic", "traces_topic", "metrics_topic")
    for option in topics:
        topic: str = getattr(settings, option)
        if topic and (not _TOPIC.fullmatch(topic) or topic in (".", "..")):
            raise wrong(destination, option, "is no name for a topic: letters, digits, '.', '_' and '-'")
    if not any(getattr(settings, option) for option in topics):
        raise wrong(destination, "logs_topic", "and the other topics are all empty: nothing would be sent")
    if settings.timeout <= 0:
        raise wrong(destination, "timeout", "must be more than 0")
    if bool(settings.username) is not bool(settings.password_file):
        raise wrong(destination, "username", "and password_file go together")
    if settings.key_file and not settings.cert_file:
        raise wrong(destination, "key_file", "is given without cert_file; a client certificate needs both")
    for option in ("ca_file", "cert_file", "key_file"):
        if getattr(settings, option) and not settings.tls:
            raise wrong(destination, option, "is given without tls: true")
    return brokers


def _broker(destination: str, option: str, given: str) -> URL:
    try:
        url = URL(f"tcp://{given}")
        usable = bool(url.host) and url.port != 0 and url.user is None and url.path in ("", "/") and "://" not in given
    except ValueError:
        usable = False
    if not usable:
        raise wrong(destination, option, f"is no broker such as kafka-1.example:{_PORT}")
    return url if url.port is not None else url.with_port(_PORT)
