"""Whose log a file is, going by its path: pod, container and runtime's id, where a container runtime or the kubelet made it.

- ``/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restarts>.log`` (kubelet; rotated: ``.log.20260101-120000``)
- ``/var/log/containers/<pod>_<namespace>_<container>-<id>.log`` (kubelet; a link to the above)
- ``/var/lib/docker/containers/<id>/<id>-json.log``, with what Docker knows of the container beside it

Attribute names: https://opentelemetry.io/docs/specs/semconv/registry/attributes/k8s/ and .../container/
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shipper.labels.finding import AttributeValue

_IN_PODS = re.compile(
    r"/pods/(?P<namespace>[^/_]+)_(?P<pod>[^/_]+)_(?P<uid>[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12})"
    r"/(?P<container>[^/]+)/(?P<restarts>\d+)\.log(?:\.[^/]*)?\Z"
)
_IN_CONTAINERS = re.compile(
    r"/containers/(?P<pod>[^/_]+)_(?P<namespace>[^/_]+)_(?P<container>[^/]+)-(?P<id>[0-9a-f]{64})\.log\Z"
)
_OF_DOCKER = re.compile(r"/(?P<id>[0-9a-f]{64})/(?P=id)-json\.log(?:\.[^/]*)?\Z")
_ATTRIBUTES = {
    "namespace": "k8s.namespace.name",
    "pod": "k8s.pod.name",
    "uid": "k8s.pod.uid",
    "container": "k8s.container.name",
    "restarts": "k8s.container.restart_count",
    "id": "container.id",
}
CONFIG = "config.v2.json"  # Docker's own record of a container
_KUBERNETES = {  # labels that the kubelet has Docker put on containers
    "io.kubernetes.pod.namespace": "k8s.namespace.name",
    "io.kubernetes.pod.name": "k8s.pod.name",
    "io.kubernetes.pod.uid": "k8s.pod.uid",
    "io.kubernetes.container.name": "k8s.container.name",
}
LABEL = "container.label."
LONGEST_LABEL = 256  # bytes; longer ones are documents
MOST_LABELS = 32
_MOST_CONFIG = 1 << 20


@dataclass(frozen=True, slots=True)
class Container:
    """What a path tells. ``expected``: only container runtimes and the kubelet use such places."""

    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)

    @property
    def expected(self) -> bool:
        """Whether the file is at a place that only runtimes and the kubelet use."""
        return bool(self.attributes)


def container_of(paths: Iterable[str]) -> Container:
    """What all ``paths`` of one file tell together, and, for Docker's, the file beside it. Never raises."""
    found: dict[str, AttributeValue] = {}
    for path in paths:
        for pattern in (_IN_PODS, _IN_CONTAINERS, _OF_DOCKER):
            match = pattern.search(path)
            if match is not None:
                found.update({_ATTRIBUTES[key]: value for key, value in match.groupdict().items()})
                if pattern is _OF_DOCKER:
                    found = {**docker_config(os.path.join(os.path.dirname(path), CONFIG)), **found}
    restarts = found.get("k8s.container.restart_count")
    if isinstance(restarts, str):
        found["k8s.container.restart_count"] = int(restarts[:18])
    return Container(found)


def docker_config(path: str) -> dict[str, AttributeValue]:
    """What Docker's record of a container says of its name, image and labels; nothing where it cannot be read."""
    try:
        with open(path, "rb") as file:
            config = json.loads(file.read(_MOST_CONFIG))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(config, dict):
        return {}
    inner = config.get("Config")
    inner = inner if isinstance(inner, dict) else {}
    found: dict[str, AttributeValue] = {"container.runtime.name": "docker"}
    found.update(_text("container.name", config.get("Name"), strip="/"))
    found.update(_text("container.image.id", config.get("Image")))
    found.update(_image(inner.get("Image")))
    found.update(_labels(inner.get("Labels")))
    return found


def _text(key: str, value: Any, strip: str = "") -> dict[str, AttributeValue]:
    return {key: value.strip(strip)} if isinstance(value, str) and value.strip(strip) else {}


def _image(reference: Any) -> dict[str, AttributeValue]:
    """The name of an image, and its tag apart from that."""
    if not isinstance(reference, str) or not reference:
        return {}
    name, _, _ = reference.partition("@")
    base, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:  # a port
        return {"container.image.name": name}
    return {"container.image.name": base, "container.image.tags": [tag]}


def _labels(labels: Any) -> dict[str, AttributeValue]:
    if not isinstance(labels, dict):
        return {}
    texts = {key: value for key, value in labels.items() if isinstance(value, str) and len(value) <= LONGEST_LABEL}
    found: dict[str, AttributeValue] = {own: texts[key] for key, own in _KUBERNETES.items() if texts.get(key)}
    for key in sorted(set(texts) - set(_KUBERNETES))[:MOST_LABELS]:
        found[LABEL + key] = texts[key]
    return found
