"""Asks every detector, in order, and takes for each label the first answer.

What a platform says stands between what people stated and what the image brought along. Its metadata service is asked only
by who brings leave to (`Network`): the sidecar does, at the start of a life; a service never does, it learns from the
sidecar's card.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from shipper.labels import cloud, container, explicit, machine, os_release, release_file, resource_attributes
from shipper.labels.explicit import Configured
from shipper.labels.finding import LABELS, AttributeValue, Candidate, Finding, Surroundings
from shipper.labels.identity import UNKNOWN_SERVICE, Considered, Identity, Label
from shipper.labels.image import digest_of
from shipper.labels.platform import Network, Recognised, recognise, to_ask

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
    platforms, considered = _platforms(found, around, network, inside)
    findings = [
        explicit.detect(around, configured, origins or {}),
        *(detector(around) for detector in STATED),
        *platforms,
        *(detector(around) for detector in FOUND),
    ]
    attributes: dict[str, AttributeValue] = {}
    times: dict[str, int] = {}
    for finding in reversed(findings):
        attributes.update(finding.attributes)
        times.update(finding.times)
    contained = inside or _any_workload(found)
    host_image = "" if contained else str(attributes.get("host.image.id", ""))
    return Identity.of(
        _labels(findings, os_release.image_version(around), host_image),
        extra=attributes,
        times=times,
        in_container=contained,
        problems=tuple(problem for finding in findings for problem in finding.problems),
        considered=considered,
        seconds=time.monotonic() - began,
    )


def _platforms(
    found: tuple[Recognised, ...], around: Surroundings, network: Network | None, inside: bool
) -> tuple[list[Finding], tuple[Considered, ...]]:
    """What each platform says, the strongest first, and how it came to be asked or not."""
    asked = to_ask(found) if network else None
    findings: list[Finding] = []
    considered: list[Considered] = []
    for one in found:
        said = cloud.local(one.name).detect(around)
        note, seconds = one.note or ("not asked" if one.endpoint else ""), 0.0
        if network and one is asked:
            said, note, seconds = _ask(one, around, said, network.seconds, inside)
        if not one.platform.workload and (inside or _any_workload(found)):
            said = _of_the_machine(said, _any_workload(found))
        findings.append(said)
        considered.append(Considered(one.name, one.evidence, one is asked, note, seconds))
    return findings, tuple(considered)


def _ask(
    one: Recognised, around: Surroundings, said: Finding, seconds: float, inside: bool
) -> tuple[Finding, str, float]:
    """What the metadata service says, believed before ``said``, which was guessed without it; what came of it; seconds."""
    from shipper.labels.asking import ask  # only here: a service has no use for it

    asked = ask(one, around, seconds)
    answer = asked.finding
    merged = Finding(
        (*answer.candidates, *said.candidates),
        {**said.attributes, **answer.attributes},
        tuple(filter(None, (_problem(one, asked.problem, inside), _contradiction(one, said, answer)))),
        (*answer.fallbacks, *said.fallbacks),
    )
    return merged, asked.problem or f"{one.endpoint} answered", asked.seconds


def _problem(one: Recognised, problem: str, inside: bool) -> str:
    if not problem:
        return ""
    silent = "gave no answer" in problem and inside and one.name == "ec2"
    hint = " (in a container the machine's hop limit has to be 2)" if silent else ""
    return f"{one.name}: {problem}{hint}; what only it knows stays unknown for this life"


def _contradiction(one: Recognised, said: Finding, answer: Finding) -> str:
    here, there = said.attributes.get("host.id"), answer.attributes.get("host.id")
    if not here or not there or here == there:
        return ""
    return f"{one.name}: the metadata service says {there}, the hardware {here}; the service is believed"


def _any_workload(found: tuple[Recognised, ...]) -> bool:
    return any(one.platform.workload for one in found)


def _of_the_machine(finding: Finding, workload: bool) -> Finding:
    """What a machine's platform says, where we are not the machine but a container, a pod or a task on it.

    A container that somebody simply starts on a machine belongs to the machine's deploy. A pod or a task does not: of the
    machine below it only the environment says something about it.
    """
    kept = ("environment",) if workload else ("service", "release", "generation", "environment")
    return replace(
        finding,
        candidates=tuple(one if one.label in kept else _not_ours(one) for one in finding.candidates),
        attributes={key: value for key, value in finding.attributes.items() if key not in _OF_A_MACHINE},
    )


def _not_ours(one: Candidate) -> Candidate:
    return replace(one, value="", note=f"{one.value} is the machine's") if one.value else one


def _labels(findings: list[Finding], image_version: str, host_image: str) -> dict[str, Label]:
    candidates = [candidate for finding in findings for candidate in finding.candidates]
    candidates += [candidate for finding in findings for candidate in finding.fallbacks]
    labels = {name: _label(name, candidates) for name in LABELS if name != "generation"}
    # Hosts of one deploy share it, later deploys do not. The id of a machine's image comes last: one that many deploys start
    # from tells less than the release that was installed on it.
    derived = (
        Candidate("generation", digest_of(labels["image"].value), "image digest"),
        Candidate("generation", image_version, os_release.VERSION_PLACE),
        Candidate("generation", labels["release"].value, "release"),
        Candidate("generation", host_image, "host.image.id"),
    )
    labels["generation"] = _label("generation", [*candidates, *derived])
    if not labels["service"].value:
        labels["service"] = Label("service", UNKNOWN_SERVICE, "default", labels["service"].tried)
    return labels


def _label(name: str, candidates: list[Candidate]) -> Label:
    tried = tuple(candidate for candidate in candidates if candidate.label == name)
    found = next((candidate for candidate in tried if candidate.value), None)
    return Label(name, found.value, found.place, tried) if found else Label(name, "", "not found", tried)
