"""Whether this is a container, and which: container id and pod uid, read from the kernel's own tables.

cgroup v1 (and v2 without a cgroup namespace) shows the id in ``/proc/self/cgroup``. With a namespace that file only says
``0::/``; then the bind mounts a runtime makes for ``/etc/hosts`` and its like still show whose they are in mountinfo.
"""

from __future__ import annotations

import re

from shipper.labels.finding import AttributeValue, Finding, Surroundings

_CONTAINER_ID = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_ECS_ID = re.compile(r"/ecs/(?:[^/]+/)?([0-9a-f]{32}-\d+)(?:/|$)")
_POD_IN_CGROUP = re.compile(r"pod([0-9a-f]{8}(?:[-_]?[0-9a-f]{4}){3}[-_]?[0-9a-f]{12})")
_POD_IN_MOUNT = re.compile(r"/pods/([0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12})/(?:etc-hosts$|containers/|volumes/)")
# Docker's and Podman's own files of one container; a Kubernetes sandbox's files are deliberately not matched
_OWN_FILE = re.compile(r"/(?:containers|overlay-containers)/([0-9a-f]{64})/")
_RUNTIME_FILES = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
_SYSTEM_CONTAINERS = {"lxc", "lxc-libvirt", "systemd-nspawn"}  # a whole system with an identity of its own
_POD_UID_VARIABLES = ("SHIPPER_POD_UID", "POD_UID", "K8S_POD_UID")
AMAZON_TASK_VARIABLES = ("ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI")
"""Where ECS tells a container to ask about itself."""


def detect(around: Surroundings) -> Finding:
    """``container.id`` and ``k8s.pod.uid`` where they can be told."""
    attributes: dict[str, AttributeValue] = {}
    if container := container_id(around):
        attributes["container.id"] = container
    if pod := pod_uid(around):
        attributes["k8s.pod.uid"] = pod
    return Finding(attributes=attributes)


def in_container(around: Surroundings) -> bool:
    """Whether we run in an application container (Docker, Podman, Kubernetes, ECS, ...)."""
    if around.variable("container") in _SYSTEM_CONTAINERS:
        return False
    return bool(
        around.exists("/.dockerenv")
        or around.exists("/run/.containerenv")
        or around.variable("container", "KUBERNETES_SERVICE_HOST", *AMAZON_TASK_VARIABLES)
        or container_id(around)
        or pod_uid(around)
    )


def container_id(around: Surroundings) -> str:
    """The runtime's id of this container, or empty."""
    for line in around.read_or_empty("/proc/self/cgroup").splitlines():
        path = line.split(":", 2)[-1]
        match = _CONTAINER_ID.search(path) or _ECS_ID.search(path)
        if match:
            return match[1]
    for root, mount_point in _mounts(around):
        match = _OWN_FILE.search(root)
        if match and mount_point in _RUNTIME_FILES:
            return match[1]
    return ""


def pod_uid(around: Surroundings) -> str:
    """The uid of the Kubernetes pod we are in, or empty."""
    stated = around.variable(*_POD_UID_VARIABLES)
    if stated:
        return stated
    match = _POD_IN_CGROUP.search(around.read_or_empty("/proc/self/cgroup"))
    if match:
        return match[1].replace("_", "-")
    for root, mount_point in _mounts(around):
        match = _POD_IN_MOUNT.search(root)
        if match and mount_point in (*_RUNTIME_FILES, "/dev/termination-log"):
            return match[1]
    return ""


def task_id(around: Surroundings) -> str:
    """The ECS metadata id of this container (unique per task and container), or empty."""
    return around.variable(*AMAZON_TASK_VARIABLES).rstrip("/").rpartition("/")[2]


def _mounts(around: Surroundings) -> list[tuple[str, str]]:
    """(root within its file system, mount point) of every mount, as proc_pid_mountinfo(5) lists them."""
    mounts = []
    for line in around.read_or_empty("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        if len(fields) > 5:
            mounts.append((fields[3], fields[4]))
    return mounts
