"""Who a pod is, and each of its containers: from what the API server says of it, or from the name of its log directory alone.

A pod's generation is the hash of its template, which the Deployment, StatefulSet or DaemonSet that made it puts on it as a
label. What somebody stated comes first: annotations ``shipper.io/<label>``, for one container ``shipper.io/<label>.<container>``,
then ``resource.opentelemetry.io/<attribute>`` (semantic conventions, "Specify resource attributes using Kubernetes annotations").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from shipper.labels.finding import LABELS, AttributeValue, Candidate
from shipper.labels.identity import UNKNOWN_SERVICE, Identity, Label
from shipper.labels.image import digest_of
from shipper.labels.resource_attributes import KEYS
from shipper.node.places import Place
from shipper.node.pod import Container, Pod

STATED = "shipper.io/"
OPENTELEMETRY = "resource.opentelemetry.io/"
_HASHES = ("pod-template-hash", "controller-revision-hash")
_OF_REPLICASET = re.compile(r"(?P<deployment>.+)-[4-9bcdf]{6,10}")  # a template's hash, in digits that form no words
_OF_CRONJOB = re.compile(r"(?P<cronjob>.+)-\d{8,11}")  # the minute for which a job was made
_RUNTIME = re.compile(r"^[a-z-]+://")  # as in docker-pullable://
_OF_NODE = ("cloud.", "host.id", "host.type", "host.arch", "k8s.node.", "k8s.cluster.")


def of_node(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """What is true of every pod of a node, out of the attributes of the node agent itself."""
    return {key: value for key, value in attributes.items() if key.startswith(_OF_NODE)}


def identify(
    place: Place,
    pod: Pod | None,
    *,
    environment: str = "",
    node: Mapping[str, AttributeValue] | None = None,
) -> tuple[Identity, dict[str, Identity]]:
    """The pod's identity, and that of each container the pod has. ``environment``: that of its namespace, or the node's."""
    if pod is None:
        return _of_place(place, environment, node or {}), {}
    main = pod.containers.get(pod.default)
    own = _of_container(pod, main, environment, node or {}, own="")
    return own, {
        name: _of_container(pod, container, environment, node or {}, own=name)
        for name, container in pod.containers.items()
    }


def _of_place(place: Place, environment: str, node: Mapping[str, AttributeValue]) -> Identity:
    candidates = [
        Candidate("environment", environment, "namespace or node"),
        Candidate("host", place.name, "pod name"),
    ]
    extra = {**node, **_pod_attributes(place.namespace, place.name, place.uid)}
    said = f"the API server did not say who pod {place.namespace}/{place.name} is; its log directory has to do"
    return Identity.of(_labels(candidates), extra=extra, in_container=True, problems=(said,))


def _of_container(
    pod: Pod, container: Container | None, environment: str, node: Mapping[str, AttributeValue], *, own: str
) -> Identity:
    image = _image(container)
    tag = _tag(container.image) if container is not None else ""
    stated = {
        key.removeprefix(OPENTELEMETRY): value
        for key, value in pod.annotations.items()
        if key.startswith(OPENTELEMETRY) and value
    }
    workload = _workload(pod)
    candidates = [
        *(_annotation(pod, label, f".{own}") for label in LABELS if own),
        *(_annotation(pod, label) for label in LABELS),
        *(Candidate(label, stated.get(key, ""), f"annotation {key}") for label, keys in KEYS.items() for key in keys),
        *(_of_label(pod, "generation", key) for key in _HASHES),
        *(_of_label(pod, "service", key) for key in ("app.kubernetes.io/name", "app")),
        Candidate("service", workload, "what made the pod"),
        _of_label(pod, "release", "app.kubernetes.io/version"),
        Candidate("release", tag, "image tag"),
        Candidate("image", image, "image of the container"),
        Candidate("generation", digest_of(image), "image digest"),
        Candidate("environment", environment, "namespace or node"),
        Candidate("host", pod.name, "pod name"),
    ]
    labels = _labels(candidates)
    if not labels["generation"].value and labels["release"].value:
        labels["generation"] = Label("generation", labels["release"].value, "release")
    extra = {
        **node,
        **_pod_attributes(pod.namespace, pod.name, pod.uid),
        **_owners(pod),
        **({"k8s.node.name": pod.node} if pod.node else {}),
        **({"k8s.pod.start_time": _rfc3339(pod.started_ns)} if pod.started_ns else {}),
        **({"k8s.container.name": own} if own else {}),
        **stated,
    }
    return Identity.of(labels, extra=extra, in_container=True)


def _pod_attributes(namespace: str, name: str, uid: str) -> dict[str, AttributeValue]:
    # A pod's host name is its own name, as a sidecar inside of it would see it.
    return {"k8s.namespace.name": namespace, "k8s.pod.name": name, "k8s.pod.uid": uid, "host.name": name}


def _annotation(pod: Pod, label: str, container: str = "") -> Candidate:
    key = f"{STATED}{label}{container}"
    return Candidate(label, pod.annotations.get(key, "").strip(), f"annotation {key}")


def _of_label(pod: Pod, label: str, key: str) -> Candidate:
    return Candidate(label, pod.labels.get(key, "").strip(), f"pod label {key}")


def _labels(candidates: Iterable[Candidate]) -> dict[str, Label]:
    every = list(candidates)
    labels = {}
    for name in LABELS:
        tried = tuple(one for one in every if one.label == name)
        found = next((one for one in tried if one.value), None)
        labels[name] = Label(name, found.value, found.place, tried) if found else Label(name, "", "not found", tried)
    if not labels["service"].value:
        labels["service"] = Label("service", UNKNOWN_SERVICE, "default", labels["service"].tried)
    return labels


def _image(container: Container | None) -> str:
    """The image with the digest that the runtime took, under the name by which the pod asks for it."""
    if container is None:
        return ""
    digest = digest_of(_RUNTIME.sub("", container.image_id))
    name = container.image.partition("@")[0]
    tag = _tag(name)
    base = name.removesuffix(f":{tag}") if tag else name
    return f"{base}@{digest}" if digest and base else container.image


def _tag(image: str) -> str:
    """The tag of a reference; ``latest`` tells nothing."""
    _, colon, tag = image.partition("@")[0].rpartition(":")
    return tag if colon and "/" not in tag and tag != "latest" else ""


def _workload(pod: Pod) -> str:
    """The name of what somebody deployed: the Deployment above a ReplicaSet, the CronJob above a Job."""
    owners = _owners(pod)
    for kind in ("deployment", "cronjob", "statefulset", "daemonset", "replicaset", "job"):
        if name := owners.get(f"k8s.{kind}.name"):
            return str(name)
    # A static pod belongs to its node, which its name ends with.
    if pod.owner is not None and pod.owner.kind == "Node":
        return pod.name.removesuffix(f"-{pod.owner.name}")
    return pod.owner.name if pod.owner is not None else pod.name


def _owners(pod: Pod) -> dict[str, AttributeValue]:
    owner = pod.owner
    if owner is None or owner.kind not in ("ReplicaSet", "StatefulSet", "DaemonSet", "Job"):
        return {}
    key = f"k8s.{owner.kind.lower()}"
    found: dict[str, AttributeValue] = {f"{key}.name": owner.name, **({f"{key}.uid": owner.uid} if owner.uid else {})}
    hash_ = pod.labels.get("pod-template-hash", "")
    if owner.kind == "ReplicaSet":
        match = _OF_REPLICASET.fullmatch(owner.name)
        if hash_ and owner.name.endswith(f"-{hash_}"):
            found["k8s.deployment.name"] = owner.name.removesuffix(f"-{hash_}")
        elif match:
            found["k8s.deployment.name"] = match["deployment"]
    if owner.kind == "Job" and (match := _OF_CRONJOB.fullmatch(owner.name)):
        found["k8s.cronjob.name"] = match["cronjob"]
    return found


def _rfc3339(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
