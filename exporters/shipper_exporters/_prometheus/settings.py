"""What the Prometheus exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import SecretPath
from shipper.config.units import Seconds
from shipper_exporters._http.settings import OURS, HttpSettings, check_http, parse_url, wrong
from shipper_exporters._prometheus.labels import RESERVED

_OURS = OURS | {"x-prometheus-remote-write-version"}
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class PrometheusSettings(HttpSettings, frozen=True):
    """What ``options`` of a destination of type ``prometheus`` may hold."""

    older_names: ClassVar[Mapping[str, str]] = {"url": "endpoint"}

    endpoint: Annotated[str, Meta(description="URL that remote writes go to, in full.")] = ""
    protocol: Annotated[
        Literal["auto", "1.0", "2.0"],
        Meta(
            description="Version of remote write; auto begins with 2.0 and falls back to 1.0 if that is not understood."
        ),
    ] = "auto"
    native_histograms: Annotated[
        Literal["auto", "always", "never"],
        Meta(
            description="What exponential histograms become: auto sends native ones where their arrival is proved (2.0), and "
            "counts them as rejected elsewhere; always holds everything until the receiver takes them; never rejects them."
        ),
    ] = "auto"
    token_file: Annotated[SecretPath, Meta(description="File with a bearer token; read again when it changes.")] = ""
    username: Annotated[str, Meta(description="User name for basic authentication.")] = ""
    password_file: Annotated[SecretPath, Meta(description="File with the password; read again when it changes.")] = ""
    timeout: Annotated[Seconds, Meta(description="How long a request may stand still before it is tried again.")] = 30.0
    external_labels: Annotated[
        dict[str, str], Meta(description="Labels added to series that have none of that name.")
    ] = field(default_factory=dict)
    max_series: Annotated[
        int,
        Meta(
            description="Series of services at one time; more are refused and counted. As many of Shipper itself.", ge=1
        ),
    ] = 100_000
    max_samples_per_send: Annotated[int, Meta(description="Samples in one request.", ge=1, le=100_000)] = 2000
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 1.0
    trust_local: Annotated[
        bool, Meta(description="Count what a Prometheus on this host took as off the host, though it ends with it.")
    ] = False


def check(destination: str, settings: PrometheusSettings) -> URL:
    """The URL to write to. Raises `ConfigError` for options that cannot work."""
    if not settings.endpoint:
        raise wrong(destination, "endpoint", "is missing, for example http://prometheus.example:9090/api/v1/write")
    url = parse_url(destination, "endpoint", settings.endpoint, "http://prometheus.example:9090/api/v1/write")
    if url.path in ("", "/"):
        raise wrong(destination, "endpoint", f"has no path; a Prometheus takes remote writes at {url / 'api/v1/write'}")
    token = "token_file" if settings.token_file else ""
    check_basic(destination, settings.username, settings.password_file, token)
    secret = token or ("username" if settings.username else "")
    check_http(destination, settings, _OURS, secret)
    check_external_labels(destination, settings.external_labels)
    return url


def check_basic(destination: str, username: str, password_file: str, token: str) -> None:
    """Raise `ConfigError` for a user name that cannot be sent; ``token``: the option of a token that is given, or nothing."""
    if bool(username) is not bool(password_file):
        raise wrong(destination, "username", "and password_file go together")
    if ":" in username or not username.isprintable():
        raise wrong(destination, "username", "has a character that basic authentication does not allow")
    if username and token:
        raise wrong(destination, "username", f"and {token} exclude each other")


def check_external_labels(destination: str, labels: Collection[str]) -> None:
    """Raise `ConfigError` for a name that no external label can have."""
    for name in labels:
        if not _LABEL.fullmatch(name) or name.startswith("__") or name in RESERVED - {"env", "service", "release"}:
            raise wrong(destination, f"external_labels.{name[:60]}", "is no name for an external label")


def authorization(username: str, secret: str) -> str:
    """The header for a token, or with a user name for a password."""
    if not username:
        return f"Bearer {secret}"
    return f"Basic {base64.b64encode(f'{username}:{secret}'.encode()).decode()}"
