"""OpenStack: the instance, its zone and what its owner put into ``meta`` (Nova, "Metadata service")."""

from __future__ import annotations

from collections.abc import Iterator

from shipper.labels.cloud import tags
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata, NoMetadata, json_object, text_of

DATA = "/openstack/latest/meta_data.json"
FLAVOR = "/latest/meta-data/instance-type"  # only the part of it that is compatible with EC2 has it
PLACES = (("host", "meta_data.json name"), ("generation", "meta"))
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "openstack"}


def detect(around: Surroundings) -> Finding:
    """The provider."""
    return Finding(attributes=_CLOUD)


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Instance, zone, project, flavor and ``meta``; the image is not told. Raises `NoMetadata`."""
    data = json_object(service.get(DATA))
    instance, name = text_of(data, "uuid"), text_of(data, "name")
    if not instance:
        raise NoMetadata("says nothing of an instance")
    said = {
        "host.id": instance,
        "host.name": name,
        "host.type": service.text(FLAVOR),
        "cloud.availability_zone": text_of(data, "availability_zone"),
        "cloud.account.id": text_of(data, "project_id"),
    }
    meta = data.get("meta")
    stated = {key: text_of(meta, key) for key in meta} if isinstance(meta, dict) else {}
    candidates = (Candidate("host", name or instance, "meta_data.json name"), *tags.candidates(stated, "meta"))
    yield Finding(candidates, {**_CLOUD, **{key: value for key, value in said.items() if value}})
