"""Sizes, spans and counts as people read them at a glance, in few columns."""

from __future__ import annotations

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes: ``0 B``, ``1.2 MB``."""
    for unit in _SIZES[:-1]:
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} {_SIZES[-1]}"


def span(seconds: float) -> str:
    """Two units at most: ``40 ms``, ``3.2 s``, ``4m 10s``, ``2h 05m``, ``3d 04h``."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def ratio(part: float, whole: float) -> str:
    """A share in percent; nothing where there is no whole: that is not 0 %."""
    return f"{part / whole:.2%}" if whole > 0 else ""


def rate(per_second: float) -> str:
    """A number a second: small ones with their fraction."""
    return f"{per_second:.1f}" if per_second < 99.95 else f"{per_second:,.0f}"
