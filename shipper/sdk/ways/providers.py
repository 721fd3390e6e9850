"""OpenTelemetry's three global providers: found where the service has its own, set where it has none, never doubled.

Whether something of ours is on a provider already is remembered on the provider itself, because the ways to us (a call of
``init``, the distro, the post-instrument hook) do not know of each other.
"""

from __future__ import annotations

from typing import Any, Protocol

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from shipper.sdk import voice
from shipper.sdk.emit.seam import forget_in_children
from shipper.sdk.ways.direct import DirectSpans

_MARK = "_shipper_handoff"
_OF_A_PROCESS = ("service.instance.id", "process.pid", "process.parent_pid")


class Identified(Protocol):
    """Who the calling process is: `shipper.sdk.start.Started`."""

    def attributes(self) -> dict[str, Any]: ...
    def resource(self) -> Resource: ...


def tracer_provider(who: Identified) -> TracerProvider | None:
    """The SDK's tracer provider, to put something on; a new one where the service set none.

    None when there is nothing to do: something of ours is on it, or it is of a kind that takes no processors.
    """
    current: Any = trace.get_tracer_provider()
    if isinstance(current, trace.ProxyTracerProvider):
        current = TracerProvider(resource=who.resource(), shutdown_on_exit=False, active_span_processor=DirectSpans())
        trace.set_tracer_provider(current)
        stay_true(current, who)
    if not hasattr(current, "add_span_processor"):
        voice.say(
            f"the service's tracer provider ({_name(current)}) takes no processors: its spans are not handed over"
        )
        return None
    return current if _claim(current) else None


def logger_provider(who: Identified) -> LoggerProvider | None:
    """The SDK's logger provider, as `tracer_provider`."""
    current: Any = _logs.get_logger_provider()
    if is_proxy(current):
        current = LoggerProvider(resource=who.resource(), shutdown_on_exit=False)
        _logs.set_logger_provider(current)
        stay_true(current, who)
    if not hasattr(current, "add_log_record_processor"):
        voice.say(
            f"the service's logger provider ({_name(current)}) takes no processors: its records are not handed over"
        )
        return None
    return current if _claim(current) else None


def meter_provider(ours: metrics.MeterProvider) -> Any:
    """The service's own meter provider, if it takes a reader from us; None, after ``ours`` was set where there was none."""
    current: Any = metrics.get_meter_provider()
    if is_proxy(current):
        metrics.set_meter_provider(ours)
        return None
    if not hasattr(current, "add_metric_reader"):
        voice.say(f"the service's meter provider ({_name(current)}) takes no readers: its metrics are not handed over")
        return None
    return current if _claim(current) else None


def is_proxy(provider: object) -> bool:
    """Whether this is the stand-in that OpenTelemetry's API gives while no provider was set (its class has no public name)."""
    return type(provider).__module__.startswith("opentelemetry.") and "Proxy" in type(provider).__name__


def stay_true(provider: Any, who: Identified) -> None:
    """Have a provider's resource speak of a forked child as we do; OpenTelemetry gives it a random instance id there."""

    def relabel(provider: Any) -> None:
        everything = who.attributes()
        update(provider, {key: everything[key] for key in _OF_A_PROCESS if key in everything})

    forget_in_children(provider, relabel)


def update(provider: Any, attributes: dict[str, Any]) -> bool:
    """Merge attributes into a provider's resource; False where that cannot be done."""
    more = Resource(attributes)
    if hasattr(provider, "_update_resource"):
        provider._update_resource(more)
        return True
    resource: Any = getattr(provider, "resource", None)  # before 1.45: its tracers and loggers have the same object
    if not hasattr(resource, "_attributes"):
        return False
    resource._attributes = resource.merge(more)._attributes
    return True


def _claim(provider: object) -> bool:
    """True the first time for a provider."""
    if getattr(provider, _MARK, False):
        return False
    try:
        setattr(provider, _MARK, True)
    except AttributeError:
        return True  # one with slots: then there is nothing to remember it by
    return True


def _name(provider: object) -> str:
    return f"{type(provider).__module__}.{type(provider).__qualname__}"
