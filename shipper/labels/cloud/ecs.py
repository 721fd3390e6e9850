"""Amazon ECS and Fargate: task, family and revision, and the digest of the image (ECS task metadata endpoint version 4).

The agent says for every container which image it runs, with its digest: the only platform that tells that from within.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shipper.labels.cloud import tags
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.image import digest_of
from shipper.labels.metadata import Metadata, NoMetadata, json_object, text_of

PLACES = (("image", "task metadata"), ("generation", "task metadata"), ("host", "task metadata"))
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "aws", "cloud.platform": "aws_ecs"}
_OCI = "org.opencontainers.image."  # the image's own labels, by the OCI image specification
# containers that the platform adds to a task
_PLATFORMS_OWN = ("~internal~", "ecs-service-connect", "aws-guardduty-agent")


def detect(around: Surroundings) -> Finding:
    """The provider, the region, and on what the task runs, from the variables that ECS sets."""
    attributes = dict(_CLOUD)
    if region := around.variable("AWS_REGION", "AWS_DEFAULT_REGION"):
        attributes["cloud.region"] = region
    launch = around.variable("AWS_EXECUTION_ENV")
    if launch in ("AWS_ECS_EC2", "AWS_ECS_FARGATE"):
        attributes["aws.ecs.launchtype"] = launch.removeprefix("AWS_ECS_").lower()
    return Finding(attributes=attributes)


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Task, cluster, zone, image and task definition. Raises `NoMetadata`."""
    task = json_object(service.get("/task"))
    arn = text_of(task, "TaskARN")
    if not arn:
        raise NoMetadata("says nothing of a task")
    attributes = {**_CLOUD, **_of_arn(arn, text_of(task, "Cluster"))}
    family, revision = text_of(task, "Family"), text_of(task, "Revision")
    said = {
        "aws.ecs.task.arn": arn,
        "aws.ecs.task.id": arn.rpartition("/")[2],
        "aws.ecs.task.family": family,
        "aws.ecs.task.revision": revision,
        "aws.ecs.launchtype": text_of(task, "LaunchType").lower(),
        "cloud.availability_zone": text_of(task, "AvailabilityZone"),
    }
    attributes.update({key: value for key, value in said.items() if value})
    served = _served(task, text_of(json_object(service.get("")), "DockerId"))
    labels = _labels(served)
    if revision_of_source := labels.get(f"{_OCI}revision"):
        attributes["vcs.ref.head.revision"] = revision_of_source
    candidates = (
        _image(served),
        *tags.candidates(labels, "container label"),
        Candidate("generation", f"{family}:{revision}" if family and revision else "", "task definition and revision"),
        Candidate("host", arn.rpartition("/")[2], "task ARN"),
    )
    fallbacks = (
        Candidate("service", text_of(task, "ServiceName"), "task metadata ServiceName"),
        Candidate("service", family, "task definition"),
        Candidate("release", labels.get(f"{_OCI}version", ""), f"container label {_OCI}version"),
    )
    yield Finding(candidates, attributes, fallbacks=fallbacks)


def _of_arn(arn: str, cluster: str) -> dict[str, AttributeValue]:
    """Region, account and cluster: ``arn:aws:ecs:REGION:ACCOUNT:task/...``; the cluster is a name or an ARN."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "ecs":
        return {}
    attributes: dict[str, AttributeValue] = {"cloud.region": parts[3], "cloud.account.id": parts[4]}
    if cluster:
        whole = cluster if cluster.startswith("arn:") else ":".join((*parts[:5], f"cluster/{cluster}"))
        attributes["aws.ecs.cluster.arn"] = whole
    return attributes


def _served(task: dict[str, Any], own: str) -> list[dict[str, Any]]:
    """The containers that are served: those beside ours, else ours; not what the platform itself puts into a task."""
    listed = task.get("Containers")
    containers = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    work = [one for one in containers if not text_of(one, "Name").startswith(_PLATFORMS_OWN)]
    return [one for one in work if text_of(one, "DockerId") != own] or work


def _image(served: list[dict[str, Any]]) -> Candidate:
    """The image of what is served; not guessed where there are several."""
    images = sorted({_reference(one) for one in served} - {""})
    if len(images) == 1:
        return Candidate("image", images[0], "task metadata")
    note = f"{len(images)} containers with images of their own; say which one with SHIPPER_IMAGE" if images else ""
    return Candidate("image", "", "task metadata", note)


def _reference(container: dict[str, Any]) -> str:
    image, digest = text_of(container, "Image"), text_of(container, "ImageID")
    return f"{image}@{digest}" if image and digest_of(digest) and not digest_of(image) else image


def _labels(served: list[dict[str, Any]]) -> dict[str, str]:
    """The labels of the only container that is served: those of its task definition and those of its image."""
    labels = served[0].get("Labels") if len(served) == 1 else None
    return {name: text_of(labels, name) for name in labels} if isinstance(labels, dict) else {}
