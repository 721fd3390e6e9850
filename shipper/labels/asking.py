"""Asks the one metadata service of this host, within a bound that holds whatever the service does.

The asking is done in a daemon thread that is left behind when its time is over: a host that hangs on its metadata (a hop
limit, a firewall that drops, a name that cannot be looked up) ships two seconds later, and without what it could not learn.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from shipper.labels.cloud import Remote, remote
from shipper.labels.finding import Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata, NoMetadata
from shipper.labels.platform import Recognised


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of it: what the service said, what went wrong (empty: nothing), and how long it took in seconds."""

    finding: Finding
    problem: str
    seconds: float


def ask(one: Recognised, around: Surroundings, seconds: float) -> Asked:
    """Ask the service of a platform that has one; back after ``seconds`` at the latest."""
    began = time.monotonic()
    asking = _Asking(remote(one.name), around, Metadata(one.endpoint, seconds))
    thread = threading.Thread(target=asking.run, name=f"shipper-asks-{one.name}", daemon=True)
    thread.start()
    thread.join(seconds)
    findings, why = asking.result(f"gave no answer within {seconds:g} s")
    problem = f"{one.endpoint} {why}" if why else ""
    return Asked(_together(findings, asking.remote, why), problem, time.monotonic() - began)


class _Asking:
    def __init__(self, remote: Remote, around: Surroundings, service: Metadata) -> None:
        self.remote = remote
        self._around = around
        self._service = service
        self._findings: list[Finding] = []
        self._end: list[str] = []

    def run(self) -> None:
        try:
            for finding in self.remote.ask(self._around, self._service):
                self._findings.append(finding)
            self._end.append("")
        except NoMetadata as problem:
            self._end.append(str(problem))
        finally:
            self._service.close()

    def result(self, otherwise: str) -> tuple[tuple[Finding, ...], str]:
        """What was found so far, and why not more: ``otherwise`` if the service is still being waited for."""
        end, findings = tuple(self._end), tuple(self._findings)  # in this order: the end comes after the last finding
        if not end:
            self._service.give_up()
        return findings, end[0] if end else otherwise


def _together(findings: tuple[Finding, ...], remote: Remote, why: str) -> Finding:
    candidates = tuple(one for finding in findings for one in finding.candidates)
    told = {one.label for one in candidates}
    missing = (Candidate(label, "", place, why) for label, place in remote.PLACES if label not in told)
    return Finding(
        (*candidates, *missing),
        {key: value for finding in findings for key, value in finding.attributes.items()},
        fallbacks=tuple(one for finding in findings for one in finding.fallbacks),
    )
