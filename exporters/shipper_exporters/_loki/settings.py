"""What the Loki exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import SecretPath
from shipper.config.units import Size
from shipper_exporters._http.settings import OURS, HttpSettings, check_http, parse_url, wrong
from shipper_exporters._loki.journey import LATE_LABEL

PUSH_PATH = "/loki/api/v1/push"
OTLP_PATH = "/otlp/v1/logs"
LABELS = {"service_name": "service.name", "deployment_environment_name": "deployment.environment.name"}
_EXAMPLE = "http://loki.example:3100"
_TENANT_HEADER = "x-scope-orgid"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MOST_LABELS = 10  # Loki refuses streams of more than 15; ours for late entries, and its own for shards, come on top
_ENDLESS = frozenset(
    {"shipper.life.id", "shipper.host", "service.instance.id", "host.id", "container.id", "process.pid", "k8s.pod.uid"}
)
_TENANT = re.compile(r"[A-Za-z0-9!\-_.*'()|]{1,1024}")


class LokiSettings(HttpSettings, frozen=True):
    """What ``options`` of a destination of type ``loki`` may hold."""

    endpoint: Annotated[str, Meta(description=f"Base URL; {PUSH_PATH} is appended.")] = ""
    protocol: Annotated[
        Literal["push", "otlp"], Meta(description=f"Loki's own push API, or OTLP ({OTLP_PATH} is appended).")
    ] = "push"
    tenant: Annotated[str, Meta(description="Sent as X-Scope-OrgID.")] = ""
    token_file: Annotated[SecretPath, Meta(description="File with a bearer token; read again when it changes.")] = ""
    username: Annotated[str, Meta(description="User name for basic authentication.")] = ""
    password_file: Annotated[SecretPath, Meta(description="File with the password; read again when it changes.")] = ""
    labels: Annotated[
        dict[str, str],
        Meta(
            description="Stream labels and the resource attributes they are taken from; the rest is structured metadata."
        ),
    ] = field(default_factory=lambda: dict(LABELS))
    max_push_bytes: Annotated[
        Size, Meta(description="Entries of one push before compression; a request may be several pushes.", ge=1024)
    ] = 1 << 20
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 1.0
    burst: Annotated[int, Meta(description="Requests that may go at once after a pause.", ge=1)] = 20
    max_in_flight: Annotated[int, Meta(description="Requests under way at once.", ge=1, le=64)] = 4
    max_wire_bytes: Annotated[Size, Meta(description="A request of this compressed size is full.", ge=1024)] = 1 << 20


def check(destination: str, settings: LokiSettings) -> URL:
    """The URL that logs go to. Raises `ConfigError` for options that cannot work."""
    if not settings.endpoint:
        raise wrong(destination, "endpoint", f"is missing, for example {_EXAMPLE}")
    base = parse_url(destination, "endpoint", settings.endpoint, _EXAMPLE)
    path = base.path.rstrip("/")
    if path.endswith((PUSH_PATH, OTLP_PATH, "/otlp")) or base.query_string:
        raise wrong(destination, "endpoint", "is the base URL, the path is appended; leave that part out")
    _check_labels(destination, settings)
    if settings.tenant and not _TENANT.fullmatch(settings.tenant):
        raise wrong(destination, "tenant", "has a character that Loki does not allow in a tenant")
    if bool(settings.username) is not bool(settings.password_file):
        raise wrong(destination, "username", "and password_file go together")
    if ":" in settings.username or not settings.username.isprintable():
        raise wrong(destination, "username", "has a character that basic authentication does not allow")
    if settings.username and settings.token_file:
        raise wrong(destination, "username", "and token_file exclude each other")
    secret = "token_file" if settings.token_file else "username" if settings.username else ""
    check_http(destination, settings, OURS | ({_TENANT_HEADER} if settings.tenant else set()), secret)
    appended = OTLP_PATH if settings.protocol == "otlp" else PUSH_PATH
    return base.with_path(base.raw_path.rstrip("/") + appended, encoded=True)  # what is encoded in it stays so


def _check_labels(destination: str, settings: LokiSettings) -> None:
    if settings.protocol == "otlp" and settings.labels != LABELS:
        raise wrong(destination, "labels", "are Loki's to choose with protocol otlp (limits_config.otlp_config)")
    if len(settings.labels) > _MOST_LABELS:
        raise wrong(
            destination, "labels", f"are more than {_MOST_LABELS}: every combination of values is a stream to Loki"
        )
    for label, attribute in settings.labels.items():
        option = f"labels.{label[:60]}"
        if not _LABEL.fullmatch(label) or label.startswith("__") or label == LATE_LABEL:
            raise wrong(destination, option, "is no name for a stream label")
        if attribute in _ENDLESS:
            raise wrong(
                destination,
                option,
                f"{attribute} makes a stream of every host; it is structured metadata, and found as that",
            )
