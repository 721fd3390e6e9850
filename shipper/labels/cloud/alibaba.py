"""Alibaba Cloud ECS: instance, image and place (Alibaba Cloud, "Instance metadata"), with a token where one is to be had."""

from __future__ import annotations

from collections.abc import Iterator

from shipper.labels.cloud.token import Dialect, WithToken
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata, NoMetadata

DIALECT = Dialect("X-aliyun-ecs-metadata-token-ttl-seconds", "X-aliyun-ecs-metadata-token")
TREE = "/latest/meta-data/"
PLACES = (("host", "metadata instance-id"), ("image", "metadata image-id"))
_ATTRIBUTES = {
    "host.id": "instance-id",
    "host.image.id": "image-id",
    "host.type": "instance/instance-type",
    "cloud.region": "region-id",
    "cloud.availability_zone": "zone-id",
    "cloud.account.id": "owner-account-id",
}
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "alibaba_cloud", "cloud.platform": "alibaba_cloud_ecs"}


def detect(around: Surroundings) -> Finding:
    """The provider."""
    return Finding(attributes=_CLOUD)


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Instance, image and place. Raises `NoMetadata`."""
    metadata = WithToken(service, DIALECT)
    said = {attribute: metadata.text(TREE + path) for attribute, path in _ATTRIBUTES.items()}
    if not said["host.id"]:
        raise NoMetadata("has no instance-id")
    candidates = (
        Candidate("host", said["host.id"], "metadata instance-id"),
        Candidate("image", said["host.image.id"], "metadata image-id"),
    )
    yield Finding(candidates, {**_CLOUD, **{key: value for key, value in said.items() if value}})
