"""What the Splunk exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from msgspec import Meta
from yarl import URL

from shipper.config.inputs import SecretPath
from shipper.config.units import Seconds, Size
from shipper_exporters._http.settings import OURS, HttpSettings, check_http, parse_url, wrong

TOKEN_VARIABLE = "SPLUNK_HEC_TOKEN"  # as Splunk's own distribution of the Collector has it
COLLECTOR = "/services/collector"

_OURS = OURS | {"authorization", "x-splunk-request-channel", "cookie"}
_EXAMPLE = "https://splunk.example:8088"


class SplunkSettings(HttpSettings, frozen=True):
    """What ``options`` of a destination of type ``splunk`` may hold."""

    endpoint: Annotated[str, Meta(description="URL of the HTTP Event Collector, without /services/collector.")] = ""
    token_file: Annotated[
        SecretPath, Meta(description="File with the HEC token; read again when it changes. Else SPLUNK_HEC_TOKEN.")
    ] = ""
    acknowledgement: Annotated[
        bool, Meta(description="Wait until Splunk says that events are indexed; the token must have it enabled.")
    ] = True
    ack_interval: Annotated[Seconds, Meta(description="Seconds between two questions for acknowledgements.")] = 1.0
    ack_timeout: Annotated[
        Seconds, Meta(description="How long an acknowledgement may take until the events are sent again.")
    ] = 300.0
    api: Annotated[
        Literal["event", "raw"],
        Meta(description="event: JSON with indexed fields. raw: text of logs, which Splunk breaks into events itself."),
    ] = "event"
    index: Annotated[str, Meta(description="Index of logs; none: the token's default.")] = ""
    traces_index: Annotated[str, Meta(description="Index of spans; none: as for logs.")] = ""
    metrics_index: Annotated[str, Meta(description="Metrics index; without one no metrics are sent here.")] = ""
    source: Annotated[str, Meta(description="Source of all events; none: the log file's path, else the service.")] = ""
    sourcetype: Annotated[str, Meta(description="Source type of all events; none: the token's default.")] = ""
    compression: Annotated[Literal["gzip", "none"], Meta(description="How request bodies are compressed.")] = "gzip"
    timeout: Annotated[Seconds, Meta(description="How long a request may stand still before it is tried again.")] = 30.0
    max_content_length: Annotated[
        Size, Meta(description="Largest request body before compression (Splunk's max_content_length).", ge=1024)
    ] = 4 << 20
    max_wire_bytes: Annotated[Size, Meta(description="A request of this compressed size is full.", ge=1024)] = 1 << 20
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 1.0
    burst: Annotated[int, Meta(description="Requests that may go at once after a pause.", ge=1)] = 20
    max_in_flight: Annotated[int, Meta(description="Requests under way at once.", ge=1, le=64)] = 4
    max_unacknowledged: Annotated[
        int, Meta(description="Requests that Splunk took and has not acknowledged yet; 0: as many as under way.", ge=0)
    ] = 1024


def check(destination: str, settings: SplunkSettings) -> URL:
    """The URL that ends in ``/services/collector``. Raises `ConfigError` for options that cannot work."""
    if not settings.endpoint:
        raise wrong(destination, "endpoint", f"is missing, for example {_EXAMPLE}")
    url = parse_url(destination, "endpoint", settings.endpoint, _EXAMPLE)
    if url.query_string:
        raise wrong(destination, "endpoint", "has a query; it is the URL of the collector only")
    path = url.raw_path.rstrip("/")
    before, found, behind = path.partition(COLLECTOR)
    if found and behind:
        raise wrong(destination, "endpoint", f"is the base URL, {COLLECTOR}{behind} is appended; leave that part out")
    if not settings.token_file and not os.environ.get(TOKEN_VARIABLE):
        raise wrong(
            destination, "token_file", f"is missing, and {TOKEN_VARIABLE} is not set; HEC takes nothing without"
        )
    for option in ("ack_interval", "ack_timeout"):
        if getattr(settings, option) <= 0:
            raise wrong(destination, option, "must be more than 0")
    if settings.api == "raw" and (settings.metrics_index or settings.traces_index):
        raise wrong(destination, "api", "raw is for logs only; give metrics and spans a destination of their own")
    check_http(destination, settings, _OURS, "")
    return url.with_path(before + COLLECTOR, encoded=True)
