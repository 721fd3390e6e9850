"""Kubernetes: what the downward API was told to pass on, by variables or as files in ``/etc/podinfo``; the cluster is not asked.

A Deployment's pods carry the hash of their template as a label, and in their name: so the generation is known even where
nothing was set up, because a pod's host name is its name. The hash is the same again after a rollback to the same template;
telling the two episodes apart is the fleet's work.
"""

from __future__ import annotations

import json
import re

from shipper.labels.container import pod_uid
from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.machine import host_name
from shipper.labels.resource_attributes import as_candidates

LABELS_FILE, ANNOTATIONS_FILE = "/etc/podinfo/labels", "/etc/podinfo/annotations"
NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
STATED = "resource.opentelemetry.io/"
"""Annotations of this prefix state a resource attribute (semconv, "Specify resource attributes using Kubernetes annotations")."""

VARIABLES: dict[str, tuple[str, ...]] = {
    "k8s.pod.name": ("SHIPPER_POD_NAME", "POD_NAME", "K8S_POD_NAME", "MY_POD_NAME"),
    "k8s.namespace.name": ("SHIPPER_POD_NAMESPACE", "POD_NAMESPACE", "K8S_NAMESPACE", "MY_POD_NAMESPACE"),
    "k8s.node.name": ("SHIPPER_NODE_NAME", "NODE_NAME", "K8S_NODE_NAME", "MY_NODE_NAME"),
    "k8s.cluster.name": ("SHIPPER_CLUSTER_NAME", "K8S_CLUSTER_NAME"),
}
"""The variables that are read, for each attribute; the first that is set wins."""

_HASHES = ("pod-template-hash", "controller-revision-hash")
# a template's hash is a 32-bit number in digits that cannot form words; random suffixes are five letters of more of these
_OF_DEPLOYMENT = re.compile(r"(?P<deployment>.+)-(?P<hash>[4-9bcdf]{6,10})-[bcdfghjklmnpqrstvwxz2456789]{5}")


def detect(around: Surroundings) -> Finding:
    """Pod, node, namespace, workload, and the hash of the pod's template."""
    attributes: dict[str, AttributeValue] = {}
    for attribute, names in VARIABLES.items():
        if value := around.variable(*names):
            attributes[attribute] = value
    if namespace := around.read_or_empty(NAMESPACE_FILE):
        attributes.setdefault("k8s.namespace.name", namespace)
    if uid := pod_uid(around):
        attributes["k8s.pod.uid"] = uid
    labels, annotations = (_read(around, name) for name in (LABELS_FILE, ANNOTATIONS_FILE))
    stated = {key.removeprefix(STATED): value for key, value in annotations.items() if key.startswith(STATED)}
    pod = str(attributes.get("k8s.pod.name", ""))
    attributes.update(_workload(labels, pod))
    attributes.update(stated)
    name, place = (pod, "pod name") if pod else (host_name(around), "host name")
    candidates = (
        *(one for one in as_candidates(stated, "annotation") if one.value),
        Candidate("generation", around.variable("K_REVISION"), "K_REVISION"),  # set by Knative
        *(_of_label(labels, "generation", key) for key in _HASHES),
        Candidate("generation", _hash(name), f"{place} (its template's hash)"),
        Candidate("host", pod, "pod name"),
    )
    fallbacks = (
        _of_label(labels, "release", "app.kubernetes.io/version"),
        _of_label(labels, "service", "app.kubernetes.io/name"),
        Candidate("service", around.variable("K_SERVICE"), "K_SERVICE"),
        Candidate("service", str(attributes.get("k8s.deployment.name", "")), "deployment's name"),
    )
    return Finding(candidates, attributes, fallbacks=fallbacks)


def _hash(pod: str) -> str:
    match = _OF_DEPLOYMENT.fullmatch(pod)
    return match["hash"] if match else ""


def _workload(labels: dict[str, str], pod: str) -> dict[str, AttributeValue]:
    """ReplicaSet and Deployment, where the pod's name shows them; a label that says otherwise is believed."""
    match = _OF_DEPLOYMENT.fullmatch(pod)
    if not match or labels.get("pod-template-hash", match["hash"]) != match["hash"]:
        return {}
    return {
        "k8s.deployment.name": match["deployment"],
        "k8s.replicaset.name": f"{match['deployment']}-{match['hash']}",
    }


def _of_label(labels: dict[str, str], label: str, key: str) -> Candidate:
    return Candidate(label, labels.get(key, ""), f"pod label {key}", "" if labels else f"no {LABELS_FILE}")


def _read(around: Surroundings, name: str) -> dict[str, str]:
    """A file of a downwardAPI volume: ``key="value"`` a line, the value quoted as Go does. Other lines are passed over."""
    values: dict[str, str] = {}
    for line in around.read_or_empty(name).splitlines():
        key, equals, quoted = line.strip().partition("=")
        try:
            value = json.loads(quoted) if equals else None
        except ValueError:
            continue
        if isinstance(value, str) and value.strip():
            values[key] = value.strip()
    return values
