"""What settings of exporters that speak a protocol of their own over TCP have in common, and what can be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import AuthoritiesPath, CertificatePath, KeyPath
from shipper.config.section import Section
from shipper.config.units import Seconds, Size, Word
from shipper_exporters._http.exchange import Addresses
from shipper_exporters._http.settings import check_literal, named_endpoints, wrong


class TcpSettings(Section, frozen=True):
    """What every such exporter can be told; who we are and what is sent are each one's own."""

    endpoint: Annotated[str, Meta(description="host:port of the server; tls://host:port: over TLS.")] = ""
    endpoints: Annotated[
        list[Word],
        Meta(description="Instead of endpoint: several, in order of preference; one is used while those before fail."),
    ] = field(default_factory=list)
    # A server that is busy answers late and not by a refusal: these protocols have none. Fluentd's own client waits 190 s, Beats 30 s.
    timeout: Annotated[Seconds, Meta(description="How long nothing may move before it is tried again.")] = 30.0
    server_name: Annotated[
        str, Meta(description="Name in the server's certificate (and SNI), where it is not that of the endpoint.")
    ] = ""
    ca_file: Annotated[
        AuthoritiesPath, Meta(description="PEM file with the authorities to trust, instead of the system's.")
    ] = ""
    cert_file: Annotated[CertificatePath, Meta(description="PEM file with the client certificate.")] = ""
    key_file: Annotated[KeyPath, Meta(description="PEM file with its private key.")] = ""
    trust_local: Annotated[
        bool, Meta(description="Count what is taken by a server on this host as off the host, though it ends with it.")
    ] = False
    # Servers of the user's own, which do not bill: the same pace as to a Collector.
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 5.0
    burst: Annotated[int, Meta(description="Requests that may go at once after a pause.", ge=1)] = 20
    max_in_flight: Annotated[
        int, Meta(description="Requests under way at once, each on a connection.", ge=1, le=64)
    ] = 4
    max_wire_bytes: Annotated[Size, Meta(description="A request of this compressed size is full.", ge=1024)] = 1 << 20


@dataclass(frozen=True, slots=True)
class Server:
    """One of the servers of a destination. ``name``: what its certificate has to say."""

    host: str
    port: int
    tls: bool
    name: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls://' if self.tls else ''}{host}:{self.port}"


def servers(destination: str, settings: TcpSettings, port: int, addresses: Addresses) -> tuple[Server, ...]:
    """The servers to send to; ``port``: where the protocol is at home. Raises `ConfigError` for settings that cannot work."""
    example = f"logs.example:{port} or tls://logs.example:{port}"
    found = []
    for option, given in named_endpoints(destination, settings.endpoint, settings.endpoints, example):
        url = _url(destination, option, given, port)
        check_literal(destination, option, url, addresses)
        assert url.host is not None
        assert url.port is not None
        found.append(Server(url.host, url.port, url.scheme == "tls", settings.server_name or url.host))
    _check_tls(destination, settings, found)
    return tuple(found)


def _url(destination: str, option: str, given: str, port: int) -> URL:
    try:
        url = URL(given if "://" in given else f"tcp://{given}")
        usable = url.scheme in ("tcp", "tls") and url.host and url.port != 0
        extra = url.path not in ("", "/") or url.query_string or url.fragment or url.user is not None
    except ValueError:
        usable = extra = False
    if not usable or extra:
        raise wrong(destination, option, f"is not a server such as logs.example:{port} or tls://logs.example:{port}")
    return url if url.port is not None else url.with_port(port)


def _check_tls(destination: str, settings: TcpSettings, found: list[Server]) -> None:
    if settings.timeout <= 0:
        raise wrong(destination, "timeout", "must be more than 0")
    if settings.key_file and not settings.cert_file:
        raise wrong(destination, "key_file", "is given without cert_file; a client certificate needs both")
    for option in ("ca_file", "cert_file", "server_name"):
        if getattr(settings, option) and not any(server.tls for server in found):
            raise wrong(destination, option, "is for TLS, but no endpoint begins with tls://")
