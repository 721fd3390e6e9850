"""Asks the one metadata service of this host, within a bound that holds whatever the service does.

The asking is done in a daemon thread that is left behind when its time is over: a host that hangs on its metadata (a hop
limit, a firewall that drops, a name that cannot be looked up) ships two seconds later, and without what it could not learn.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from shipper.labels.finding import Candidate, Finding, Surroundings
from shipper.labels.metadata import Metadata, NoMetadata
from shipper.labels.platform import Recognised

SECONDS = 2.0
"""How long shipping waits for what a platform says, at most (once in the life of a host)."""


@dataclass(frozen=True, slots=True)
class Network:
    """Leave to ask a metadata service. ``endpoints``: `notices.endpoints` of the configuration; ``seconds``: for all of it."""

    endpoints: Mapping[str, str] = field(default_factory=dict)
    seconds: float = SECONDS


class Local(Protocol):
    """What each file of `shipper.labels.cloud` has."""

    detect: Callable[[Surroundings], Finding]


class Remote(Local, Protocol):
    """What those have whose platform has a metadata service."""

    PLACES: tuple[tuple[str, str], ...]
    ask: Callable[[Surroundings, Metadata], Finding]


def local(name: str) -> Local:
    """The file of a platform; only those of the platforms at hand are imported."""
    return cast("Local", importlib.import_module(f"shipper.labels.cloud.{_FILES.get(name, name)}"))


def ask(one: Recognised, around: Surroundings, seconds: float) -> tuple[Finding, str, float]:
    """What the platform's service says, what went wrong in a few words (empty: nothing), and how long it took in seconds."""
    remote = cast("Remote", local(one.name))
    service = Metadata(one.endpoint, seconds)
    results: list[Finding | NoMetadata] = []
    began = time.monotonic()
    thread = threading.Thread(
        target=_run, args=(remote, around, service, results), name=f"shipper-asks-{one.name}", daemon=True
    )
    thread.start()
    thread.join(seconds)
    took = time.monotonic() - began
    if not results:
        service.give_up()
        results.append(NoMetadata(f"gave no answer within {seconds:g} s"))
    result = results[0]
    if isinstance(result, Finding):
        return result, "", took
    note = f"{one.endpoint} {result}"
    return Finding(tuple(Candidate(label, "", place, str(result)) for label, place in remote.PLACES)), note, took


def _run(remote: Remote, around: Surroundings, service: Metadata, results: list[Finding | NoMetadata]) -> None:
    try:
        results.append(remote.ask(around, service))
    except NoMetadata as problem:
        results.append(problem)
    finally:
        service.close()


_FILES = {"lambda": "lambda_"}  # a word of the language
