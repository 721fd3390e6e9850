"""Asks every detector, in order, and takes for each label the first answer.

What a platform says stands between what people stated and what the image brought along. Its metadata service is asked only
by who brings leave to (`Network`): the sidecar does, at the start of a life; a service never does, it learns from the
sidecar's card.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from shipper.labels import asking, container, explicit, machine, os_release, release_file, resource_attributes
from shipper.labels.asking import Network
from shipper.labels.explicit import Configured
from shipper.labels.finding import LABELS, AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.identity import UNKNOWN_SERVICE, Considered, Identity, Label
from shipper.labels.image import digest_of
from shipper.labels.platform import Recognised, recognise, to_ask

Detector = Callable[[Surroundings], Finding]
STATED: tuple[Detector, ...] = (resource_attributes.detect,)
"""Detectors of what somebody stated, strongest first (`explicit` comes before them)."""

FOUND: tuple[Detector, ...] = (release_file.detect, os_release.detect, container.detect, machine.detect)
"""Detectors of what the image and the machine bring along, strongest first; platforms come before them."""

_OF_A_MACHINE = ("host.name", "host.image.id", "host.image.name", "host.image.version")


def detect(
    configured: Configured | None,
    env: Mapping[str, str],
    root: str = "/",
    origins: Mapping[str, str] | None = None,
    *,
    network: Network | None = None,
) -> Identity:
    """Who this host is. ``configured``: the labels section of the configuration; ``origins``: where its values came from.

    Without ``network`` nothing but files and variables is looked at. With it the call may take ``network.seconds``; what could
    not be learnt in that time is said in ``problems``, and the call never raises for it.
    """
    began = time.monotonic()
    around = Surroundings(root, env)
    inside = container.in_container(around)
    found = recognise(around, network.endpoints if network else None)
    platforms, considered = _ask_platforms(found, around, network, inside)
    findings = [
        explicit.detect(around, configured, origins or {}),
        *(detector(around) for detector in STATED),
        *platforms,
        *(detector(around) for detector in FOUND),
    ]
    candidates = [candidate for finding in findings for candidate in finding.candidates]
    candidates += [candidate for finding in findings for candidate in finding.fallbacks]
    attributes: dict[str, AttributeValue] = {}
    for finding in reversed(findings):
        attributes.update(finding.attributes)
    labels = {name: _label(name, candidates) for name in LABELS if name != "generation"}
    workload = inside or any(one.platform.workload for one in found)
    derived = {
        "image digest": digest_of(labels["image"].value),
        os_release.VERSION_PLACE: os_release.image_version(around),
        "release": labels["release"].value,
        "host.image.id": "" if workload else str(attributes.get("host.image.id", "")),
    }
    labels["generation"] = _generation(candidates, derived)
    if not labels["service"].value:
        labels["service"] = Label("service", UNKNOWN_SERVICE, "default", labels["service"].tried)
    return Identity.of(
        labels,
        extra=attributes,
        in_container=workload,
        problems=tuple(problem for finding in findings for problem in finding.problems),
        considered=considered,
        seconds=time.monotonic() - began,
    )


def _ask_platforms(
    found: tuple[Recognised, ...], around: Surroundings, network: Network | None, inside: bool
) -> tuple[list[Finding], tuple[Considered, ...]]:
    """What each platform says, the strongest first, and how it came to be asked or not."""
    asked = to_ask(found) if network else None
    workload = any(one.platform.workload for one in found)
    findings: list[Finding] = []
    considered: list[Considered] = []
    for one in found:
        said = asking.local(one.name).detect(around)
        note, took = one.note or ("has a metadata service, which is not asked" if one.endpoint else ""), 0.0
        if network and one is asked:
            answer, problem, took = asking.ask(one, around, network.seconds)
            problems = _problems(one, answer, said, problem, inside)
            said = _merged(answer, said, problems)
            note = problem or f"{one.endpoint} answered"
        findings.append(said if one.platform.workload else _of_the_machine(said, inside, workload))
        considered.append(Considered(one.name, one.evidence, one is asked, note, took))
    return findings, tuple(considered)


def _merged(answer: Finding, said: Finding, problems: tuple[str, ...]) -> Finding:
    """What the service says is believed before what can be guessed without it."""
    return Finding(
        (*answer.candidates, *said.candidates),
        {**said.attributes, **answer.attributes},
        (*said.problems, *answer.problems, *problems),
        (*answer.fallbacks, *said.fallbacks),
    )


def _problems(one: Recognised, answer: Finding, said: Finding, problem: str, inside: bool) -> tuple[str, ...]:
    if problem:
        hint = "; in a container the machine's hop limit must be 2" if inside and one.name == "ec2" else ""
        return (f"{one.name}: {problem}{hint}; what only it knows stays unknown for this life",)
    here, there = said.attributes.get("host.id"), answer.attributes.get("host.id")
    if here and there and here != there:
        return (f"{one.name}: the metadata service says {there}, the hardware {here}; the service is believed",)
    return ()


def _of_the_machine(finding: Finding, inside: bool, workload: bool) -> Finding:
    """What a machine's platform says, where we are not the machine but a container, a pod or a task on it.

    A container that somebody simply starts on a machine belongs to the machine's deploy. A pod or a task does not: of the
    machine below it only the environment says something about it.
    """
    if not inside and not workload:
        return finding
    kept = ("environment",) if workload else ("service", "release", "generation", "environment")
    return replace(
        finding,
        candidates=tuple(
            one
            if one.label in kept or not one.value
            else Candidate(one.label, "", one.place, f"{one.value} is the machine's")
            for one in finding.candidates
        ),
        attributes={key: value for key, value in finding.attributes.items() if key not in _OF_A_MACHINE},
    )


def _label(name: str, candidates: list[Candidate]) -> Label:
    tried = tuple(candidate for candidate in candidates if candidate.label == name)
    found = next((candidate for candidate in tried if candidate.value), None)
    return Label(name, found.value, found.place, tried) if found else Label(name, "", "not found", tried)


def _generation(candidates: list[Candidate], derived: Mapping[str, str]) -> Label:
    """Explicit, then platform, then what the image or the release says: hosts of one deploy share it, later deploys do not.

    The id of a machine's image comes last: one that many deploys start from tells less than the release installed on it.
    """
    return _label(
        "generation", [*candidates, *(Candidate("generation", value, place) for place, value in derived.items())]
    )
