"""OpenTelemetry metrics, at no cost where they are not used: no SDK import and no thread until something is measured.

Instrumentations make instruments as soon as they are loaded, whether or not anybody will ever use them. So an instrument
from here becomes a real one when it is first used, and from then on its methods are the real one's own. Only observable
instruments are made at once, with the SDK's provider, a reader and its one thread: they are asked, not used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import metrics

from shipper.sdk import voice
from shipper.sdk.emit.seam import forget_in_children

_Gauge: Any = metrics._Gauge  # its public name is still to come


class LazyMeterProvider(metrics.MeterProvider):
    """Makes the SDK's meter provider by ``make()`` when it is first needed."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._real: Any = None
        self.lock = threading.RLock()
        forget_in_children(self, LazyMeterProvider._renew_lock)

    def _renew_lock(self) -> None:
        self.lock = threading.RLock()

    def real(self) -> Any:
        """The SDK's provider; where it cannot be made, one that measures nothing: the service was only counting something."""
        if self._real is None:
            with self.lock:
                if self._real is None:
                    self._real = self._made()
        return self._real

    def _made(self) -> Any:
        try:
            return self._make()
        except Exception as error:
            voice.fault("OpenTelemetry metrics", error)
            return _Nothing()

    @property
    def in_use(self) -> bool:
        """Whether anything was ever measured."""
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


class _Nothing(metrics.NoOpMeterProvider):
    """Stands in for a provider of the SDK that could not be made."""

    def add_metric_reader(self, metric_reader: Any) -> None:
        """There is nothing to read."""

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Nothing runs."""


class _LazyMeter(metrics.Meter):
    """A meter whose instruments are made when they are used."""

    def __init__(self, provider: LazyMeterProvider, *scope: Any) -> None:
        super().__init__(*scope[:3])
        self._provider = provider
        self._scope = scope

    def _later(self, method: str, *arguments: Any, **options: Any) -> Callable[[], Any]:
        made: list[Any] = []

        def make() -> Any:
            with self._provider.lock:  # once, whichever thread is first
                if not made:
                    made.append(self._now(method, *arguments, **options))
            return made[0]

        return make

    def _now(self, method: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self._provider.real().get_meter(*self._scope), method)(*arguments, **options)

    def create_counter(self, name: str, unit: str = "", description: str = "") -> metrics.Counter:
        return _LazyCounter(self._later("create_counter", name, unit, description))

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> metrics.UpDownCounter:
        return _LazyUpDownCounter(self._later("create_up_down_counter", name, unit, description))

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Any:
        return _LazyGauge(self._later("create_gauge", name, unit, description))

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        advisory = {"explicit_bucket_boundaries_advisory": explicit_bucket_boundaries_advisory}
        return _LazyHistogram(self._later("create_histogram", name, unit, description, **advisory))

    def create_observable_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableCounter:
        return self._now("create_observable_counter", name, callbacks, unit, description)  # type: ignore[no-any-return]

    def create_observable_up_down_counter(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableUpDownCounter:
        return self._now(  # type: ignore[no-any-return]
            "create_observable_up_down_counter", name, callbacks, unit, description
        )

    def create_observable_gauge(
        self, name: str, callbacks: Any = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableGauge:
        return self._now("create_observable_gauge", name, callbacks, unit, description)  # type: ignore[no-any-return]


class _Lazy:
    """The first use of an instrument makes the real one, whose method then stands in the place of this one's."""

    _method: str

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def _use(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        used = getattr(self._make(), self._method)
        setattr(self, self._method, used)
        used(amount, attributes, context)


class _LazyCounter(_Lazy, metrics.Counter):
    _method = "add"

    def add(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        self._use(amount, attributes, context)


class _LazyUpDownCounter(_Lazy, metrics.UpDownCounter):
    _method = "add"

    def add(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        self._use(amount, attributes, context)


class _LazyHistogram(_Lazy, metrics.Histogram):
    _method = "record"

    def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        self._use(amount, attributes, context)


class _LazyGauge(_Lazy, _Gauge):  # type: ignore[misc]
    _method = "set"

    def set(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        """Record the current value."""
        self._use(amount, attributes, context)
