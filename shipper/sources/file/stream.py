"""The records of a file as a stream: positions are byte offsets, batches are cut at line ends.

What the bytes are, and whether they still are what they were, is the content's business (`shipper.sources.file.content`);
how they become records that of the form (`shipper.sources.file.form`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from shipper.clock import Clock
from shipper.contracts import Batch, Cut, Signal, StreamKind
from shipper.errors import RangeGone
from shipper.otlp.wire import field
from shipper.shape import PLAIN, Shape, Shaped
from shipper.sources.books import SizedStream
from shipper.sources.file import halving, texts, worth
from shipper.sources.file.again import GIVEN_UP, window_again
from shipper.sources.file.content import Changed, Content
from shipper.sources.file.form import Form
from shipper.sources.file.handles import TailedFile
from shipper.sources.file.lines import Rendered, Window
from shipper.sources.file.nulls import gap, gap_at

READ_BYTES = 1 << 20  # larger chunks cost more per byte: they leave the processor's cache between two passes
EPSILON = 0.001  # seconds by which a timer may be early


@dataclass(frozen=True, slots=True)
class Labelled:
    """What stands on the records of a stream beside what a line says: contents of the Resource and the scope messages."""

    resource: bytes
    scope: bytes


class FileStream(SizedStream):
    """The records of a content in one form; of a container's file, those of one of its two outputs."""

    signal = Signal.LOGS
    kind = StreamKind.DATA

    def __init__(
        self,
        id: str,
        content: Content,
        form: Form,
        *,
        output: str = "",
        life: str,
        labelled: Labelled,
        hold: float,
        clock: Clock,
        shape: Shape = PLAIN,
        seen: Callable[[str, bytes], None] | None = None,
        skipped: Callable[[FileStream, int, int], None] = lambda stream, start, end: None,
        unparsed: Callable[[FileStream, Mapping[str, int]], None] = lambda stream, causes: None,
    ) -> None:
        """``output``: that of a container whose records these are. ``hold``: seconds for which an unfinished line is held.

        ``shape`` makes records of events; ``seen`` gets each payload; ``skipped`` is told of ranges where nobody wrote anything,
        once each, ``unparsed`` of how many texts could not be understood, by cause.
        """
        self.id = id
        self.name = content.name
        self.start = content.start
        self.content = content
        self.output = output
        self.hold = hold
        self.form = form
        self.read_to = content.start  # the highest position any destination has cut to
        self.released_to = content.start  # every destination has everything below
        self.measured_to: float = math.inf  # as far as somebody counted what it tells of; inf where nobody does
        self._life = life
        self._labelled = labelled
        self._shape = shape
        self._clock = clock
        self._seen = seen
        self._skipped = skipped
        self._unparsed = unparsed
        self._counted: Callable[[FileStream], None] = lambda _: None
        self._own_to: tuple[int, int] | None = None  # size of the content, and where what is ours ended in that
        content.streams.append(self)

    # What the source tells the stream ---------------------------------------------------------------------------------

    def close_events(self) -> None:
        """Do not hold unfinished lines and events any longer."""
        self.content.closing = True

    def reopen(self) -> None:
        """Hold them again: the drain was taken back."""
        self.content.closing = False

    def give_up(self, gaps: Iterable[tuple[int, int]]) -> None:
        """See `Content.give_up`."""
        self.content.give_up(gaps)

    @property
    def path(self) -> str:
        """The last path known of the file."""
        return self.content.path

    @property
    def file(self) -> TailedFile | None:
        """Where it is read from; None when that is gone."""
        return self.content.file

    @property
    def idle(self) -> bool:
        """Whether every destination has everything that was seen, and who counts it, too."""
        return min(self.released_to, self.measured_to) >= self.content.size

    @property
    def size(self) -> int:
        """How far the file was seen to reach, also where that is no longer shipped."""
        return self.content.size

    @property
    def grown_at(self) -> float:
        """When the end of what may be held was seen first: bytes that are not ours do not have it held any longer."""
        content = self.content
        if self._own_to is None or self._own_to[0] != content.size:
            return content.grown_at
        seen = content.first_seen(self._own_to[1])
        return content.grown_at if seen is None else seen

    @property
    def due_at(self) -> float:
        """When what is held of the end, an unfinished line or event, stops being held."""
        only_events = self.form.holds_finished and not self.content.unfinished
        return self.grown_at + (self.form.timeout if only_events else max(self.hold, self.form.timeout))

    @property
    def holding(self) -> bool:
        """Whether something at the end may have to be held."""
        return self.content.unfinished or self.form.holds_finished

    # What the pumps ask ------------------------------------------------------------------------------------------------

    def frontier(self) -> int:
        """See `Stream.frontier`."""
        return self.content.frontier()

    @property
    def finished(self) -> bool:
        """See `Stream.finished`."""
        return self.content.finished

    def first_seen(self, position: int) -> float | None:
        """See `Stream.first_seen`."""
        return self.content.first_seen(position)

    def released(self, below: int) -> None:
        """See `Stream.released`."""
        if below > self.released_to:
            self.released_to = below
            self.content.progressed()

    def wait_for_counts(self, counted: Callable[[FileStream], None]) -> None:
        """Somebody counts what it tells of: nothing is let go that is not `measured`. ``counted`` is told of each progress."""
        self.measured_to = self.start
        self._counted = counted

    def measured(self, below: int) -> None:
        """Everything below is counted, durably."""
        if below <= self.measured_to:
            return
        self.measured_to = below
        self._counted(self)
        self.content.progressed()

    def text(self, at: int, limit: int) -> tuple[bytes, int]:
        """Whole lines from ``at`` on, and the position behind them; see `shipper.measure.spans.TextStream`."""
        return texts.text(self, at, limit)

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut`."""
        return self._cut_if_there(at, resume, limit, observed_ns, None)

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut_up_to`."""
        return self._cut_if_there(at, resume, limit, observed_ns, end)

    def border(self, position: int) -> int | None:
        """See `Stream.border`."""
        return worth.border(self, position)

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        """See `Stream.valuable`."""
        return worth.valuable(self, start, end)

    def _cut_if_there(self, at: int, resume: int, limit: int, observed_ns: int, bound: int | None) -> Batch | None:
        frontier = self.frontier()
        content = self.content
        if at >= frontier or content.awaited:
            return None
        if content.file is None or at >= content.readable_to:
            raise RangeGone(self.id, at, frontier, content.gone_because or "the file is gone")
        gap_start = self.next_gap(at, frontier)
        if gap_start is not None:
            bound = gap_start if bound is None else min(bound, gap_start)
        try:
            return self._cut(at, resume, limit, observed_ns, bound)
        except Changed:
            content.suspect()  # finds out what happened to the file, and may give us a copy of it
        return None

    def next_gap(self, at: int, frontier: int) -> int | None:
        """Where the next range begins that was given up; None when there is none. Raises `RangeGone` when ``at`` is in one."""
        for start, end in self.content.gaps:
            if start <= at < end:
                raise RangeGone(self.id, at, min(end, frontier), GIVEN_UP)
            if at < start:
                return start
        return None

    def _cut(self, at: int, resume: int, limit: int, observed_ns: int, bound: int | None) -> Batch | None:
        content = self.content
        until = int(min(self.frontier(), content.readable_to))
        if bound is None or bound > until:
            bound = None
        else:
            until = bound
        window = content.window(at, min(until, at + min(limit, READ_BYTES)))
        end = self._due_end(window, at, resume, until, bound, wide=False)
        if end == at and window.end < until:  # a line or an event longer than the limit
            window = content.window(at, min(until, at + self.form.reach))
            end = self._due_end(window, at, resume, until, bound, wide=True)
        return None if end == at else self._batch(window, at, end, resume, observed_ns, bound)

    def _due_end(self, window: Window, at: int, resume: int, until: int, bound: int | None, *, wide: bool) -> int:
        if window.end == bound:
            return window.end  # what lies behind was cut before, so nothing goes on there
        nothing = gap(window.data, at - window.base, self.form.unit, more=window.end < until)
        if nothing is not None:  # whatever lies before it ends there
            return window.base + (nothing[1] if nothing[0] == at - window.base else nothing[0])
        at_end = window.end >= until
        closing = at_end and (self.content.closing or self.finished)
        end = self.form.end(window, at, resume, due=at_end and self._is_due(), closing=closing, wide=wide)
        if end == at and at_end and not closing and (own_end := self.form.own_end(window)) is not None:
            self._own_to = (self.size, own_end)
            if self._is_due():
                end = self.form.end(window, at, resume, due=True, closing=closing, wide=wide)
        return end

    def _is_due(self) -> bool:
        return self._clock.monotonic() + EPSILON >= self.due_at

    def _batch(
        self, window: Window, at: int, end: int, resume: int, observed_ns: int, bound: int | None = None
    ) -> Batch:
        rendered = self._render(window, at, end, resume)
        guard = self.content.remember(window, end)
        shaped = self.shaped(rendered, observed_ns)
        if end > self.read_to:
            if gap_at(window.data, at - window.base):
                self._skipped(self, at, end)
            if shaped.failures or rendered.unparsed:
                self._unparsed(self, {**shaped.failures, **rendered.unparsed})
            self.read_to = end
        next_resume = end if end == bound else rendered.next_resume
        cut = Cut(at, end, resume, next_resume, shaped.records, observed_ns, guard, shaped.filtered, shaped.sampled)
        batch = self._carry(cut, shaped)
        if self._seen is not None:
            self._seen(self.path, batch.payload)
        return batch

    def _render(self, window: Window, at: int, end: int, resume: int) -> Rendered:
        """The texts of a range; a gap, where nobody wrote, has none."""
        if gap_at(window.data, at - window.base):
            return Rendered([], None, end)
        return self.form.render(window, at, end, resume)

    def shaped(self, rendered: Rendered, observed_ns: int) -> Shaped:
        """The records that are made of texts."""
        return self._shape.shape(
            self._labelled.resource, self._labelled.scope, rendered.lines, observed_ns, rendered.extra, rendered.times
        )

    def _carry(self, cut: Cut, shaped: Shaped) -> Batch:
        payload = shaped.payload or field(1, field(1, self._labelled.resource))  # proves that the range was read
        return Batch(self._life, self.id, self.signal, cut, payload)

    def reread(self, cut: Cut) -> Batch:
        """See `Stream.reread`."""
        window = window_again(self, cut)
        rendered = self._render(window, cut.start, cut.end, cut.resume)
        shaped = self.shaped(rendered, cut.observed_ns)
        # other records than were counted only when the settings were changed since
        found = replace(cut, records=shaped.records, filtered=shaped.filtered, sampled=shaped.sampled)
        return self._carry(found, shaped)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`."""
        return halving.halves(self, cut)
