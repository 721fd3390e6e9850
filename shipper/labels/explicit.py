"""Labels somebody stated: in the configuration, on the command line, or as ``SHIPPER_...`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shipper.labels.finding import LABELS, AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.resource_attributes import as_candidates
from shipper.labels.times import TIMES, first_time
from shipper.labels.times import VARIABLES as TIME_VARIABLES

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "service": ("SHIPPER_LABELS_SERVICE", "SHIPPER_SERVICE"),
    "release": ("SHIPPER_LABELS_RELEASE", "SHIPPER_RELEASE"),
    "image": ("SHIPPER_LABELS_IMAGE", "SHIPPER_IMAGE"),
    "generation": ("SHIPPER_LABELS_GENERATION", "SHIPPER_GENERATION", "SHIPPER_DEPLOY_ID"),
    "environment": ("SHIPPER_LABELS_ENVIRONMENT", "SHIPPER_ENVIRONMENT"),
    "host": ("SHIPPER_LABELS_HOST", "SHIPPER_HOST", "SHIPPER_HOST_ID"),
}
"""The variables of each label, strongest first; the configuration reads the same ones."""


class Configured(Protocol):
    """The labels section of a configuration; empty text means not set. (This room knows no configuration library.)"""

    @property
    def service(self) -> str: ...
    @property
    def release(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def generation(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...


def detect(around: Surroundings, configured: Configured | None, origins: Mapping[str, str]) -> Finding:
    """What was stated. ``origins`` has, by dotted path, where a configured value came from."""
    candidates: list[Candidate] = []
    attributes: dict[str, AttributeValue] = {}
    if configured is not None:
        for label in LABELS:
            value = getattr(configured, label).strip()
            place = origins.get(f"labels.{label}", f"labels.{label}") if value else f"labels.{label}"
            candidates.append(Candidate(label, value, place))
        attributes.update(configured.attributes)
        candidates += as_candidates(configured.attributes, "labels.attributes")
    for label, names in VARIABLES.items():
        candidates += [Candidate(label, around.variable(name), name) for name in names]
    name = (configured.host.strip() if configured else "") or around.variable("SHIPPER_LABELS_HOST", "SHIPPER_HOST")
    host_id = around.variable("SHIPPER_HOST_ID") or name
    if name:
        attributes.setdefault("host.name", name)
    if host_id:
        attributes.setdefault("host.id", host_id)
    problems: list[str] = []
    times: dict[str, int] = {}
    for time in TIMES:
        configured_time = str(getattr(configured, time, ""))  # a service's own settings have none: it knows no deploy
        stated = [(configured_time, origins.get(f"labels.{time}", f"labels.{time}"))]
        times.update(first_time(time, [*stated, *((around.variable(v), v) for v in TIME_VARIABLES[time])], problems))
    return Finding(tuple(candidates), attributes, tuple(problems), times=times)
