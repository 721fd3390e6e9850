"""DigitalOcean: the droplet, its region and its tags (DigitalOcean, "Droplet Metadata API"), item by item.

A tag there is one word without a value, so ``shipper:generation:42`` states a generation.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipper.labels.cloud import tags
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata, NoMetadata, plain

TREE = "/metadata/v1/"
PLACES = (("host", "metadata hostname"), ("generation", "droplet tag"))
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "digitalocean"}


def detect(around: Surroundings) -> Finding:
    """The provider."""
    return Finding(attributes=_CLOUD)


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Droplet, region and tags. Raises `NoMetadata`."""
    droplet, name = service.text(f"{TREE}id"), service.text(f"{TREE}hostname")
    if not droplet:
        raise NoMetadata("has no droplet id")
    said = {"host.id": droplet, "host.name": name, "cloud.region": service.text(f"{TREE}region")}
    words = (word.strip().rpartition(":") for word in plain(service.get(f"{TREE}tags/")).split("\n"))
    stated = {key: value for key, colon, value in words if colon}
    candidates = (Candidate("host", name or droplet, "metadata hostname"), *tags.candidates(stated, "droplet tag"))
    yield Finding(candidates, {**_CLOUD, **{key: value for key, value in said.items() if value}})
