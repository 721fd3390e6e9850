"""A pod as the API server describes it, reduced to what tells whose its logs are. Bad or foreign objects are no pods.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CONFIG_HASH = "kubernetes.io/config.hash"
"""On the mirror of a static pod: the uid under which the kubelet runs it, and names its log directory."""

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Owner:
    """What made a pod: a ReplicaSet, a StatefulSet, a DaemonSet, a Job, ..."""

    kind: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod. ``image``: as the pod asks for it; ``image_id``: what the runtime took, empty: not known yet."""

    name: str
    image: str
    image_id: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. ``uid``: that of its log directory. ``started_ns``: when the kubelet took it on, or 0."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: Owner | None = None
    containers: Mapping[str, Container] = field(default_factory=dict)
    default: str = ""  # the container that the pod is about
    node: str = ""
    phase: str = ""
    started_ns: int = 0

    @property
    def complete(self) -> bool:
        """Whether the image is known that its main container was made from, as far as it ever will be."""
        main = self.containers.get(self.default)
        return main is None or bool(main.image_id) or self.phase in ENDED

    @property
    def ended(self) -> bool:
        """Whether none of its containers will ever run again."""
        return self.phase in ENDED


def parse_pod(raw: Any) -> Pod | None:
    """The pod in an API object; None for anything that is none."""
    metadata, spec, status = (_map(raw, key) for key in ("metadata", "spec", "status"))
    labels, annotations = _texts(metadata, "labels"), _texts(metadata, "annotations")
    uid = annotations.get(CONFIG_HASH) or _text(metadata, "uid")
    namespace, name = _text(metadata, "namespace"), _text(metadata, "name")
    if not (uid and namespace and name):
        return None
    containers = _containers(spec, status)
    return Pod(
        uid=uid,
        namespace=namespace,
        name=name,
        labels=labels,
        annotations=annotations,
        owner=_owner(metadata),
        containers=containers,
        default=_default(spec, annotations, containers),
        node=_text(spec, "nodeName"),
        phase=_text(status, "phase"),
        started_ns=_time(_text(status, "startTime")),
    )


def _containers(spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Container]:
    taken = {
        _text(one, "name"): _text(one, "imageID")
        for key in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for one in _list(status, key)
    }
    wanted = [
        one
        for key in ("containers", "initContainers", "ephemeralContainers")
        for one in _list(spec, key)
        if _text(one, "name")
    ]
    return {
        _text(one, "name"): Container(_text(one, "name"), _text(one, "image"), taken.get(_text(one, "name"), ""))
        for one in wanted
    }


def _default(spec: Mapping[str, Any], annotations: Mapping[str, str], containers: Mapping[str, Container]) -> str:
    stated = annotations.get(DEFAULT_CONTAINER, "")
    if stated in containers:
        return stated
    return next((_text(one, "name") for one in _list(spec, "containers")), "")


def _owner(metadata: Mapping[str, Any]) -> Owner | None:
    owners = [one for one in _list(metadata, "ownerReferences") if _text(one, "kind") and _text(one, "name")]
    found = next((one for one in owners if one.get("controller") is True), owners[0] if owners else None)
    return None if found is None else Owner(_text(found, "kind"), _text(found, "name"), _text(found, "uid"))


def _map(raw: Any, key: str) -> Mapping[str, Any]:
    found = raw.get(key) if isinstance(raw, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _list(raw: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = raw.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _text(raw: Mapping[str, Any], key: str) -> str:
    found = raw.get(key)
    return found if isinstance(found, str) else ""


def _texts(raw: Mapping[str, Any], key: str) -> dict[str, str]:
    return {name: value for name, value in _map(raw, key).items() if isinstance(value, str)}


def _time(text: str) -> int:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        return 0
