"""Activating the OpenTelemetry instrumentors that are installed, as ``opentelemetry-instrument`` does, from ``shipper.init``.

Only where ``opentelemetry-instrumentation`` is installed; who has it wants its instrumentors, and none of them twice. An
instrumentor imports what it instruments, so each waits until the service has imported that itself (`targets`): what a
service does not use costs it neither time nor memory. Entry points are asked of OpenTelemetry, which keeps them for
whoever asks next.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry.util._importlib_metadata import entry_points

from shipper.sdk import voice
from shipper.sdk.later import imported, when_imported
from shipper.sdk.web.targets import targets

_GROUP = "opentelemetry_instrumentor"
_waiting: set[str] = set()


def load_instrumentors(*, ships_logs: bool = True) -> list[str]:
    """Activate each installed instrumentor as soon as its library is imported; the names of those activated at once.

    Left out are those in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS (``*``: all), those whose library is not installed or has
    another version (quietly), and Django's where its settings cannot be read yet. With ``ships_logs`` log records are
    handed over already, so the logging instrumentor installs no handler; one that is there beside ours is removed.
    Safe to call twice, and after ``opentelemetry-instrument``. Never raises.
    """
    skipped = {name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    loaded: list[str] = []
    for entry in () if "*" in skipped else entry_points(group=_GROUP):
        if entry.name in skipped or entry.name in _waiting:
            continue
        try:
            needs = [[entry.module]] if entry.name == "logging" and ships_logs and _idle(entry) else targets(entry)
            if needs is not None and _load_after(needs, entry, ships_logs):
                loaded.append(entry.name)
        except Exception as error:
            _failed(entry, error)
    if ships_logs:
        _remove_handler()
    return loaded


def _load_after(needs: Sequence[Sequence[str]], entry: EntryPoint, ships_logs: bool) -> bool:
    """Load it when of each of ``needs`` one module is imported; whether that was now."""
    missing = next((names for names in needs if not any(map(imported, names))), None)
    if missing is None:
        return _load(entry, ships_logs)
    _waiting.add(entry.name)
    go_on = _once(lambda: _load_after(needs, entry, ships_logs))
    for name in missing:
        when_imported(name, lambda _: go_on())
    return False


def _once(what: Callable[[], object]) -> Callable[[], None]:
    left = [what]

    def call() -> None:
        if left:
            left.pop()()

    return call


def _load(entry: EntryPoint, ships_logs: bool) -> bool:
    """Activate it, if it is not active. Never raises: this may happen in the middle of an import of the service."""
    _waiting.discard(entry.name)
    if entry.name == "django" and not _django_ready():
        return False
    try:
        from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts

        if entry.dist is not None and get_dist_dependency_conflicts(entry.dist):
            return False
        instrumentor = entry.load()()
        if instrumentor.is_instrumented_by_opentelemetry:
            return False
        options: dict[str, Any] = (
            {"enable_log_auto_instrumentation": False} if entry.name == "logging" and ships_logs else {}
        )
        instrumentor.instrument(skip_dep_check=True, **options)
    except ModuleNotFoundError:
        return False  # what it instruments is not installed, or opentelemetry-instrumentation itself
    except Exception as error:
        _failed(entry, error)
        return False
    return True


def _idle(entry: EntryPoint) -> bool:
    """Whether the logging instrumentor would do nothing but be imported, which costs more than all of `shipper.init`.

    Without its handler it only adds trace ids to records, since 0.61b0 where that is asked for. A service that activates it
    by itself must still find it active, or there would be a handler beside ours: so it waits for its own module.
    """
    if os.environ.get("OTEL_PYTHON_LOG_CORRELATION", "").lower() == "true":
        return False
    release = re.match(r"0\.(\d+)", entry.dist.version if entry.dist is not None else "")
    return (
        release is not None and int(release[1]) >= 64
    )  # of the OpenTelemetry that we need; older ones stay as they were


def _failed(entry: EntryPoint, error: Exception) -> None:
    voice.fault(f"the OpenTelemetry instrumentation {entry.name!r}", error)


def _django_ready() -> bool:
    """Django's instrumentor reads the settings, and *configures empty ones* where it finds none.

    In a process that sets DJANGO_SETTINGS_MODULE later, or that is importing its settings right now, that would break
    Django. There ``shipper.init(app=...)`` or our own middleware make the spans.
    """
    name = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    conf = sys.modules.get("django.conf")
    if conf is not None and conf.settings.configured:
        return True
    return bool(name) and name not in sys.modules


def _remove_handler() -> None:
    """Beside our handler, that of the logging instrumentor would hand every record over a second time."""
    root = logging.getLogger()
    kind = getattr(sys.modules.get("opentelemetry.instrumentation.logging"), "LoggingInstrumentor", None)
    handler = getattr(kind, "_logging_handler", None)
    if handler is not None and any(type(other).__module__.startswith("shipper.") for other in root.handlers):
        root.removeHandler(handler)
