"""What a life can be recognised by: the boot of the kernel, and who the host is.

Neither is enough alone. Containers share the boot id of their host; machines born from one image may share its machine-id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.labels import container, machine, platform
from shipper.labels.finding import Surroundings
from shipper.labels.resource_attributes import VARIABLE, parse

KINDS = ("explicit", "pod", "task", "container", "hostname", "instance", "dmi", "machine")
"""Kinds of host witness, strongest first. Values of ``dmi`` and ``machine`` are hashes."""

CONTAINER_KINDS = frozenset({"explicit", "pod", "task", "container", "hostname"})
"""The kinds that tell containers of one machine apart."""

PROVING_MACHINE = frozenset({"explicit", "instance", "dmi"})
"""Those of which one proves, over a boot, that a machine is the same; images share the machine-id."""

PROVING_CONTAINER = frozenset({"pod", "task", "container"})
"""The same for containers; a host name may be in the image's start script, a stated host in its environment."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Everything known about this boot of this host; ``kind`` and ``value`` are the strongest host witness (or empty)."""

    boot_id: str
    kind: str
    value: str
    known: Mapping[str, str] = field(default_factory=dict)
    in_container: bool = False


def witness(root: str, env: Mapping[str, str], host: str = "") -> Witness:
    """Look for all witnesses; no network. ``host`` is the configured ``labels.host``, which together with
    ``SHIPPER_HOST_ID`` beats everything that can be detected.
    """
    around = Surroundings(root, env)
    stated, _ = parse(around.variable(VARIABLE))
    inside = container.in_container(around)
    identity = container.container_id(around)
    found = {
        "explicit": around.variable("SHIPPER_HOST_ID")
        or host
        or around.variable("SHIPPER_LABELS_HOST", "SHIPPER_HOST"),
        "pod": container.pod_uid(around) or stated.get("k8s.pod.uid", ""),
        "task": container.task_id(around) or around.variable("NOMAD_ALLOC_ID"),
        "container": identity,
        # a container that cannot see its id still has a host name that its runtime made up for it
        "hostname": machine.host_name(around) if inside and not identity else "",
        "instance": platform.instance_id(around),
        "dmi": machine.dmi_uuid(around),
        "machine": machine.machine_id(around),
    }
    known = {kind: found[kind] for kind in KINDS if found[kind]}
    kind = next(iter(known), "")
    return Witness(machine.boot_id(around), kind, known.get(kind, ""), known, inside)


def same_life(old: Witness, new: Witness) -> tuple[bool, str]:
    """Whether two sets of witnesses speak of the same life, and the reason in a few words.

    All that both know must agree, and one besides the machine-id must be among them. A stated host replaces the other host
    witnesses. A pod's life is its uid: neither its containers nor the node's boot decide it.
    """
    both = [kind for kind in KINDS if kind in old.known and kind in new.known]
    boot_counts = bool(old.boot_id and new.boot_id)
    if "explicit" in both:
        both = ["explicit", *(["pod"] if "pod" in both else [])]
    if "pod" in both and old.known["pod"] == new.known["pod"]:
        both, boot_counts = [kind for kind in both if kind in ("explicit", "pod")], False
    for kind in both:
        if old.known[kind] != new.known[kind]:
            return False, f"it belongs to another host (another {_WORDS[kind]})"
    if boot_counts and old.boot_id != new.boot_id:
        return False, "the host was started anew since (another boot id)"
    decisive = CONTAINER_KINDS if new.in_container else frozenset(KINDS) - {"machine"}
    proofs = [_WORDS[kind] for kind in both if kind in decisive]
    if boot_counts and not new.in_container:
        proofs.insert(0, "boot id")
    if not proofs:
        return False, "nothing tells that it belongs to this host"
    return True, f"same {' and '.join(proofs)}"


def same_host(old: Witness, new: Witness, *, own_volume: bool) -> tuple[bool, str]:
    """Whether an earlier life was one of this host, so that what it left is shipped as its own; and the reason in a few words.

    All that both know must agree, and one besides the machine-id must be among them; only the boot may be another. What tells
    containers apart differs by nature from one to the next: there it is enough that the state lay, then and now, on a volume
    of its own (``own_volume``), with which it cannot have come along in an image. A stated host must agree also then.
    """
    both = [kind for kind in KINDS if kind in old.known and kind in new.known]
    other = next((kind for kind in both if old.known[kind] != new.known[kind]), "")
    if old.in_container and new.in_container and own_volume and other != "explicit":
        return True, "its state lies on a volume of its own"
    if other or old.in_container != new.in_container:
        return False, f"it belongs to another host (another {_WORDS[other]})" if other else "it belongs to another host"
    decisive = PROVING_CONTAINER if new.in_container else PROVING_MACHINE
    proofs = [_WORDS[kind] for kind in both if kind in decisive]
    if not proofs:
        return False, "nothing tells that it belongs to this host"
    return True, f"same {' and '.join(proofs)}"


_WORDS = {
    "explicit": "stated host",
    "pod": "pod uid",
    "task": "task",
    "container": "container id",
    "hostname": "container host name",
    "instance": "instance id",
    "dmi": "hardware UUID",
    "machine": "machine-id",
}
