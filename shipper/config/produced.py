"""Of which signals a configuration makes records: what nobody takes is worth a word only where there will be some."""

from __future__ import annotations

from collections.abc import Iterable

from shipper.config.schema import Config, Role
from shipper.contracts import Signal


def produced(config: Config, role: Role) -> frozenset[Signal]:
    """The signals that something is configured for: files, journals, receivers, endpoints to read; and logs, for the account.

    What services hand over counts only once it comes: any of them may, on every host. Numbers of our own are made only where
    somebody takes them.
    """
    if role == "gateway" or config.receivers.otlp is not None:
        return frozenset(Signal)
    numbers = config.metrics.scrape or config.metrics.multiprocess_dirs
    return frozenset({Signal.LOGS, Signal.METRICS}) if numbers else frozenset({Signal.LOGS})


def in_words(signals: Iterable[Signal]) -> str:
    """``logs``, ``logs and traces``, ``logs, traces and metrics``; in the order in which they are always named."""
    found = set(signals)
    *most, last = (signal.value for signal in Signal if signal in found)
    return f"{', '.join(most)} and {last}" if most else last
