"""One incarnation of a file as a stream: positions are byte offsets, batches are cut at line ends.

The stream knows how far the file was seen to reach and what the bytes before certain positions were. It never trusts that a
file still holds what it held: every read brings along the bytes before it and compares. What the finding means (truncated,
copied, replaced) is for the source to find out; the stream only says that it must be looked at.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

from shipper.clock import Clock
from shipper.contracts import Batch, Cut, Signal, StreamKind
from shipper.errors import RangeGone
from shipper.shape import PLAIN, Multiline, Shape, Shaped
from shipper.sources.books import SizedStream
from shipper.sources.file.form import AHEAD, EventForm, Form, LineForm
from shipper.sources.file.handles import Replaced, TailedFile
from shipper.sources.file.identity import GUARD_BYTES, HEAD_BYTES, Head, guard_of
from shipper.sources.file.lines import Rendered, Window, border_near
from shipper.sources.file.severity import tells_of_errors

BLOCK = 64 << 10  # of a range whose value is judged; an event longer than this has no place of its own in the order
PREFIX = 4 << 10  # bytes behind a position that tell whether an event begins there
READ_BYTES = 1 << 20  # larger chunks cost more per byte: they leave the processor's cache between two passes
GUARDS = 32
SIGHTINGS = 512
EPSILON = 0.001  # seconds by which a timer may be early


class Changed(Exception):
    """A finding rather than an error: the file does not hold what it held a moment ago."""


class FileStream(SizedStream):
    """The lines of one incarnation of a file, from ``start``; ``name`` is the path it had when it was first seen."""

    signal = Signal.LOGS
    kind = StreamKind.DATA

    def __init__(
        self,
        id: str,
        *,
        name: str,
        start: int,
        life: str,
        resource: bytes,
        scope: bytes,
        line_limit: int,
        hold: float,
        clock: Clock,
        suspicious: Callable[[FileStream], None],
        idle: Callable[[FileStream], None],
        multiline: Multiline | None = None,
        shape: Shape = PLAIN,
        seen: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """``multiline`` joins lines to events; none: every line is an event. ``shape`` makes records of events.

        ``seen`` gets each payload once.

        ``suspicious`` is called when the content is not what it was, ``idle`` when all that was seen is released."""
        self.id = id
        self.name = name
        self.start = start
        self.hold = hold
        self.path = name  # the last one known
        self.head = Head(0, "")
        self.file: TailedFile | None = None
        self.read_to = start  # the highest position any destination has cut to
        self.released_to = start
        self.measured_to: float = math.inf  # as far as somebody counted what it tells of; inf where nobody does
        self.grown_at = -math.inf
        self.unfinished = False  # the last byte seen is no line end
        self._life = life
        self._resource = resource
        self._scope = scope
        self._form: Form = LineForm(line_limit) if multiline is None else EventForm(multiline)
        self._shape = shape
        self._clock = clock
        self._suspicious = suspicious
        self._became_idle = idle
        self._seen = seen
        self._counted: Callable[[FileStream], None] = lambda _: None
        self._size = start
        self._readable_to: float = math.inf  # what lies behind was destroyed
        self._gone_because = ""
        self._gaps: list[tuple[int, int]] = []  # given up by who writes the file
        self._final = False
        self._fixed: int | None = None
        self._closing = False
        self._guards: OrderedDict[int, int] = OrderedDict()
        self._tail = (start, 0)
        self._sizes: list[int] = []
        self._times: list[float] = []

    # What the source tells the stream ---------------------------------------------------------------------------------

    def expect(self, position: int, guard: int) -> None:
        """Remember what the bytes before ``position`` were (a guard of an earlier run)."""
        if guard and not self._in_gap(position):
            self._guards[position] = guard

    def sighted(self, size: int, when: float) -> None:
        """The stream reaches to ``size`` and did so at ``when`` (monotonic seconds); a final one reaches no further."""
        if self._final:
            return
        if size > self._size and when > -math.inf:
            self._sizes.append(size)
            self._times.append(when)
            if len(self._sizes) > SIGHTINGS:  # coarser for what waits long: a time is never later than the truth
                del self._sizes[0:SIGHTINGS:2], self._times[1:SIGHTINGS:2]
        self._size = max(self._size, size)
        self.grown_at = max(self.grown_at, when)

    def look(self, size: int) -> bool:
        """Compare the file, ``size`` bytes long now, with what was seen; False when it is not the same content any more.

        Raises OSError when it cannot be read.
        """
        if self.file is None or self._final:
            return True
        if size < self._size:
            return False
        at = self._tail[0]
        tail = self._read_exactly(self.file, max(0, at - GUARD_BYTES), min(size, at + HEAD_BYTES))
        if guard_of(tail[: at - max(0, at - GUARD_BYTES)]) != self._tail[1]:
            return False
        beginning = self.file.read(HEAD_BYTES, 0)  # where lines repeat, the bytes before a position tell little
        if not self.head.matches(beginning):
            return False
        if size == at:
            return True
        if size > at + HEAD_BYTES:
            tail = self._read_exactly(self.file, size - GUARD_BYTES, size)
        if self.head.length < HEAD_BYTES:
            self.head = Head.of(beginning)
        self._tail = (size, guard_of(tail))
        self.unfinished = not tail.endswith(b"\n")
        self.sighted(size, self._clock.monotonic())
        return True

    def begin(self, file: TailedFile, size: int, head: bytes, when: float) -> None:
        """Take ``file`` up as it is now, ``size`` bytes long, trusting that it is ours."""
        self.file = file
        self.head = Head.of(head)
        tail = self._read_exactly(file, max(0, size - GUARD_BYTES), size)
        self._tail = (size, guard_of(tail))
        self.unfinished = not tail.endswith(b"\n")
        self.sighted(size, when)

    def _read_exactly(self, file: TailedFile, start: int, end: int) -> bytes:
        data = file.read(end - start, start)
        if len(data) < end - start:
            raise Changed(f"{self.name} is shorter than a moment ago")
        return data

    def known_guards(self) -> list[tuple[int, int]]:
        """Positions and the guards of the bytes before them, from low to high."""
        known = dict(self._guards)
        if self._tail[0] > self.start:
            known[self._tail[0]] = self._tail[1]
        return sorted(known.items())

    def give_up(self, gaps: Iterable[tuple[int, int]]) -> None:
        """Whoever writes the file has given these ranges up, for want of space: their bytes are zeros now."""
        self._gaps = sorted(gaps)
        for position in list(self._guards):
            if self._in_gap(position):
                del self._guards[position]

    def _in_gap(self, position: int) -> bool:
        """Whether what lies before ``position`` is partly given up, so that nothing can be recognised by it."""
        return any(start < position and position - GUARD_BYTES < end for start, end in self._gaps)

    def seal(self, readable_to: int, because: str) -> None:
        """Nothing will be appended. What lies behind ``readable_to`` was destroyed, ``because`` of what somebody did."""
        if not self._final:
            self._size = max(self._size, readable_to)
        self._final = True
        if readable_to < self._size:
            self._readable_to = readable_to
            self._gone_because = because

    def fix(self) -> None:
        """What is seen by now is all that this run ships."""
        if self._fixed is None:
            self._fixed = self._size

    def close_events(self) -> None:
        """Do not hold unfinished lines and events any longer."""
        self._closing = True

    def reopen(self) -> None:
        """Hold them again: the drain was taken back."""
        self._closing = False

    @property
    def size(self) -> int:
        """How far the file was seen to reach, also where that is no longer shipped."""
        return self._size

    @property
    def extent(self) -> int:
        """How far a final stream can be read."""
        return int(min(self._size, self._readable_to))

    @property
    def idle(self) -> bool:
        """Whether every destination has everything that was seen, and who counts it, too."""
        return min(self.released_to, self.measured_to) >= self._size

    @property
    def due_at(self) -> float:
        """When what is held of the end, an unfinished line or event, stops being held."""
        only_events = self._form.holds_finished and not self.unfinished
        return self.grown_at + (self._form.timeout if only_events else max(self.hold, self._form.timeout))

    @property
    def holding(self) -> bool:
        """Whether something at the end may have to be held."""
        return self.unfinished or self._form.holds_finished

    # What the pumps ask ------------------------------------------------------------------------------------------------

    def frontier(self) -> int:
        """See `Stream.frontier`."""
        return self._size if self._fixed is None else self._fixed

    @property
    def finished(self) -> bool:
        """See `Stream.finished`."""
        return self._final

    def first_seen(self, position: int) -> float | None:
        """See `Stream.first_seen`."""
        index = bisect_left(self._sizes, position)
        return self._times[index] if index < len(self._times) else None

    def released(self, below: int) -> None:
        """See `Stream.released`."""
        if below <= self.released_to:
            return
        self.released_to = below
        passed = bisect_left(self._sizes, below + 1)
        del self._sizes[:passed], self._times[:passed]
        if self.idle:
            self._became_idle(self)

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
        if self.idle:
            self._became_idle(self)

    def text(self, at: int, limit: int) -> tuple[bytes, int]:
        """Whole lines from ``at`` on, and the position behind them; see `shipper.measure.spans.TextStream`."""
        frontier = self.frontier()
        if at >= frontier:
            return b"", at
        if self.file is None or at >= self._readable_to:
            raise RangeGone(self.id, at, frontier, self._gone_because or "the file is gone")
        until = int(min(frontier, self._readable_to))
        try:
            window = self._window(self.file, at, min(until, at + limit))
        except Changed:
            self._suspicious(self)
            return b"", at
        end = window.base + window.data.rfind(b"\n") + 1
        if end <= at and (window.end - at >= limit or (window.end == until and (self._closing or self._final))):
            end = window.end
        if end <= at:
            return b"", at
        self._remember(window, end)
        return window.slice(at, end), end

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut`."""
        return self._cut_if_there(at, resume, limit, observed_ns, None)

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut_up_to`."""
        return self._cut_if_there(at, resume, limit, observed_ns, end)

    def border(self, position: int) -> int | None:
        """See `Stream.border`."""
        found = self._bytes_around(position)
        return None if found is None else self._form.border(found, self.start, position)

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        """See `Stream.valuable`: 64 KiB each, from one line's or event's beginning to another's.

        Where events begin is only looked for where there is an error: it costs as much again as the search.
        """
        low, high = self.border(start), self.border(end)
        if self.file is None or low is None or high is None:
            return []
        try:
            data = self.file.read(high - low, low)
        except OSError:
            return []
        found: list[tuple[int, int]] = []
        at = low
        while at < high:
            to = min(at + BLOCK, high)
            line = data.rfind(b"\n", at - low, to - low)
            to = low + line + 1 if line >= 0 else to
            if tells_of_errors(data[at - low : to - low]):
                found += self._events_with_errors(data, (low, at, to, high))
            at = to
        return found

    def _events_with_errors(self, data: bytes, places: tuple[int, int, int, int]) -> list[tuple[int, int]]:
        """The events that begin in a block ``[at, to)`` of ``data``, and those after them if the last has its error there."""
        low, at, to, high = places
        begin, end, after = (self.border(position) for position in (at, to, min(to + BLOCK, high)))
        if begin is None or end is None:
            return []
        found = [(begin, end)] if begin < end else []
        if end < to and after is not None and tells_of_errors(data[end - low : to - low]):
            found.append((end, after))
        return [(a, b) for a, b in found if a < b]

    def _bytes_around(self, position: int) -> Window | None:
        """What is needed to tell where an event begins that lies around a position."""
        if self.file is None or not self.start <= position <= min(self._size, self._readable_to):
            return None
        base = max(self.start, position - BLOCK)
        try:
            return Window(self.file.read(int(min(self._size, position + PREFIX)) - base, base), base)
        except OSError:
            return None

    def _cut_if_there(self, at: int, resume: int, limit: int, observed_ns: int, bound: int | None) -> Batch | None:
        frontier = self.frontier()
        if at >= frontier:
            return None
        if self.file is None or at >= self._readable_to:
            raise RangeGone(self.id, at, frontier, self._gone_because or "the file is gone")
        for start, end in self._gaps:
            if start <= at < end:
                raise RangeGone(self.id, at, min(end, frontier), "it was given up for want of space before it was read")
            if at < start:
                bound = start if bound is None else min(bound, start)
                break
        try:
            return self._cut(self.file, at, resume, limit, observed_ns, bound)
        except Changed:
            self._suspicious(self)  # finds out what happened to the file, and may give us a copy of it
        return None

    def _cut(
        self, file: TailedFile, at: int, resume: int, limit: int, observed_ns: int, bound: int | None
    ) -> Batch | None:
        until = int(min(self.frontier(), self._readable_to))
        if bound is None or bound > until:
            bound = None
        else:
            until = bound
        window = self._window(file, at, min(until, at + min(limit, READ_BYTES)))
        end = self._due_end(window, at, resume, until, bound, wide=False)
        if end == at and window.end < until:  # a line or an event longer than the limit
            window = self._window(file, at, min(until, at + self._form.reach))
            end = self._due_end(window, at, resume, until, bound, wide=True)
        return None if end == at else self._batch(window, at, end, resume, observed_ns, bound)

    def _due_end(self, window: Window, at: int, resume: int, until: int, bound: int | None, *, wide: bool) -> int:
        if window.end == bound:
            return window.end  # what lies behind was cut before, so nothing goes on there
        at_end = window.end >= until
        closing = at_end and (self._closing or self._final)
        due = at_end and self._clock.monotonic() + EPSILON >= self.due_at
        return self._form.end(window, at, resume, due=due, closing=closing, wide=wide)

    def _window(self, file: TailedFile, at: int, end: int) -> Window:
        """``[at, end)`` and up to 64 bytes before.

        Raises `Changed` when the bytes before ``at`` are not those that were read; at the beginning, where there are none, when
        the file does not begin as it did when it was looked at.
        """
        base = max(0, at - GUARD_BYTES)
        window = Window(self._read_exactly(file, base, end), base)
        expected = self._guards.get(at)
        if expected is not None and guard_of(window.data[: at - base]) != expected:
            raise Changed(f"{self.name} no longer holds what was read")
        if base == 0 and self.head.length:  # none is known of a stream that was never at the beginning of its file
            beginning = window.data if window.end >= self.head.length else file.read(HEAD_BYTES, 0)
            if not self.head.matches(beginning):
                raise Changed(f"{self.name} no longer begins with what was seen")
        return window

    def _batch(
        self, window: Window, at: int, end: int, resume: int, observed_ns: int, bound: int | None = None
    ) -> Batch:
        rendered = self._form.render(window, at, end, resume)
        guard = self._remember(window, end)
        self.read_to = max(self.read_to, end)
        next_resume = end if end == bound else rendered.next_resume
        shaped = self._shaped(rendered, observed_ns)
        cut = Cut(at, end, resume, next_resume, shaped.records, observed_ns, guard, shaped.filtered, shaped.sampled)
        batch = self._carry(cut, shaped)
        if self._seen is not None:
            self._seen(self.path, batch.payload)
        return batch

    def _remember(self, window: Window, end: int) -> int:
        """The guard of the bytes before ``end``, which tells at the next read whether they are still there."""
        guard = guard_of(window.slice(max(window.base, end - GUARD_BYTES), end))
        self._guards[end] = guard
        self._guards.move_to_end(end)
        if len(self._guards) > GUARDS:
            self._guards.popitem(last=False)
        return guard

    def _shaped(self, rendered: Rendered, observed_ns: int) -> Shaped:
        return self._shape.shape(
            self._resource, self._scope, rendered.lines, observed_ns, rendered.extra, rendered.times
        )

    def _carry(self, cut: Cut, shaped: Shaped) -> Batch:
        return Batch(self._life, self.id, self.signal, cut, shaped.payload)

    def reread(self, cut: Cut) -> Batch:
        """See `Stream.reread`."""
        window = self._again(cut)
        rendered = self._form.render(window, cut.start, cut.end, cut.resume)
        shaped = self._shaped(rendered, cut.observed_ns)
        # other records than were counted only when the settings were changed since
        found = replace(cut, records=shaped.records, filtered=shaped.filtered, sampled=shaped.sampled)
        return self._carry(found, shaped)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`."""
        try:
            window = self._again(cut)
        except OSError as error:
            raise RangeGone(self.id, cut.start, cut.end, error.strerror or str(error)) from error
        found = self._form.pieces(window, cut.start, cut.end, cut.resume)
        border = border_near(found, (cut.start + cut.end) // 2)
        if border is None:
            return None
        middle, resume = border
        first = self._shaped(self._form.render(window, cut.start, middle, cut.resume), cut.observed_ns)
        guard = guard_of(window.slice(max(window.base, middle - GUARD_BYTES), middle))
        return (
            Cut(
                cut.start,
                middle,
                cut.resume,
                resume,
                first.records,
                cut.observed_ns,
                guard,
                first.filtered,
                first.sampled,
            ),
            Cut(
                middle,
                cut.end,
                resume,
                cut.next_resume,
                cut.records - first.records,
                cut.observed_ns,
                cut.guard,
                cut.filtered - first.filtered,
                cut.sampled - first.sampled,
            ),
        )

    def _again(self, cut: Cut) -> Window:
        """The window of an earlier cut. Raises `RangeGone` when its bytes are nowhere any more, OSError as the kernel says."""
        window = self._window_of(cut)
        if window is None:
            self._suspicious(self)  # it may find a copy
            window = self._window_of(cut)
        if window is None:
            raise RangeGone(self.id, cut.start, cut.end, self._gone_because or "the file holds other bytes now")
        return window

    def _window_of(self, cut: Cut) -> Window | None:
        if self.file is None or cut.end > self._readable_to:
            return None
        base = max(0, cut.start - GUARD_BYTES)
        try:
            window = Window(self.file.read(cut.end + AHEAD - base, base), base)
        except (FileNotFoundError, Replaced):
            return None
        before_end = window.slice(max(base, cut.end - GUARD_BYTES), cut.end)
        return window if window.end >= cut.end and guard_of(before_end) == cut.guard else None
