"""Which spans of a batch are shipped: a pure function of the batch's frames, so that a resend decides the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shipper.handoff.frame import ERROR, Frame

_SPREAD = 0x9E3779B97F4A7C15  # odd: a service that sampled by trace id already must not thereby decide what we keep
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """``keep``: the share of traces shipped. ``slow_ns``: a span of this duration keeps its trace; 0: none does."""

    keep: float = 1.0
    slow_ns: int = 0

    def choose(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The frames to ship, in order. An error or a slow span keeps all spans of its trace in ``frames``."""
        if self.keep >= 1.0:
            return frames
        wanted = {frame.trace for frame in frames if frame.flags & ERROR or self.slow(frame.duration_ns)}
        return [frame for frame in frames if frame.trace in wanted or self.lucky(frame.trace)]

    def slow(self, duration_ns: int) -> bool:
        """Whether a span that took so long keeps its trace."""
        return duration_ns >= (self.slow_ns or _MASK)

    def lucky(self, trace: int) -> bool:
        """Whether a trace is kept whatever its spans are like. ``trace``: the low 64 bits of its id."""
        return trace * _SPREAD & _MASK < int(self.keep * (1 << 64))
