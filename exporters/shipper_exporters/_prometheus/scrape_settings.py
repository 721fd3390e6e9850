"""What the destination for scrapers can be told, and what is wrong with it before anything listens."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from shipper.config.inputs import CertificatePath, KeyPath, SecretPath
from shipper.config.section import Section
from shipper.config.units import Seconds
from shipper.sources.listen import ListenSettings
from shipper_exporters._http.settings import wrong
from shipper_exporters._prometheus.settings import check_external_labels


class PrometheusScrapeSettings(Section, frozen=True):
    """What ``options`` of a destination of type ``prometheus-scrape`` may hold."""

    listen: Annotated[str, Meta(description="host:port where scrapers ask.")] = "127.0.0.1:9479"
    path: Annotated[str, Meta(description="Path of the exposition.")] = "/metrics"
    token_file: Annotated[
        SecretPath, Meta(description="File with the bearer token that scrapers must send; read again when it changes.")
    ] = ""
    cert_file: Annotated[CertificatePath, Meta(description="PEM file with the certificate chain, for TLS.")] = ""
    key_file: Annotated[KeyPath, Meta(description="PEM file with its private key.")] = ""
    insecure: Annotated[bool, Meta(description="Allow an address that is not loopback without TLS and a token.")] = (
        False
    )
    timeout: Annotated[Seconds, Meta(description="After how long without a scrape it counts as down.")] = 120.0
    expire_after: Annotated[Seconds, Meta(description="A series without a new value for so long is shown no more.")] = (
        300.0
    )
    external_labels: Annotated[
        dict[str, str], Meta(description="Labels added to series that have none of that name.")
    ] = field(default_factory=dict)
    max_series: Annotated[
        int,
        Meta(
            description="Series of services at one time; more are refused and counted. As many of Shipper itself.", ge=1
        ),
    ] = 100_000
    trust_local: Annotated[
        bool, Meta(description="Count what a scraper on this host has seen as off the host, though it ends with it.")
    ] = False


def check(destination: str, settings: PrometheusScrapeSettings) -> ListenSettings:
    """Where to listen. Raises `ConfigError` for options that cannot work or would not be safe."""
    host, colon, port = settings.listen.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise wrong(destination, "listen", "is no host and port such as 127.0.0.1:9479")
    if not settings.path.startswith("/") or settings.path == "/":
        raise wrong(destination, "path", "is no path such as /metrics")
    if settings.timeout <= 0:
        raise wrong(destination, "timeout", "must be more than 0")
    if settings.expire_after <= 0:
        raise wrong(destination, "expire_after", "must be more than 0")
    check_external_labels(destination, settings.external_labels)
    listen = ListenSettings(
        host.strip("[]"), int(port), settings.cert_file, settings.key_file, settings.token_file, settings.insecure
    )
    listen.check(f"destinations.{destination}.listen")
    return listen
