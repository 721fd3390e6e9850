"""What ``shipper.init`` does: settings, who we are, where records go, and OpenTelemetry's providers set up for that.

Everything in here may fail without the service noticing more than one sentence in its log: `init` is the border.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from shipper.sdk import voice
from shipper.sdk.identity import Identities
from shipper.sdk.resource import ResourceOf
from shipper.sdk.settings import Settings, resolve
from shipper.sdk.sidecar_card import CardReader
from shipper.sdk.started import Started, Way
from shipper.sdk.ways.handoff_choice import choose
from shipper.sdk.who import Self

_lock = threading.RLock()  # what is imported here may call init itself
_started: Started | None = None


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


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
        _again(_started, settings)
        return
    whoami = Self(settings, in_code=in_code)
    choice = choose(settings, os.environ)
    identities = Identities(whoami, CardReader(choice.root, *choice.places))
    _started = Started(settings, whoami, ResourceOf(whoami), choice, identities, in_code)
    voice.say(choice.why, logging.WARNING if choice.waiting else logging.INFO)
    _started.way = _way(_started)
    if _started.way is not None:
        _started.way.install()
        _instrument(settings)


def _way(started: Started) -> Way | None:
    """The chosen way; each is imported only where it is gone."""
    if started.choice.kind == "spool":
        from shipper.sdk.ways.spool_way import SpoolWay

        return SpoolWay(started)
    if started.choice.kind == "otlp":
        from shipper.sdk.ways.otlp_fallback import OtlpWay

        return OtlpWay(started)
    if started.choice.kind == "forward":
        from shipper.sdk.ways.forward_fallback import ForwardWay

        return ForwardWay(started)
    return None


def shutdown(timeout: float) -> None:
    """`shipper.shutdown`."""
    try:
        if _started is not None and _started.way is not None:
            _started.way.shutdown(max(0.0, float(timeout)))
    except Exception as error:
        voice.fault("shipper.shutdown", error)


def _attach(settings: Settings) -> None:
    if settings.app is not None:
        from shipper.sdk.web.apps import attach

        attach(settings.app)


def _instrument(settings: Settings) -> None:
    _attach(settings)
    if settings.instrument and find_spec("opentelemetry.instrumentation") is not None:
        from shipper.sdk.web.instrument import load_instrumentors

        load_instrumentors(ships_logs=settings.logs == "handoff")


def logging_handler(level: int | str) -> logging.Handler:
    """`shipper.logging_handler`."""
    way = _started.way if _started is not None else None
    if way is None:
        voice.say("shipper.logging_handler was called without shipper.init, or with the hand-off off: it drops records")
        return logging.NullHandler()
    handler = way.handler()
    try:
        handler.setLevel(level)
    except (TypeError, ValueError):
        voice.say(f"logging_handler({level!r}): this is no level; every record is taken")
    return handler


def _given(settings: Settings, name: str) -> bool:
    """Whether the code says anything about it: attributes are different already because auto-instrumentation has some."""
    return name != "attributes" or bool(settings.stated.attributes)


def _again(first: Started, settings: Settings) -> None:
    """A second call: only its application is new to us."""
    if first.way is not None:
        _attach(settings)
    differing = first.settings.differences(settings)
    if first.in_code and differing:
        voice.say(f"shipper.init was called again with another {', '.join(differing)}: the first call stands")
    elif asked := [name for name in differing if name != "instrument" and _given(settings, name)]:
        voice.say(
            f"shipper.init({', '.join(asked)}) changes nothing, because OpenTelemetry's auto-instrumentation started the "
            "hand-off before: set the SHIPPER_ variables, or start without opentelemetry-instrument"
        )
