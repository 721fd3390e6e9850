"""OpenTelemetry's three global providers: found where the service has its own, set where it has none, never doubled.

Whether a processor of ours is on a provider already is remembered on the provider itself, because the ways to us (a call
of ``init``, the distro, the post-instrument hook) do not know of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from shipper.sdk import voice

_MARK = "_shipper_handoff"


def tracer_provider(resource: Callable[[], Resource]) -> TracerProvider | None:
    """The global tracer provider of the SDK; a new one where the service set none. None: it has one that takes no processor."""
    current: Any = trace.get_tracer_provider()
    if hasattr(current, "add_span_processor"):
        return current  # type: ignore[no-any-return]
    if not isinstance(current, trace.ProxyTracerProvider):
        voice.say(
            f"the service's tracer provider ({_name(current)}) takes no processors: its spans are not handed over"
        )
        return None
    provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    return provider


def logger_provider(resource: Callable[[], Resource]) -> LoggerProvider | None:
    """The global logger provider, as `tracer_provider`."""
    current: Any = _logs.get_logger_provider()
    if hasattr(current, "add_log_record_processor"):
        return current  # type: ignore[no-any-return]
    if not is_proxy(current):
        voice.say(
            f"the service's logger provider ({_name(current)}) takes no processors: its records are not handed over"
        )
        return None
    provider = LoggerProvider(resource=resource(), shutdown_on_exit=False)
    _logs.set_logger_provider(provider)
    return provider


def meter_provider(make: Callable[[], metrics.MeterProvider]) -> Any:
    """The service's own meter provider if it takes readers; else None, after ``make()`` was set where there was none."""
    current: Any = metrics.get_meter_provider()
    if hasattr(current, "add_metric_reader"):
        return current
    if is_proxy(current):
        metrics.set_meter_provider(make())
    else:
        voice.say(f"the service's meter provider ({_name(current)}) takes no readers: its metrics are not handed over")
    return None


def is_proxy(provider: object) -> bool:
    """Whether this is the stand-in that OpenTelemetry's API gives while no provider was set (its class has no public name)."""
    return type(provider).__module__.startswith("opentelemetry.") and "Proxy" in type(provider).__name__


def claim(provider: object) -> bool:
    """True the first time for a provider: only then is something of ours put on it."""
    if getattr(provider, _MARK, False):
        return False
    try:
        setattr(provider, _MARK, True)
    except AttributeError:  # a provider with slots: then there is nothing to remember it by
        return True
    return True


def _name(provider: object) -> str:
    return f"{type(provider).__module__}.{type(provider).__qualname__}"
