"""Shipper gets every log, trace and metric off an ephemeral host before it dies, and proves what arrived.

For services, this page is all there is: `init` once, and whatever else of it is of use. For the rest of the package, how it
is arranged: ``contracts`` is the page to read first. A *source* (``sources``) makes streams; a *pump*
(``pump``) cuts them into OTLP batches (``otlp``), has each cut committed to the *ledger* (``ledger``), and moves a cursor
only when an exporter (``shipper_exporters``, found by entry point) was told by an off-host destination that it has them.
What comes by network is written to a *spool* (``spool``) before it is acknowledged. A notice starts the *drain*
(``drain``). ``fleet`` audits archives, ``labels`` answers who we are, ``sidecar`` puts it all together, ``cli`` is thin.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not from typing, which costs more to import than all of this: the command imports us too
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping
    from typing import Any, Literal

    from shipper.sdk.identity import Identity

__version__ = "0.1.0"
__all__ = ["__version__", "asgi", "event", "identity", "init", "logging_handler", "shutdown", "wsgi"]


def init(
    service: str | None = None,
    *,
    app: Any = None,
    release: str | None = None,
    environment: str | None = None,
    generation: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    handoff: Literal["auto", "spool", "otlp", "forward", "off"] = "auto",
    endpoint: str | None = None,
    level: int | str | None = None,
    redact: Callable[[str], str] | None = None,
    logs: Literal["handoff", "stdout", "off"] | None = None,
    instrument: bool = True,
) -> None:
    """Hand this process's spans, log records and metrics over to the sidecar, each with the full identity.

    To be called once, at start; a second call changes nothing. It never raises and never waits for anything: a wrong
    setting is said by the logger ``shipper`` and its default is used, and without a sidecar the service runs as ever.
    It uses the OpenTelemetry providers the service has set, and sets those it has not. A forked child goes on by itself.

    :param service: ``service.name``. Also ``SHIPPER_SERVICE``, ``OTEL_SERVICE_NAME``.
    :param app: an ASGI or WSGI application to make server spans for (as `asgi` and `wsgi` do), where its framework lets
        itself be wrapped in place.
    :param release: ``service.version``. Also ``SHIPPER_RELEASE``; else what `shipper bake` put into the image.
    :param environment: ``deployment.environment.name``. Also ``SHIPPER_ENVIRONMENT``.
    :param generation: the deploy this host belongs to. Also ``SHIPPER_GENERATION``; else the sidecar knows it best.
    :param attributes: further resource attributes; they win over everything found.
    :param handoff: ``auto``: the sidecar's spool, else OTLP where an endpoint was given explicitly, else the latest
        records are kept in memory until a spool appears. Also ``SHIPPER_HANDOFF``, whose ``off`` always wins.
    :param endpoint: the OTLP endpoint, or ``host:port`` of a forward server, for these two ways.
    :param level: the least severe log records to take, by name or number of `logging`. Also ``SHIPPER_LEVEL``.
    :param redact: called with every text that users or programs may have written (log bodies, values of attributes,
        messages and stacks of exceptions, names of spans) before it leaves the process; what it returns is sent. Where it
        raises, the text is replaced and never passed on.
    :param logs: ``handoff``: log records go the same way as spans. ``stdout``: they are collected where they are printed,
        so only trace and span ids are added to them. ``off``: logging is left alone. Also ``SHIPPER_LOGS``.
    :param instrument: load the OpenTelemetry instrumentations that are installed.
    """
    from shipper.sdk.start import init

    init(
        {
            "service": service,
            "app": app,
            "release": release,
            "environment": environment,
            "generation": generation,
            "attributes": attributes,
            "handoff": handoff,
            "endpoint": endpoint,
            "level": level,
            "redact": redact,
            "logs": logs,
            "instrument": instrument,
        }
    )


def event(name: str, attributes: Mapping[str, Any] | None = None, *, severity: int | str = "INFO") -> None:
    """Record that something happened: an OpenTelemetry event (a log record with a name), in the current trace if any.

    :param name: what happened, the same text each time: ``cache.warmed``. What differs belongs into ``attributes``.
    :param severity: ``TRACE``, ``DEBUG``, ``INFO``, ``WARN``, ``ERROR``, ``FATAL``, or an OpenTelemetry severity number.

    Never raises. Without `init` (or another OpenTelemetry set-up) it does nothing.
    """
    from shipper.sdk.events import emit

    emit(name, attributes, severity)


def identity() -> Identity:
    """Who this process is, as its records say: service, release, generation, host, life and where each is known from.

    What was stated here comes first, then what the sidecar of this host knows, then what can be found without it. No
    network; the same object until the sidecar learns more or the process forks.
    """
    from shipper.sdk.identity import identity

    return identity()


def shutdown(timeout: float = 1.0) -> None:
    """Flush what is still queued in this process, for at most ``timeout`` seconds, and stop; may be called again.

    Records handed to a spool are safe without it. It matters for ``otlp`` and ``forward``, and for a last state of metrics.
    """
    from shipper.sdk.start import shutdown

    shutdown(timeout)


def asgi(app: Any) -> Any:
    """Wrap an ASGI application (FastAPI, Starlette, Django, Quart, ...) so that each request is a server span."""
    from shipper.sdk.web.asgi import asgi as wrapped

    return wrapped(app)


def wsgi(app: Any) -> Any:
    """Wrap a WSGI application (Flask, Django, Bottle, ...) so that each request is a server span."""
    from shipper.sdk.web.wsgi import wsgi as wrapped

    return wrapped(app)


def logging_handler(level: int | str = 0) -> logging.Handler:
    """A handler that hands log records over, for services that set up `logging` by themselves (``init(logs="off")``)."""
    from shipper.sdk.start import logging_handler

    return logging_handler(level)
