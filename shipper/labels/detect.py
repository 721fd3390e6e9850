"""Asks every detector, in order, and takes for each label the first answer. No network: this is done before anything ships.

A detector for a cloud platform goes into `DETECTORS` between what people stated and what the image brought along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shipper.labels import container, explicit, machine, os_release, release_file, resource_attributes
from shipper.labels.explicit import Configured
from shipper.labels.finding import LABELS, AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.identity import UNKNOWN_SERVICE, Identity, Label
from shipper.labels.image import digest_of

DETECTORS: tuple[Callable[[Surroundings], Finding], ...] = (
    resource_attributes.detect,
    # cloud platforms: here
    release_file.detect,
    os_release.detect,
    container.detect,
    machine.detect,
)
"""All detectors, strongest first (what was stated explicitly comes before all of them)."""


def detect(
    configured: Configured | None,
    env: Mapping[str, str],
    root: str = "/",
    origins: Mapping[str, str] | None = None,
) -> Identity:
    """Who this host is. ``configured``: the labels section of the configuration; ``origins``: where its values came from."""
    around = Surroundings(root, env)
    findings = [explicit.detect(around, configured, origins or {}), *(detector(around) for detector in DETECTORS)]
    candidates = [candidate for finding in findings for candidate in finding.candidates]
    attributes: dict[str, AttributeValue] = {}
    for finding in reversed(findings):
        attributes.update(finding.attributes)
    labels = {name: _label(name, candidates) for name in LABELS if name != "generation"}
    labels["generation"] = _generation(candidates, labels, str(attributes.get("host.image.version", "")))
    if not labels["service"].value:
        labels["service"] = Label("service", UNKNOWN_SERVICE, "default", labels["service"].tried)
    return Identity.of(
        labels,
        extra=attributes,
        in_container=container.in_container(around),
        problems=tuple(problem for finding in findings for problem in finding.problems),
    )


def _label(name: str, candidates: list[Candidate]) -> Label:
    tried = tuple(candidate for candidate in candidates if candidate.label == name)
    found = next((candidate for candidate in tried if candidate.value), None)
    return Label(name, found.value, found.place, tried) if found else Label(name, "", "not found", tried)


def _generation(candidates: list[Candidate], labels: Mapping[str, Label], image_version: str) -> Label:
    """Explicit, then platform, then what the image or the release says: hosts of one deploy share it, later deploys do not."""
    derived = [
        Candidate("generation", digest_of(labels["image"].value), "image digest"),
        Candidate("generation", image_version, "os-release IMAGE_VERSION"),
        Candidate("generation", labels["release"].value, "release"),
    ]
    return _label("generation", [*candidates, *derived])
