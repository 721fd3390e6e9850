"""What the Elasticsearch exporter can be told, and what is wrong with it before anything is sent."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import SecretPath
from shipper.config.units import Seconds, Size, Word
from shipper_exporters._http.settings import OURS, HttpSettings, check_http, named_endpoints, parse_url, wrong

_EXAMPLE = "https://elasticsearch.example:9200"
_SECRETS = ("api_key_file", "token_file", "username", "aws_region")
_FORBIDDEN = re.compile(r'[\\/*?"<>|,#:\s]')
_BRACES = re.compile(r"\{[^{}]*\}")


class ElasticsearchSettings(HttpSettings, frozen=True):
    """What ``options`` of a destination of type ``elasticsearch`` or ``opensearch`` may hold."""

    endpoint: Annotated[str, Meta(description="URL of the cluster, with its port.")] = ""
    endpoints: Annotated[
        list[Word], Meta(description="URLs of several nodes of one cluster; another is used when one fails.")
    ] = field(default_factory=list)
    mapping: Annotated[
        Literal["ecs", "otel"],
        Meta(description="How log records are written: Elastic Common Schema, or as OTLP has them."),
    ] = "ecs"
    dataset: Annotated[
        str,
        Meta(
            description="Second part of the data stream's name; {service.name} and the like stand for the record's resource."
        ),
    ] = "generic"
    namespace: Annotated[str, Meta(description="Third part of the data stream's name; braces as in dataset.")] = (
        "default"
    )
    index: Annotated[
        str,
        Meta(description="An index or alias to write to instead of data streams; {signal} is logs, traces or metrics."),
    ] = ""
    pipeline: Annotated[str, Meta(description="Ingest pipeline that documents go through.")] = ""
    api_key_file: Annotated[
        SecretPath,
        Meta(
            description="File with an API key, encoded or as id:key; read again when it changes. Else ELASTIC_API_KEY."
        ),
    ] = ""
    token_file: Annotated[SecretPath, Meta(description="File with a bearer token; read again when it changes.")] = ""
    username: Annotated[str, Meta(description="User name for basic authentication.")] = ""
    password_file: Annotated[SecretPath, Meta(description="File with the password; read again when it changes.")] = ""
    aws_region: Annotated[
        str, Meta(description="Region of an Amazon OpenSearch Service domain; requests are then signed.")
    ] = ""
    timeout: Annotated[Seconds, Meta(description="How long a request may stand still before it is tried again.")] = 60.0
    compression: Annotated[Literal["gzip", "none"], Meta(description="How request bodies are compressed.")] = "gzip"
    requests_per_second: Annotated[float, Meta(description="Pace of requests that are not full.", gt=0)] = 1.0
    burst: Annotated[int, Meta(description="Requests that may go at once after a pause.", ge=1)] = 20
    max_in_flight: Annotated[int, Meta(description="Requests under way at once.", ge=1, le=64)] = 4
    max_wire_bytes: Annotated[Size, Meta(description="A request of this compressed size is full.", ge=1024)] = 1 << 20
    max_body_bytes: Annotated[
        Size, Meta(description="Largest body of a bulk request before compression; more is sent in several.", ge=65536)
    ] = 8 << 20


def check(destination: str, settings: ElasticsearchSettings) -> list[URL]:
    """The nodes' URLs. Raises `ConfigError` for options that cannot work."""
    given = named_endpoints(destination, settings.endpoint, settings.endpoints, _EXAMPLE)
    urls = [_url(destination, option, one) for option, one in given]
    secrets = [option for option in _SECRETS if getattr(settings, option)]
    if len(secrets) > 1:
        raise wrong(destination, secrets[0], f"and {secrets[1]} exclude each other")
    if bool(settings.username) is not bool(settings.password_file):
        raise wrong(destination, "username", "and password_file go together")
    if ":" in settings.username or not settings.username.isprintable():
        raise wrong(destination, "username", "has a character that basic authentication does not allow")
    for option in ("dataset", "namespace", "index"):
        _check_name(destination, option, getattr(settings, option))
    if settings.index and (settings.dataset, settings.namespace) != ("generic", "default"):
        raise wrong(destination, "index", "and dataset or namespace exclude each other: those name a data stream")
    check_http(destination, settings, OURS, secrets[0] if secrets else "")
    return urls


def _url(destination: str, option: str, given: str) -> URL:
    url = parse_url(destination, option, given, _EXAMPLE)
    if url.query_string:
        raise wrong(destination, option, "has a query; give the URL of the cluster only")
    if url.path.rstrip("/").endswith("/_bulk"):
        raise wrong(destination, option, "is the URL of the cluster, /_bulk is appended; leave that part out")
    return url


def _check_name(destination: str, option: str, given: str) -> None:
    if not given and option != "index":
        raise wrong(destination, option, "must not be empty")
    fixed = _BRACES.sub("", given)
    if found := _FORBIDDEN.search(fixed):
        raise wrong(destination, option, f"has {found[0]!r}, which the name of an index cannot have")
    if fixed != fixed.lower():
        raise wrong(destination, option, "has capital letters, which the name of an index cannot have")
    if option == "dataset" and "-" in fixed:
        raise wrong(destination, option, "has a '-', which separates the parts of a data stream's name; use '_' or '.'")
    if "{" in fixed or "}" in fixed:
        raise wrong(destination, option, "has a brace that is not one of a pair, as in {service.name}")
    if option == "index" and given[:1] in ("-", "_", "+", "."):
        raise wrong(destination, option, f"begins with {given[:1]!r}, which the name of an index cannot")
