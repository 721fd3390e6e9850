"""What the OTLP exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from yarl import URL

from shipper.config.units import Size
from shipper.contracts import Signal
from shipper_exporters._http_settings import OURS, HttpSettings, check_http, parse_url, wrong

_OURS = OURS | {"idempotency-key"}
_SIGNAL_PATHS = tuple(f"/v1/{signal}" for signal in Signal)


class OtlpSettings(HttpSettings, frozen=True):
    """What ``options`` of a destination of type ``otlp`` may hold."""

    endpoint: Annotated[str, Meta(description="Base URL; /v1/logs, /v1/traces, /v1/metrics are appended.")] = ""
    logs_endpoint: Annotated[str, Meta(description="URL for logs, used as it is.")] = ""
    traces_endpoint: Annotated[str, Meta(description="URL for traces, used as it is.")] = ""
    metrics_endpoint: Annotated[str, Meta(description="URL for metrics, used as it is.")] = ""
    token_file: Annotated[str, Meta(description="File with a bearer token; read again when it changes.")] = ""
    compression: Annotated[Literal["gzip", "none"], Meta(description="How request bodies are compressed.")] = "gzip"
    trust_local: Annotated[
        bool, Meta(description="Count what a relay on this host took as off the host, though nothing proves it.")
    ] = False
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 5.0
    burst: Annotated[int, Meta(description="Requests that may go at once after a pause.", ge=1)] = 20
    max_in_flight: Annotated[int, Meta(description="Requests under way at once.", ge=1, le=64)] = 4
    max_wire_bytes: Annotated[Size, Meta(description="A request of this compressed size is full.", ge=1024)] = 1 << 20


def endpoints(destination: str, settings: OtlpSettings) -> tuple[dict[Signal, URL], URL | None]:
    """The URL of each signal, and the base that Shipper's own paths are under where that can be told.

    Raises `ConfigError` for URLs that cannot be right.
    """
    base = _base(destination, settings.endpoint) if settings.endpoint else None
    urls: dict[Signal, URL] = {}
    for signal in Signal:
        option = f"{signal}_endpoint"
        given: str = getattr(settings, option)
        if given:
            urls[signal] = _url(destination, option, given)
        elif base is not None:
            urls[signal] = base / "v1" / signal.value
    logs = urls.get(Signal.LOGS)
    if not urls:
        raise wrong(destination, "endpoint", "is missing, for example http://gateway.example:4318")
    if logs is not None and logs.path.endswith("/v1/logs") and not logs.query_string:
        base = logs.parent.parent
    return urls, base


def check(destination: str, settings: OtlpSettings) -> None:
    """Raise `ConfigError` for options that cannot work, other than the URLs."""
    check_http(destination, settings, _OURS, "token_file" if settings.token_file else "")


def _base(destination: str, given: str) -> URL:
    base = _url(destination, "endpoint", given)
    if base.query_string:
        raise wrong(destination, "endpoint", "a base URL has no query; give logs_endpoint and the others in full")
    if base.path.rstrip("/").endswith(_SIGNAL_PATHS):
        raise wrong(destination, "endpoint", "is the base URL, /v1/logs and the like are appended; leave that part out")
    return base


def _url(destination: str, option: str, given: str) -> URL:
    return parse_url(destination, option, given, "http://gateway.example:4318 or https://otlp.example")
