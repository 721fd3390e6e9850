"""What the OTLP exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import SecretPath
from shipper.config.units import Size, Word
from shipper.contracts import Signal
from shipper_exporters._http.settings import OURS, HttpSettings, check_http, parse_url, wrong

Protocol: TypeAlias = Literal["http/protobuf", "http/json", "grpc"]
Compression: TypeAlias = Literal["gzip", "zstd", "none"]

_OURS = OURS | {"idempotency-key"}
_OURS_IN_GRPC = _OURS | {"te", "keep-alive", "proxy-connection", "upgrade"}  # the last three are forbidden in HTTP/2
_SIGNAL_PATHS = tuple(f"/v1/{signal}" for signal in Signal)
_EXAMPLES: dict[Protocol, str] = {
    "http/protobuf": "http://gateway.example:4318 or https://otlp.example",
    "http/json": "http://gateway.example:4318 or https://otlp.example",
    "grpc": "http://gateway.example:4317 or https://otlp.example:4317",
}


class OtlpSettings(HttpSettings, frozen=True):
    """What ``options`` of a destination of type ``otlp`` may hold."""

    protocol: Annotated[Protocol, Meta(description="What is spoken there: http/protobuf, http/json or grpc.")] = (
        "http/protobuf"
    )
    endpoint: Annotated[
        str, Meta(description="Base URL; /v1/logs, /v1/traces, /v1/metrics are appended (not for gRPC).")
    ] = ""
    endpoints: Annotated[
        list[Word],
        Meta(description="Instead of endpoint: several, in order of preference; one is used while those before fail."),
    ] = field(default_factory=list)
    logs_endpoint: Annotated[str, Meta(description="URL for logs, used as it is.")] = ""
    traces_endpoint: Annotated[str, Meta(description="URL for traces, used as it is.")] = ""
    metrics_endpoint: Annotated[str, Meta(description="URL for metrics, used as it is.")] = ""
    token_file: Annotated[SecretPath, Meta(description="File with a bearer token; read again when it changes.")] = ""
    compression: Annotated[Compression, Meta(description="How request bodies are compressed.")] = "gzip"
    trust_local: Annotated[
        bool, Meta(description="Count what a relay on this host took as off the host, though nothing proves it.")
    ] = False
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 5.0
    burst: Annotated[int, Meta(description="Requests that may go at once after a pause.", ge=1)] = 20
    max_in_flight: Annotated[int, Meta(description="Requests under way at once.", ge=1, le=64)] = 4
    max_wire_bytes: Annotated[Size, Meta(description="A request of this compressed size is full.", ge=1024)] = 1 << 20


@dataclass(frozen=True)
class Address:
    """One place that everything can be sent to: the URL of each signal that it takes.

    ``base``: what Shipper's own paths are under (for gRPC: where its own methods are asked for), where that can be told.
    """

    urls: Mapping[Signal, URL]
    base: URL | None

    @property
    def name(self) -> str:
        """For people; without paths, and queries, where some vendors want a secret."""
        return ", ".join(dict.fromkeys(str(url.origin()) for url in self.urls.values()))


def addresses(destination: str, settings: OtlpSettings) -> list[Address]:
    """The places in order of preference. Raises `ConfigError` for URLs that cannot be right."""
    of_signals = {signal: getattr(settings, f"{signal}_endpoint") for signal in Signal}
    if not settings.endpoints:
        return [_address(destination, settings, settings.endpoint, of_signals)]
    for option in ("endpoint", *(f"{signal}_endpoint" for signal in Signal)):
        if getattr(settings, option):
            raise wrong(destination, option, "and endpoints exclude each other")
    found = [
        _address(destination, settings, given, {}, f"endpoints[{n}]") for n, given in enumerate(settings.endpoints)
    ]
    if len({address.name for address in found}) < len(found):
        raise wrong(destination, "endpoints", "names the same place twice")
    return found


def check(destination: str, settings: OtlpSettings) -> None:
    """Raise `ConfigError` for options that cannot work, other than the URLs."""
    ours = _OURS_IN_GRPC if settings.protocol == "grpc" else _OURS
    check_http(destination, settings, ours, "token_file" if settings.token_file else "")
    for name in settings.headers:
        if settings.protocol == "grpc" and (name.lower().startswith("grpc-") or name.lower().endswith("-bin")):
            raise wrong(destination, f"headers.{name[:60]}", "is no header that gRPC lets anybody set as text")


def _address(
    destination: str, settings: OtlpSettings, given: str, of_signals: Mapping[Signal, str], option: str = "endpoint"
) -> Address:
    protocol = settings.protocol
    base = _base(destination, protocol, option, given) if given else None
    urls: dict[Signal, URL] = {}
    for signal in Signal:
        if of_signals.get(signal):
            urls[signal] = _url(destination, protocol, f"{signal}_endpoint", of_signals[signal])
        elif base is not None:
            urls[signal] = base if protocol == "grpc" else base / "v1" / signal.value
    if not urls:
        raise wrong(destination, option, f"is missing, for example {_EXAMPLES[protocol].partition(' ')[0]}")
    logs = urls.get(Signal.LOGS)
    if logs is not None and protocol == "grpc":
        base = logs
    elif logs is not None and logs.path.endswith("/v1/logs") and not logs.query_string:
        base = logs.parent.parent
    return Address(urls, base)


def _base(destination: str, protocol: Protocol, option: str, given: str) -> URL:
    base = _url(destination, protocol, option, given)
    if base.query_string:
        raise wrong(destination, option, "a base URL has no query; give logs_endpoint and the others in full")
    if base.path.rstrip("/").endswith(_SIGNAL_PATHS):
        raise wrong(destination, option, "is the base URL, /v1/logs and the like are appended; leave that part out")
    return base


def _url(destination: str, protocol: Protocol, option: str, given: str) -> URL:
    url = parse_url(destination, option, given, _EXAMPLES[protocol])
    if protocol == "grpc" and url.raw_path_qs not in ("", "/"):
        raise wrong(destination, option, "has a path; for gRPC it is scheme, host and port alone")
    return url
