"""Google Compute Engine: instance, zone, image, and the instance template it was made from (Compute Engine, "About VM metadata").

Items are asked one by one: a recursive answer carries start-up scripts and keys, which may be large and are none of our
business. Every genuine answer has the header ``Metadata-Flavor: Google``.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipper.labels.cloud import tags
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.metadata import Answer, Metadata, NoMetadata, one_line, plain

TREE = "/computeMetadata/v1/"
FLAVOR = {"Metadata-Flavor": "Google"}
TEMPLATE, CREATED_BY, CLUSTER = "instance-template", "created-by", "cluster-name"
PLACES = (("host", "metadata instance/name"), ("image", "metadata instance/image"), ("generation", "instance template"))
_CLOUD: dict[str, AttributeValue] = {"cloud.provider": "gcp"}
_MANAGER = "gcp.gce.instance_group_manager."


def detect(around: Surroundings) -> Finding:
    """The provider, and its platform: in a pod there this is GKE."""
    return Finding(attributes={**_CLOUD, "cloud.platform": _platform(around)})


def ask(around: Surroundings, service: Metadata) -> Iterator[Finding]:
    """Instance, place, image, template and group. Raises `NoMetadata`."""
    instance = ask_for(service, "instance/id")
    if not instance:
        raise NoMetadata("has no instance/id")
    name, zone = ask_for(service, "instance/name"), last_part(ask_for(service, "instance/zone"))
    image = ask_for(service, "instance/image")
    said = {
        "host.id": instance,
        "host.name": name,
        "gcp.gce.instance.name": name,
        "gcp.gce.instance.hostname": ask_for(service, "instance/hostname"),
        "host.type": last_part(ask_for(service, "instance/machine-type")),
        "host.image.id": image,
        "host.image.name": last_part(image),
        "cloud.availability_zone": zone,
        "cloud.region": zone.rpartition("-")[0],
        "cloud.account.id": ask_for(service, "project/project-id"),
    }
    attributes: dict[str, AttributeValue] = {**_CLOUD, "cloud.platform": _platform(around)}
    attributes.update({key: value for key, value in said.items() if value})
    candidates = (
        Candidate("host", name or instance, "metadata instance/name"),
        Candidate("image", last_part(image), "metadata instance/image"),
    )
    yield Finding(candidates, attributes)
    custom = _attributes(service)
    template = Candidate("generation", last_part(custom.get(TEMPLATE, "")), "instance template")
    cluster = {"k8s.cluster.name": custom[CLUSTER]} if CLUSTER in custom else {}
    yield Finding(
        (*tags.candidates(custom, "metadata attribute"), template), {**_manager(custom.get(CREATED_BY, "")), **cluster}
    )


def ask_for(service: Metadata, path: str) -> str:
    """One item of Google's tree; empty where there is none. Raises `NoMetadata`, also for an answer that is not Google's."""
    return one_line(_genuine(service.get(TREE + path, FLAVOR)))


def last_part(path: str) -> str:
    """``us-central1-a`` of ``projects/1234/zones/us-central1-a``."""
    return path.rpartition("/")[2]


def _genuine(answer: Answer) -> Answer:
    if answer.headers.get("metadata-flavor", "").lower() != "google":
        raise NoMetadata("answered without Metadata-Flavor: Google")
    return answer


def _attributes(service: Metadata) -> dict[str, str]:
    """Those custom attributes that say something of interest."""
    names = plain(_genuine(service.get(f"{TREE}instance/attributes/", FLAVOR))).split("\n")
    wanted = [*(name for name in (TEMPLATE, CREATED_BY, CLUSTER) if name in names), *tags.wanted(names)]
    return {name: ask_for(service, f"instance/attributes/{name}") for name in wanted}


def _manager(created_by: str) -> dict[str, str]:
    """``projects/1234/zones/us-central1-a/instanceGroupManagers/web``, or ``regions`` for a regional one."""
    parts = created_by.split("/")
    if len(parts) != 6 or parts[4] != "instanceGroupManagers":
        return {}
    kind = {"zones": "zone", "regions": "region"}.get(parts[2])
    return {f"{_MANAGER}name": parts[5], **({f"{_MANAGER}{kind}": parts[3]} if kind else {})}


def _platform(around: Surroundings) -> str:
    return "gcp_kubernetes_engine" if around.variable("KUBERNETES_SERVICE_HOST") else "gcp_compute_engine"
