"""``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME``: what the host's owner already told OpenTelemetry.

Format (OpenTelemetry specification, resource SDK): ``key=value`` pairs separated by commas, values percent-encoded. The
specification would discard the whole variable for one bad pair; here the good ones are kept and the bad ones are said.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from shipper.labels.finding import Candidate, Finding, Surroundings

VARIABLE = "OTEL_RESOURCE_ATTRIBUTES"
# label -> attribute keys that state it, strongest first
KEYS: Mapping[str, tuple[str, ...]] = {
    "service": ("service.name",),
    "release": ("service.version",),
    "image": ("oci.manifest.digest", "host.image.id", "container.image.id"),
    "generation": ("shipper.generation",),
    "environment": ("deployment.environment.name", "deployment.environment"),
    "host": ("host.name", "k8s.pod.name"),
}


def detect(around: Surroundings) -> Finding:
    """The attributes of the variable, and what they say about labels."""
    attributes, problems = parse(around.variable(VARIABLE))
    service = around.variable("OTEL_SERVICE_NAME")  # beats service.name in the attributes (specification)
    candidates = (Candidate("service", service, "OTEL_SERVICE_NAME"), *as_candidates(attributes, VARIABLE))
    return Finding(candidates, attributes, tuple(problems))


def as_candidates(attributes: Mapping[str, str], place: str) -> list[Candidate]:
    """What a set of resource attributes says about labels."""
    return [
        Candidate(label, attributes.get(key, "").strip(), f"{place} {key}")
        for label, keys in KEYS.items()
        for key in keys
    ]


def parse(text: str) -> tuple[dict[str, str], list[str]]:
    """The well-formed pairs, and one sentence for each that is not."""
    attributes: dict[str, str] = {}
    problems: list[str] = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or not key:
            problems.append(f"{VARIABLE}: '{entry[:60]}' is not key=value, ignored")
            continue
        try:
            attributes[_decode(key)] = _decode(value)
        except UnicodeDecodeError:
            problems.append(f"{VARIABLE}: the value of '{key[:60]}' is not percent-encoded UTF-8, ignored")
    return attributes, problems


def _decode(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8")
