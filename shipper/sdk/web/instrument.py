"""Loading the OpenTelemetry instrumentors that are installed, as ``opentelemetry-instrument`` does, from ``shipper.init``.

Only where ``opentelemetry-instrumentation`` is installed; who has it wants its instrumentors, and none of them twice.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from shipper.sdk import voice

_GROUP = "opentelemetry_instrumentor"


def load_instrumentors(*, ships_logs: bool = True) -> list[str]:
    """Activate every installed instrumentor that is not active yet; the names of those activated now.

    Left out are those in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS (``*``: all), those whose library is not installed or has
    another version (quietly), and Django's where its settings cannot be read yet. With ``ships_logs`` log records are
    handed over already, so the logging instrumentor installs no handler; one that is there beside ours is removed.
    Safe to call twice, and after ``opentelemetry-instrument``. Never raises.
    """
    try:
        from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
    except ImportError:
        return []
    skipped = {name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    loaded: list[str] = []
    for entry in () if "*" in skipped else entry_points(group=_GROUP):
        if entry.name in skipped or (entry.name == "django" and not _django_ready()):
            continue
        try:
            if (entry.dist is None or not get_dist_dependency_conflicts(entry.dist)) and _load(entry, ships_logs):
                loaded.append(entry.name)
        except ModuleNotFoundError:
            continue  # what it instruments is not installed
        except Exception as error:
            voice.fault(f"the OpenTelemetry instrumentation {entry.name!r}", error)
    if ships_logs:
        _remove_handler()
    return loaded


def _load(entry: EntryPoint, ships_logs: bool) -> bool:
    instrumentor = entry.load()()
    if instrumentor.is_instrumented_by_opentelemetry:
        return False
    options: dict[str, Any] = (
        {"enable_log_auto_instrumentation": False} if entry.name == "logging" and ships_logs else {}
    )
    instrumentor.instrument(skip_dep_check=True, **options)
    return True


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
