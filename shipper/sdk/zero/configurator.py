"""The configurator that goes with our distro: OpenTelemetry's own where it was asked for anything, and the hand-off beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk._configuration import _OTelSDKConfigurator

from shipper.sdk.start import init
from shipper.sdk.zero.distro import CONFIGURATOR, NAME, chosen

_EXPORTERS = tuple(f"OTEL_{signal}_EXPORTER" for signal in ("TRACES", "LOGS", "METRICS"))
_WISHES = (
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_PYTHON_ID_GENERATOR",
    "OTEL_PYTHON_TRACER_CONFIGURATOR",
    "OTEL_PYTHON_METER_CONFIGURATOR",
    "OTEL_PYTHON_LOGGER_CONFIGURATOR",
)
"""What only OpenTelemetry's configurator can do."""


class ShipperConfigurator(_OTelSDKConfigurator):
    """Makes providers. Where nothing was asked of OpenTelemetry's configurator, `shipper.init` makes them, and no threads."""

    def _configure(self, **kwargs: Any) -> None:
        if not chosen() and os.environ.get(CONFIGURATOR, "").strip() != NAME:
            super()._configure(**kwargs)  # type: ignore[no-untyped-call]  # we were found, not named
            return
        with _without_ours(os.environ):
            if any(os.environ.get(name, "").strip() not in ("", "none") for name in (*_WISHES, *_EXPORTERS)):
                super()._configure(**kwargs)  # type: ignore[no-untyped-call]
        version = kwargs.get("auto_instrumentation_version")
        attributes = {"telemetry.auto.version": version} if version else None
        init({"instrument": False, "attributes": attributes}, in_code=False)


@contextmanager
def _without_ours(env: Any) -> Iterator[None]:
    """While this lasts, exporters named ``shipper`` are not named: our processors do the same without a queue."""
    before = {name: env[name] for name in _EXPORTERS if name in env}
    for name, value in before.items():
        env[name] = ",".join(part for part in map(str.strip, value.split(",")) if part != NAME) or "none"
    try:
        yield
    finally:
        env.update(before)
