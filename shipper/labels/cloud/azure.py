"""Azure virtual machines: the Instance Metadata Service's ``compute`` (Microsoft, "Azure Instance Metadata Service").

``compute`` is asked for in the last version that carries no user data, which may be large and secret; the image again in a
newer one, which tells what a scale set's "latest" came to. A scale set's model has no version that a machine could see: a
generation is a tag, or what the image and the release say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shipper.labels.cloud import tags
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata, NoMetadata, json_object, text_of

METADATA = {"Metadata": "true"}
COMPUTE = "/metadata/instance/compute?api-version=2020-09-01&format=json"
IMAGE = "/metadata/instance/compute/storageProfile/imageReference?api-version=2025-04-07&format=json"
PLACES = (("host", "metadata compute.name"), ("image", "metadata imageReference"), ("generation", "tags"))
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "azure", "cloud.platform": "azure.vm"}


def detect(around: Surroundings) -> Finding:
    """The provider."""
    return Finding(attributes=_CLOUD)


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Machine, place, image and tags. Raises `NoMetadata`."""
    compute = json_object(service.get(COMPUTE, METADATA))
    machine = text_of(compute, "vmId")
    if not machine:
        raise NoMetadata("says nothing of a virtual machine")
    reference = _reference(compute, service)
    image = _image(reference)
    said = {
        "host.id": machine,
        "host.name": text_of(compute, "name"),
        "host.type": text_of(compute, "vmSize"),
        "host.image.id": text_of(reference, "id") or image,
        "host.image.version": _version(reference),
        "cloud.region": text_of(compute, "location"),
        "cloud.availability_zone": text_of(compute, "zone"),
        "cloud.account.id": text_of(compute, "subscriptionId"),
        "cloud.resource_id": text_of(compute, "resourceId"),
        "azure.resource_group.name": text_of(compute, "resourceGroupName"),
    }
    attributes = {**_CLOUD, **{key: value for key, value in said.items() if value}}
    candidates = (
        Candidate("host", text_of(compute, "name") or machine, "metadata compute.name"),
        Candidate("image", image, "metadata imageReference"),
        *tags.candidates(_tags(compute), "tag"),
    )
    yield Finding(candidates, attributes)


def _reference(compute: dict[str, Any], service: Metadata) -> dict[str, Any]:
    """Which image it is, as exactly as the platform says."""
    profile = compute.get("storageProfile")
    old = profile.get("imageReference") if isinstance(profile, dict) else None
    try:
        new = json_object(service.get(IMAGE, METADATA))
    except NoMetadata:  # not everywhere is that version known
        new = {}
    return new or (old if isinstance(old, dict) else {})


def _image(reference: dict[str, Any]) -> str:
    """``web:1.4.0`` of a gallery's image, ``web`` of a managed one, else publisher:offer:sku:version of the marketplace."""
    version = _version(reference)
    if identity := text_of(reference, "id"):
        name, _, stated = identity.rpartition("/images/")[2].partition("/versions/")
        return ":".join(filter(None, (name, stated or version)))
    urn = [text_of(reference, key) for key in ("publisher", "offer", "sku")]
    return ":".join((*urn, version)) if all(urn) and version else ""


def _version(reference: dict[str, Any]) -> str:
    version = text_of(reference, "exactVersion") or text_of(reference, "version")
    return "" if version == "latest" else version


def _tags(compute: dict[str, Any]) -> dict[str, str]:
    listed = compute.get("tagsList")
    pairs = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {text_of(pair, "name"): text_of(pair, "value") for pair in pairs}
