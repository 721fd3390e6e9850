"""What Datadog's users filter by: the unified service tags, the host, and Shipper's identity as tags.

https://docs.datadoghq.com/getting_started/tagging/unified_service_tagging/ : ``env``, ``service`` and ``version`` join logs,
traces and metrics. What the resource says besides becomes attributes of the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.otlp.encode import AttributeValue

UNIFIED: Mapping[str, tuple[str, ...]] = {
    "env": ("deployment.environment.name", "deployment.environment"),
    "service": ("service.name",),
    "version": ("service.version",),
}
TAGGED = (
    "shipper.generation",
    "shipper.life.id",
    "shipper.host",
    "host.id",
    "host.image.id",
    "host.image.name",
    "host.image.version",
    "container.image.name",
    "container.image.tags",
    "container.image.repo_digests",
    "oci.manifest.digest",
)
HOST = ("host.name", "shipper.host", "host.id")
DEFAULT_SOURCE = "shipper"

_LONGEST = 200  # characters of a tag
_NOT_ALLOWED = re.compile(r"[\s,]")
_UNKNOWN_SERVICE = "unknown_service"


@dataclass(frozen=True)
class Tagging:
    """What settings and environment say; empty: not said. ``unified`` stands in for what a record does not know."""

    hostname: str = ""
    source: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)

    def reserved(self, resource: Mapping[str, AttributeValue]) -> dict[str, str]:
        """The reserved attributes of all logs of a resource: ``ddsource``, ``ddtags``, ``hostname`` and ``service``."""
        known = {name: first(resource, keys) or self.unified.get(name, "") for name, keys in UNIFIED.items()}
        if known["service"].startswith(_UNKNOWN_SERVICE) and "service" in self.unified:
            known["service"] = self.unified["service"]
        tags = {**self.tags, **{name: value for name, value in known.items() if value}}
        for key in TAGGED:
            if text := _text(resource.get(key)):
                tags[key] = text
        found = {
            "ddsource": self.source or first(resource, ("telemetry.sdk.language",)) or DEFAULT_SOURCE,
            "ddtags": ",".join(_tag(key, value) for key, value in tags.items()),
            "hostname": self.hostname or first(resource, HOST),
            "service": known["service"],
        }
        return {key: value for key, value in found.items() if value}


def remaining(resource: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """What of a resource is in no tag."""
    gone = {*TAGGED, *(key for keys in UNIFIED.values() for key in keys)}
    return {key: value for key, value in resource.items() if key not in gone}


def first(resource: Mapping[str, AttributeValue], keys: tuple[str, ...]) -> str:
    """The first of the attributes that is there, as text."""
    return next((value for key in keys if isinstance(value := resource.get(key), str) and value), "")


def _text(value: AttributeValue) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _tag(key: str, value: str) -> str:
    return (f"{key}:{_NOT_ALLOWED.sub('_', value)}" if value else key)[:_LONGEST]
