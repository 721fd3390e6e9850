"""What the Pushgateway exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

import base64
from typing import Annotated

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import SecretPath
from shipper.config.units import Seconds
from shipper_exporters._http.settings import OURS, HttpSettings, check_http, parse_url, wrong
from shipper_exporters._prometheus.settings import check_basic, check_external_labels

_EXAMPLE = "http://pushgateway.example:9091"


class PushgatewaySettings(HttpSettings, frozen=True):
    """What ``options`` of a destination of type ``pushgateway`` may hold."""

    endpoint: Annotated[str, Meta(description="The Pushgateway, without /metrics/job.")] = ""
    job: Annotated[str, Meta(description="The label job of the group, beside life, which is this host's.")] = "shipper"
    token_file: Annotated[SecretPath, Meta(description="File with a bearer token; read again when it changes.")] = ""
    username: Annotated[str, Meta(description="User name for basic authentication.")] = ""
    password_file: Annotated[SecretPath, Meta(description="File with the password; read again when it changes.")] = ""
    linger: Annotated[
        Seconds,
        Meta(
            description="How long the last values of a host stay before its group is deleted; a scrape interval or more."
        ),
    ] = 15.0
    expire_after: Annotated[
        Seconds, Meta(description="A series without a new value for so long is pushed no more.")
    ] = 300.0
    external_labels: Annotated[
        dict[str, str], Meta(description="Labels added to series that have none of that name.")
    ] = field(default_factory=dict)
    max_series: Annotated[
        int,
        Meta(
            description="Series of services at one time; more are refused and counted. As many of Shipper itself.", ge=1
        ),
    ] = 10_000
    requests_per_second: Annotated[float, Meta(description="Pace of pushes.", gt=0)] = 0.2


def check(destination: str, settings: PushgatewaySettings, life: str) -> URL:
    """The URL of this life's group. Raises `ConfigError` for options that cannot work."""
    if not settings.endpoint:
        raise wrong(destination, "endpoint", f"is missing, for example {_EXAMPLE}")
    url = parse_url(destination, "endpoint", settings.endpoint, _EXAMPLE)
    if "/metrics/job" in url.path or url.path.rstrip("/").endswith("/metrics"):
        raise wrong(destination, "endpoint", "is the base URL, /metrics/job is appended; leave that part out")
    if not settings.job:
        raise wrong(destination, "job", "is empty; a Pushgateway wants one")
    for option in ("linger", "expire_after"):
        if getattr(settings, option) < 0:
            raise wrong(destination, option, "must not be less than 0")
    check_basic(destination, settings.username, settings.password_file, "token_file" if settings.token_file else "")
    secret = "token_file" if settings.token_file else "username" if settings.username else ""
    check_http(destination, settings, OURS, secret)
    check_external_labels(destination, settings.external_labels)
    group = f"metrics/{_label('job', settings.job)}/{_label('life', life)}"
    return url.with_path(f"{url.raw_path.rstrip('/')}/{group}", encoded=True).with_query(url.query)


def _label(name: str, value: str) -> str:
    """A part of a grouping key (Pushgateway, README, "URL"): plain where that is possible, else in base64."""
    if value.replace("-", "").replace("_", "").isalnum() and value.isascii():
        return f"{name}/{value}"
    return f"{name}@base64/{base64.urlsafe_b64encode(value.encode()).decode().rstrip('=')}"
