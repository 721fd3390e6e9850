"""What the Datadog exporter can be told, by its options or by the ``DD_*`` environment, and what is wrong with it.

An option counts before the environment, and what is known of a record before either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import SecretPath
from shipper.config.units import Size
from shipper.contracts import Signal
from shipper_exporters._http.settings import OURS, HttpSettings, check_http, parse_url, wrong

DEFAULT_SITE = "datadoghq.com"
_OURS = OURS | {"dd-api-key", "dd-otlp-source", "idempotency-key"}
_SITE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_TAG_BORDER = re.compile(r"[,\s]+")


class DatadogSettings(HttpSettings, frozen=True):
    """What ``options`` of a destination of type ``datadog`` may hold."""

    site: Annotated[str, Meta(description="Datadog site, such as datadoghq.eu. Else DD_SITE, else datadoghq.com.")] = ""
    token_file: Annotated[
        SecretPath,
        Meta(description="File with the API key; read again when it changes. Else DD_API_KEY_FILE, DD_API_KEY."),
    ] = ""
    hostname: Annotated[str, Meta(description="Host of all records. Else DD_HOSTNAME, else what the record says.")] = ""
    source: Annotated[
        str, Meta(description="ddsource of all logs, which chooses the pipeline; none: the language, else shipper.")
    ] = ""
    tags: Annotated[dict[str, str], Meta(description="Further tags of logs, before those of DD_TAGS.")] = field(
        default_factory=dict
    )
    traces_source: Annotated[
        str,
        Meta(description="dd-otlp-source that Datadog gave you for OTLP traces; without it no traces are sent here."),
    ] = ""
    logs_endpoint: Annotated[str, Meta(description="URL for logs, used as it is, instead of the site's.")] = ""
    traces_endpoint: Annotated[str, Meta(description="URL for OTLP traces, instead of the site's.")] = ""
    metrics_endpoint: Annotated[str, Meta(description="URL for OTLP metrics, instead of the site's.")] = ""
    compression: Annotated[Literal["gzip", "none"], Meta(description="How request bodies are compressed.")] = "gzip"
    max_wire_bytes: Annotated[Size, Meta(description="A request of this compressed size is full.", ge=1024)] = 1 << 20
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 1.0
    burst: Annotated[int, Meta(description="Requests that may go at once after a pause.", ge=1)] = 20
    max_in_flight: Annotated[int, Meta(description="Requests under way at once.", ge=1, le=64)] = 4


@dataclass(frozen=True)
class Surroundings:
    """What the environment says: where the key is, the host, further tags, and the unified service tags it stands in for."""

    key_file: str = ""
    site: str = ""
    hostname: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Surroundings:
        """Read the variables that Datadog's own agent and libraries have."""
        unified = {name: environment.get(f"DD_{name.upper()}", "").strip() for name in ("env", "service", "version")}
        return cls(
            key_file=environment.get("DD_API_KEY_FILE", ""),
            site=environment.get("DD_SITE", "").strip(),
            hostname=environment.get("DD_HOSTNAME", "").strip(),
            tags={
                key: value
                for key, _, value in (tag.partition(":") for tag in _TAG_BORDER.split(environment.get("DD_TAGS", "")))
                if key
            },
            unified={name: value for name, value in unified.items() if value},
        )


def endpoints(destination: str, settings: DatadogSettings, surroundings: Surroundings) -> dict[Signal, URL]:
    """The URL of each signal that is sent. Raises `ConfigError` for options that cannot work."""
    check_http(destination, settings, _OURS, "")
    site = settings.site or surroundings.site or DEFAULT_SITE
    if not _SITE.fullmatch(site):
        raise wrong(destination, "site", "is no Datadog site such as datadoghq.com or us5.datadoghq.com")
    if not (settings.token_file or surroundings.key_file or os.environ.get("DD_API_KEY")):
        raise wrong(destination, "token_file", "is missing, and neither DD_API_KEY_FILE nor DD_API_KEY is set")
    for key, value in settings.tags.items():
        if not key or {":", ",", " "} & set(key) or "," in value:
            raise wrong(destination, f"tags.{key[:60]}", "a tag has no comma, and its name no colon and no space")
    urls = {
        Signal.LOGS: f"https://http-intake.logs.{site}/api/v2/logs",
        Signal.METRICS: f"https://otlp.{site}/v1/metrics",
        Signal.TRACES: f"https://otlp.{site}/v1/traces",
    }
    if not settings.traces_source:
        del urls[Signal.TRACES]
    found = {}
    for signal, usual in urls.items():
        given: str = getattr(settings, f"{signal}_endpoint")
        found[signal] = parse_url(destination, f"{signal}_endpoint", given, usual) if given else URL(usual)
    return found
