"""Who this process is, as far as it can tell by itself: what was stated about it, and what it merely found.

The difference decides what a record carries in the end. What the service or its owner stated stays; what was found here (a
baked file, os-release, the machine) gives way to what the sidecar knows, which may have asked the platform. Facts about
the process itself (its pid, its container, its instance id) count as stated: nobody else knows them better.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shipper import __version__
from shipper.labels.detect import detect
from shipper.labels.explicit import VARIABLES
from shipper.labels.finding import AttributeValue
from shipper.labels.identity import Identity, Label
from shipper.labels.image import image_attributes
from shipper.labels.process import Process, attributes, this_process
from shipper.labels.resource_attributes import VARIABLE, parse
from shipper.sdk.settings import LABELS, Settings, Stated

INSTANCE = "service.instance.id"
_DISTRO: Mapping[str, AttributeValue] = {
    "telemetry.distro.name": "shipper",
    "telemetry.distro.version": __version__,
}
_KEYS = {
    "service": ("service.name",),
    "release": ("service.version",),
    "environment": ("deployment.environment.name",),
    "generation": ("shipper.generation",),
    "host": ("host.name", "host.id"),
}
_INIT = "labels."  # how `detect` names the place of what was given in code
_VARIABLES = frozenset(name for names in VARIABLES.values() for name in names)


@dataclass(frozen=True, slots=True)
class Who:
    """One process. ``stated`` and ``guessed`` are resource attributes, no key is in both."""

    process: Process
    identity: Identity
    stated: Mapping[str, AttributeValue]
    guessed: Mapping[str, AttributeValue]

    @property
    def instance(self) -> str:
        """The ``service.instance.id``."""
        return str(self.stated[INSTANCE])

    @property
    def service(self) -> str:
        """The service's name as known here; never empty."""
        return self.identity.service.value


def ask(settings: Settings, env: Mapping[str, str], started_in: int, root: str = "/") -> Who:
    """Look at everything anew. ``started_in`` is the pid of the process whose code called ``init`` (0: none did)."""
    process = this_process(root)
    identity = detect(settings.stated, env, root, {f"labels.{name}": f"shipper.init({name}=...)" for name in LABELS})
    everything = {**identity.attributes(), **_DISTRO}
    stated = _stated(identity, settings.stated, env)
    instance = explicit_instance(settings.stated, env, process, started_in)
    facts = {**attributes(process), INSTANCE: instance or process.instance}
    stated = {**_DISTRO, **stated, **facts}
    return Who(process, identity, stated, {key: value for key, value in everything.items() if key not in stated})


def is_stated(label: Label) -> bool:
    """Whether somebody said it, in code or in the environment, as opposed to its having been found."""
    origin = label.origin
    return bool(label.value) and (origin in _VARIABLES or origin.startswith(("shipper.init(", _INIT, "OTEL_")))


def explicit_instance(stated: Stated, env: Mapping[str, str], process: Process, started_in: int) -> str:
    """The instance id somebody gave to exactly this process, or empty.

    One in the code is for the process that ran the code; one in the environment is for the process that was started with
    it. A forked worker has inherited both from its parent, and must not be taken for it.
    """
    given = stated.attributes.get(INSTANCE, "")
    if given and started_in == process.pid:
        return str(given)
    return "" if process.forked else from_environment(env)


def from_environment(env: Mapping[str, str]) -> str:
    """The instance id in ``OTEL_RESOURCE_ATTRIBUTES``, or empty."""
    return parse(env.get(VARIABLE, ""))[0].get(INSTANCE, "")


def _stated(identity: Identity, stated: Stated, env: Mapping[str, str]) -> dict[str, AttributeValue]:
    pairs, _ = parse(env.get(VARIABLE, ""))
    result: dict[str, Any] = {**pairs, **stated.attributes}
    everything = identity.attributes()
    for label, keys in _KEYS.items():
        if is_stated(getattr(identity, label)):
            result.update({key: everything[key] for key in keys if key in everything})
    if is_stated(identity.image):
        result.update(
            image_attributes(identity.image.value, identity.in_container, "host.image.name" in identity.extra)
        )
    result.pop("deployment.environment", None)  # the old name; `Identity.attributes` gives the new one
    return result


class Self:
    """The current process's `Who`, asked once per process: a forked child asks for itself when it first needs it."""

    def __init__(self, settings: Settings, *, in_code: bool = True, root: str = "/") -> None:
        self.settings = settings
        self._started_in = os.getpid() if in_code else 0
        self._root = root
        self._who: Who | None = None

    def __call__(self) -> Who:
        """Who we are; reads a few small files the first time in each process."""
        who = self._who
        if who is None or who.process.pid != os.getpid():
            who = self._who = ask(self.settings, os.environ, self._started_in, self._root)
        return who
