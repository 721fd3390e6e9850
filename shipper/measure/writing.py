"""Puts samples into the two streams of numbers, each series' time stamps ascending, and ends what is not there any more.

``metrics`` carries what is measured while a host lives, and is accounted for like all data. ``metrics-life`` carries what can
only be known, or only be said, once that account is closed: how it ended, and the end of every series.
"""

from __future__ import annotations

from collections.abc import Mapping

from shipper.clock import Clock
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter
from shipper.measure.live import Live
from shipper.measure.samples import NOTHING, Samples
from shipper.measure.stream import MetricsStream

MILLISECOND = 1_000_000  # what most stores of metrics can tell apart


class Writer:
    """One per run; called on the event loop."""

    def __init__(self, stream: MetricsStream, life: MetricsStream, clock: Clock, report: Reporter) -> None:
        self._stream = stream
        self._life = life
        self._clock = clock
        self._report = report
        self._live = Live()
        self._stamped_ns = 0

    async def reopen(self) -> None:
        """Announce the streams an earlier run had. Raises `StateError`."""
        await self._stream.reopen()
        await self._life.reopen()

    @property
    def said_late(self) -> bool:
        """Whether something was written when all that is counted had had its last sample (see `write_late`)."""
        return self._life.exists

    def close(self) -> None:
        """Close the spools."""
        self._stream.close()
        self._life.close()

    def stamp(self) -> int:
        """A time later than that of every sample before, also where the clock was set back."""
        self._stamped_ns = max(self._clock.wall_ns(), self._stamped_ns + MILLISECOND)
        return self._stamped_ns

    def stamped(self, time_ns: int) -> None:
        """A sample has this time, which was not given by `stamp`."""
        self._stamped_ns = max(self._stamped_ns, time_ns)

    async def write(self, of: Mapping[str, Samples]) -> None:
        """All that some producers have to say now, as one request. What they have no more is ended. Faults are reported."""
        await self._write(self._stream, sum((self._with_ends(*one) for one in of.items()), NOTHING))

    async def write_beginning(self, producer: str, samples: Samples) -> None:
        """What is new with a producer. Faults are reported."""
        self._live.began(producer, samples.payload)
        await self._write(self._stream, samples)

    async def write_late(self, of: Mapping[str, Samples]) -> None:
        """As `write`, when what the life's account counts is fixed already."""
        await self._write(self._life, sum((self._with_ends(*one) for one in of.items()), NOTHING))

    async def write_last(self, last: Mapping[str, Samples], time_ns: int) -> None:
        """As `write_end`, of a life that is over already: what it left is data as any other. Faults are reported."""
        await self._write(self._stream, self._ended(last, time_ns))

    async def write_end(self, last: Mapping[str, Samples], time_ns: int) -> None:
        """The last samples, taken at ``time_ns``, by producer, and a moment later the end of all there is.

        Raises `ShipperError` and OSError; then nothing was written, and it may be tried again.
        """
        await self._life.write(self._ended(last, time_ns), self._clock.wall_ns())
        self._live.clear()

    def _ended(self, last: Mapping[str, Samples], time_ns: int) -> Samples:
        for producer, samples in last.items():
            self._live.began(producer, samples.payload)
        self.stamped(time_ns + MILLISECOND)
        return sum(last.values(), NOTHING) + self._live.ends(time_ns + MILLISECOND)

    def _with_ends(self, producer: str, samples: Samples) -> Samples:
        if not samples.points:  # it has nothing to say, which is not to say that it has nothing
            return samples
        return samples + self._live.wrote(producer, samples.payload, max(self._clock.wall_ns(), self._stamped_ns))

    async def _write(self, stream: MetricsStream, samples: Samples) -> None:
        try:
            await stream.write(samples, self._clock.wall_ns())
        except (ShipperError, OSError) as problem:
            self._report(Problem("measure", f"numbers cannot be written down this time: {problem}", "write"))
