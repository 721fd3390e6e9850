"""OpenTelemetry metrics, at no cost where they are not used: no SDK import, no thread, until an instrument is made.

The provider in here is what services and instrumentations get from ``get_meter_provider()``. The real one, a reader and
its one thread come with the first instrument (`shipper.sdk.metric_reader`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import metrics

from shipper.sdk.seam import forget_in_children


class LazyMeterProvider(metrics.MeterProvider):
    """Makes the SDK's meter provider by ``make()`` when the first instrument is made."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._real: Any = None
        self._lock = threading.Lock()
        forget_in_children(self, LazyMeterProvider._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def real(self) -> Any:
        """The SDK's provider."""
        if self._real is None:
            with self._lock:
                if self._real is None:
                    self._real = self._make()
        return self._real

    @property
    def in_use(self) -> bool:
        """Whether an instrument was ever made."""
        return self._real is not None

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Any = None
    ) -> metrics.Meter:
        return _LazyMeter(self, name, version, schema_url, attributes)

    def add_metric_reader(self, metric_reader: Any) -> None:
        """Register a further reader, as with the SDK's provider."""
        self.real().add_metric_reader(metric_reader)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect now. There is nothing to do where metrics were never used."""
        return self._real is None or bool(self._real.force_flush(timeout_millis))

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Collect a last time and stop."""
        if self._real is not None:
            self._real.shutdown(timeout_millis)


class _LazyMeter(metrics.Meter):
    """A meter whose instruments are the SDK's own: what is used later costs nothing more for having come this way."""

    def __init__(self, provider: LazyMeterProvider, *scope: Any) -> None:
        super().__init__(*scope[:3])
        self._provider = provider
        self._scope = scope

    def _meter(self) -> Any:
        return self._provider.real().get_meter(*self._scope)

    def create_counter(self, name: str, unit: str = "", description: str = "") -> metrics.Counter:
        return self._meter().create_counter(name, unit, description)  # type: ignore[no-any-return]

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> metrics.UpDownCounter:
        return self._meter().create_up_down_counter(name, unit, description)  # type: ignore[no-any-return]

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._meter().create_gauge(name, unit, description)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        return self._meter().create_histogram(  # type: ignore[no-any-return]
            name, unit, description, explicit_bucket_boundaries_advisory=explicit_bucket_boundaries_advisory
        )

    def create_observable_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableCounter:
        return self._meter().create_observable_counter(name, callbacks, unit, description)  # type: ignore[no-any-return]

    def create_observable_up_down_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableUpDownCounter:
        return self._meter().create_observable_up_down_counter(  # type: ignore[no-any-return]
            name, callbacks, unit, description
        )

    def create_observable_gauge(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableGauge:
        return self._meter().create_observable_gauge(name, callbacks, unit, description)  # type: ignore[no-any-return]
