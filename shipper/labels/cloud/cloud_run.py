"""Google Cloud Run, services and jobs: the container runtime contract's variables, and the instance from the metadata server."""

from __future__ import annotations

from collections.abc import Iterator

from shipper.labels.cloud.gce import ask_for, last_part
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata

PLACES = (("host", "metadata instance/id"),)
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "gcp", "cloud.platform": "gcp_cloud_run"}


def detect(around: Surroundings) -> Finding:
    """Service or job, and the revision, of which every deploy makes a new one."""
    service, revision = around.variable("K_SERVICE", "CLOUD_RUN_JOB"), around.variable("K_REVISION")
    said = {
        "faas.name": service,
        "faas.version": revision,
        "gcp.cloud_run.job.execution": around.variable("CLOUD_RUN_EXECUTION"),
    }
    attributes = {**_CLOUD, **{key: value for key, value in said.items() if value}}
    if (index := around.variable("CLOUD_RUN_TASK_INDEX")).isascii() and index.isdecimal():
        attributes["gcp.cloud_run.job.task_index"] = int(index)
    name = "K_SERVICE" if around.variable("K_SERVICE") else "CLOUD_RUN_JOB"
    return Finding(
        (Candidate("generation", revision, "K_REVISION"),),
        attributes,
        fallbacks=(Candidate("service", service, name),),
    )


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Instance, region and project. Raises `NoMetadata`."""
    said = {
        "faas.instance": ask_for(service, "instance/id"),
        "cloud.region": last_part(ask_for(service, "instance/region")),
        "cloud.account.id": ask_for(service, "project/project-id"),
    }
    instance = Candidate("host", said["faas.instance"], "metadata instance/id")
    yield Finding((instance,), {key: value for key, value in said.items() if value})
