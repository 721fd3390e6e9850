"""Durations as PromQL writes them: ``45s``, ``5m``, ``1h30m``, ``4s500ms``."""

from __future__ import annotations

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def duration(seconds: float) -> str:
    """Exact to the millisecond, which is as fine as Prometheus counts; at least ``1ms``, for a range of 0 is an error.

    Weeks are not used: they read worse in a legend than ``14d``.
    """
    left = max(1, round(seconds * 1000))
    text = ""
    for unit, size in _UNITS:
        amount, left = divmod(left, size)
        text += f"{amount}{unit}" if amount else ""
    return text
