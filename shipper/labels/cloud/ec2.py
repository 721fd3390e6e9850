"""Amazon EC2: the instance by its DMI board tag, the rest from IMDSv2 (Amazon EC2 user guide, "Instance metadata categories").

The launch template and its version are tags that EC2 itself sets on what it launches; IMDS shows tags only where
``InstanceMetadataTags`` is turned on, so that is what the note says where they are missing.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipper.labels.cloud import tags
from shipper.labels.cloud.token import Dialect, WithToken
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata, NoMetadata, json_object, plain, text_of
from shipper.labels.platform import instance_id

DIALECT = Dialect("X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token")
DATA = "/latest/meta-data/"
DOCUMENT = "/latest/dynamic/instance-identity/document"
TAGS = DATA + "tags/instance"
TEMPLATE, TEMPLATE_VERSION = "aws:ec2launchtemplate:id", "aws:ec2launchtemplate:version"
PLACES = (
    ("host", "instance identity document"),
    ("image", "instance identity document"),
    ("generation", "instance tags"),
)
_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64", "i386": "x86"}  # to the names of semconv's host.arch
# attribute -> its name in the identity document, and in the tree where the document is missing
_ATTRIBUTES = {
    "host.id": ("instanceId", "instance-id"),
    "host.image.id": ("imageId", "ami-id"),
    "host.type": ("instanceType", "instance-type"),
    "cloud.region": ("region", "placement/region"),
    "cloud.availability_zone": ("availabilityZone", "placement/availability-zone"),
    "cloud.account.id": ("accountId", ""),
}
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "aws", "cloud.platform": "aws_ec2"}


def detect(around: Surroundings) -> Finding:
    """The provider, and the instance where DMI names it (all of Nitro)."""
    instance = instance_id(around)
    if not instance.startswith("i-"):
        return Finding(attributes=_CLOUD)
    return Finding((Candidate("host", instance, "dmi board_asset_tag"),), {**_CLOUD, "host.id": instance})


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Instance, image, place and launch template. Raises `NoMetadata`."""
    insist = around.variable("AWS_EC2_METADATA_V1_DISABLED").lower() == "true"
    imds = WithToken(service, DIALECT, insist=insist)
    document = json_object(imds.get(DOCUMENT))
    found: dict[str, AttributeValue] = {}
    for attribute, (key, path) in _ATTRIBUTES.items():
        value = text_of(document, key) or (imds.text(DATA + path) if path and not document else "")
        if value:
            found[attribute] = value
    if not found:
        raise NoMetadata("has neither an identity document nor an instance id")
    if architecture := _ARCHITECTURES.get(text_of(document, "architecture")):
        found["host.arch"] = architecture
    place = "instance identity document" if document else "instance metadata"
    candidates = (
        Candidate("host", str(found.get("host.id", "")), place),
        Candidate("image", str(found.get("host.image.id", "")), place),
    )
    yield Finding(candidates, {**_CLOUD, **found})
    yield Finding(_of_tags(imds))


def _of_tags(imds: WithToken) -> tuple[Candidate, ...]:
    """What the instance's tags say. Keys are listed one a line, each is an item of its own."""
    names = plain(imds.get(TAGS)).split("\n")
    if names == [""]:
        return (Candidate("generation", "", "instance tags", "not shown: InstanceMetadataTags is off"),)
    wanted = [*tags.wanted(names), *(name for name in (TEMPLATE, TEMPLATE_VERSION) if name in names)]
    values = {name: imds.text(f"{TAGS}/{name}") for name in wanted}
    template, version = values.get(TEMPLATE, ""), values.get(TEMPLATE_VERSION, "")
    return (
        *tags.candidates(values, "instance tag"),
        Candidate("generation", f"{template}:{version}" if template and version else "", "launch template and version"),
    )
