"""What ``shipper.init`` does: settings, who we are, where records go, and OpenTelemetry's providers set up for that.

Everything in here may fail without the service noticing more than one sentence in its log: `init` is the border.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shipper import __version__
from shipper.sdk import voice
from shipper.sdk.handoff_choice import Choice, choose
from shipper.sdk.identity import Identities
from shipper.sdk.resource import ResourceOf
from shipper.sdk.settings import Settings, resolve
from shipper.sdk.sidecar_card import CardReader
from shipper.sdk.who import Self

_ARGV_CHARACTERS = 200


class Way(Protocol):
    """One way for records to leave the process."""

    def install(self) -> None:
        """Put its processors on the providers."""

    def shutdown(self, timeout: float) -> None:
        """Flush what is queued, for at most ``timeout`` seconds, and stop. May be called again."""


@dataclass(slots=True)
class Started:
    """What runs in this process, and in its forked children, since ``init``."""

    settings: Settings
    whoami: Self
    resource_of: ResourceOf
    choice: Choice
    identities: Identities
    way: Way | None = None


_lock = threading.Lock()
_started: Started | None = None


def started() -> Started | None:
    """What the first `init` of this process (or of the one it was forked from) set up."""
    return _started


def init(arguments: Mapping[str, Any], *, in_code: bool = True) -> None:
    """Start once. A second call changes nothing and says what it would have had differently. Never raises."""
    try:
        with _lock:
            _init(arguments, in_code)
    except Exception as error:
        voice.fault("shipper.init", error)


def _init(arguments: Mapping[str, Any], in_code: bool) -> None:
    global _started
    settings, problems = resolve(arguments, os.environ)
    for problem in problems:
        voice.say(problem)
    if _started is not None:
        _say_again(_started.settings, settings)
        return
    whoami = Self(settings, in_code=in_code)
    choice = choose(settings, os.environ)
    identities = Identities(whoami, CardReader(choice.root))
    _started = Started(settings, whoami, ResourceOf(whoami), choice, identities)
    voice.say(choice.why, logging.WARNING if choice.waiting else logging.INFO)
    _started.way = _way(_started)
    if _started.way is not None:
        _started.way.install()


def _way(started: Started) -> Way | None:
    """The chosen way; each is imported only where it is gone."""
    if started.choice.kind == "spool":
        from shipper.sdk.spool_way import SpoolWay

        return SpoolWay(started)
    return None


def hello(whoami: Self) -> dict[str, Any]:
    """What a segment says about the process that wrote it (`shipper.handoff.hello`)."""
    who = whoami()
    return {
        "boot": who.process.boot_id,
        "pid": who.process.pid,
        "start_ticks": who.process.start_ticks,
        "pid_ns": who.process.pid_namespace,
        "container": who.process.container_id,
        "instance": who.instance,
        "service": who.service,
        "sdk": __version__,
        "argv": [argument[:_ARGV_CHARACTERS] for argument in sys.argv[:2]],
    }


def shutdown(timeout: float) -> None:
    """`shipper.shutdown`."""
    try:
        if _started is not None and _started.way is not None:
            _started.way.shutdown(max(0.0, float(timeout)))
    except Exception as error:
        voice.fault("shipper.shutdown", error)


def _say_again(first: Settings, second: Settings) -> None:
    differing = first.differences(second)
    if differing:
        voice.say(f"shipper.init was called again with another {', '.join(differing)}: the first call stands")
