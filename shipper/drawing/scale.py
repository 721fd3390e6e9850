"""Axes: where a value stands, which values are marked, and how they are written."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in seconds since the epoch, laid over pixels from ``left`` to ``right``."""

    start: float
    end: float
    left: float
    right: float

    def x(self, at: float) -> float:
        """Where a moment stands; one outside stands at the border."""
        share = (at - self.start) / max(self.end - self.start, 1e-9)
        return self.left + min(1.0, max(0.0, share)) * (self.right - self.left)

    def marks(self, most: int = 8) -> Iterator[tuple[float, str]]:
        """Moments to mark with how they are written, in UTC."""
        step = step_for(self.end - self.start, most)
        form = "%m-%d" if step >= 86400 else "%m-%d %H:%M" if self.end - self.start > 86400 else "%H:%M"
        form = form if step >= 60 else "%H:%M:%S"
        at = math.ceil(self.start / step) * step
        while at <= self.end:
            yield float(at), time.strftime(form, time.gmtime(at))
            at += step


def step_for(seconds: float, most: int) -> int:
    """The least handy number of seconds of which at most ``most`` fit into ``seconds``."""
    return next(
        (step for step in _STEPS if seconds / step <= most), max(1, math.ceil(seconds / most / 604800) * 604800)
    )


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """About five handy values, evenly apart, from at most ``low`` to at least ``high``; ``whole``: of things one counts."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        low, high = min(low, 0.0) if math.isfinite(low) else 0.0, 1.0
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def moment(at: float) -> str:
    """A time for people, in UTC, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at)) if 0 < at < 253402300800 else ""


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    if not math.isfinite(seconds):
        return str(seconds)
    if 0 < abs(seconds) < 1:
        return f"{seconds * 1000:.3g} ms"
    if abs(seconds) < 60:
        return f"{seconds:.3g} s"
    left, parts = round(abs(seconds)), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return ("-" if seconds < 0 else "") + " ".join(parts[:2])


def number(value: float) -> str:
    """A bare number with as many digits as tell something."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(value: float) -> str:
    """A share of one."""
    if not math.isfinite(value):
        return number(value)
    return f"{value * 100:.3g} %" if abs(value) < 9.995 else f"{value * 100:,.0f} %"
