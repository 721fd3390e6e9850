"""The labels of a host as they stand in a resource, by the names people use for them."""

from __future__ import annotations

from collections.abc import Mapping

from shipper.otlp.encode import AttributeValue

# label -> resource attributes that carry it, the most telling first
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "release": ("service.version",),
    "image": ("container.image.repo_digests", "oci.manifest.digest", "host.image.id", "host.image.version"),
    "generation": ("shipper.generation",),
    "environment": ("deployment.environment.name", "deployment.environment"),
    "host": ("host.name", "host.id"),
    "service": ("service.name",),
}
LIFE = "shipper.life.id"


def labels_of(resource: Mapping[str, AttributeValue]) -> dict[str, str]:
    """The labels that a resource carries."""
    labels: dict[str, str] = {}
    for label, names in ATTRIBUTES.items():
        for name in names:
            value = resource.get(name)
            if value not in (None, "", []):
                labels[label] = str(value[0] if isinstance(value, list) else value)
                break
    return labels


def named(life: str, wanted: str) -> bool:
    """True when ``wanted`` is the life's id or how it begins or ends (tables show the end); an empty one is any life."""
    return life.startswith(wanted) or life.endswith(wanted)
