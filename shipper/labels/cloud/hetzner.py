"""Hetzner Cloud: the server and its place (Hetzner Cloud, "Server metadata"), item by item, because the whole is YAML."""

from __future__ import annotations

from collections.abc import Iterator

from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata, NoMetadata

TREE = "/hetzner/v1/metadata/"
PLACES = (("host", "metadata hostname"),)
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "hetzner", "cloud.platform": "hetzner.cloud_server"}


def detect(around: Surroundings) -> Finding:
    """The provider."""
    return Finding(attributes=_CLOUD)


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Server, region and zone; neither image nor labels are told. Raises `NoMetadata`."""
    server, name = service.text(f"{TREE}instance-id"), service.text(f"{TREE}hostname")
    if not server:
        raise NoMetadata("has no instance-id")
    said = {
        "host.id": server,
        "host.name": name,
        "cloud.region": service.text(f"{TREE}region"),
        "cloud.availability_zone": service.text(f"{TREE}availability-zone"),
    }
    host = Candidate("host", name or server, "metadata hostname")
    yield Finding((host,), {**_CLOUD, **{key: value for key, value in said.items() if value}})
