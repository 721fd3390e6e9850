"""One output of a container as records: lines of the file that are not of it are passed over, parts of a line are joined.

Everything follows from the bytes and two positions, as in `lines` and `events`. A position lies between two lines of the
file, save inside one that is too long to be read at once, or was given up waiting for. What ``resume`` says of a position
between two lines: itself: an event may begin there; one less: a line of this output goes on there; less than that: an
event does. Inside a line: itself: nobody knows whose that is; one less: it is not this output's; less than that: it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, pairwise

from shipper.shape import Multiline
from shipper.shape.containers import UNKNOWN, Format, Unit, Whole
from shipper.shape.text import whole
from shipper.sources.file.container_lines import NOT_LAST, STRANGE, Line, finished, line_of, record_of
from shipper.sources.file.form import AHEAD, Form
from shipper.sources.file.lines import CONTINUED, INCOMPLETE, Piece, Rendered, Window

_HEADER = 256  # bytes that a runtime adds to a line, at most


class ContainerForm(Form):
    """The records of ``output`` in a file that a runtime wrote in ``format``."""

    holds_finished = True

    def __init__(
        self, format: Format, output: str, *, start: int, limit: int, hold: float, rule: Multiline | None
    ) -> None:
        """``start``: where the content begins. ``limit``: a longer line is split, unless ``rule``, which joins lines, has its own."""
        self._limit = limit if rule is None else rule.max_bytes
        self._most = format.growth * self._limit + _HEADER  # of the file that is one line, unless it is cut
        self.reach = 2 * self._most + AHEAD
        self.timeout = hold if rule is None else rule.timeout
        self._format = format
        self._output = output
        self._start = start
        self._rule = rule
        self._found: tuple[Window, int, int, Whole] | None = None  # by `end`, for the `render` that follows

    # Where batches end -------------------------------------------------------------------------------------------------

    def own_end(self, window: Window) -> int | None:
        """See `Form.own_end`."""
        return window.base + self._format.last(window.data, self._output)

    def end(self, window: Window, at: int, event: int, *, due: bool, closing: bool, wide: bool) -> int:
        """See `Form.end`. A line that the runtime has not finished writing is only taken when ``closing``."""
        lines_end = window.base + window.data.rfind(b"\n", at - window.base) + 1
        if closing:
            return window.end
        if lines_end <= at:
            if wide and window.end - at >= self._most:  # no runtime writes such lines, unless told to
                return window.base + whole(window.data, at + self._limit - window.base)
            return at
        if due:
            return lines_end
        if self._rule is not None:
            return self._end_of_events(window, at, event, lines_end, self._rule, wide=wide)
        if not wide and (found := self._whole(window, at, lines_end)) is not None:
            self._found = (window, at, lines_end, found)
            return lines_end
        begun = self._format.unfinished(window.slice(at, lines_end), self._output)
        if begun is None:
            return self._first_line(window, at, event, lines_end) if wide else lines_end
        if begun > 0:
            return at + begun
        return self._in_parts(window, at, event, lines_end, wide=wide)

    def _first_line(self, window: Window, at: int, event: int, lines_end: int) -> int:
        """The end of the first line behind ``at``: a wide window holds more than was asked for."""
        return next((line.end for line in self._lines(window, at, lines_end, event)), lines_end)

    def _in_parts(self, window: Window, at: int, event: int, lines_end: int, *, wide: bool) -> int:
        """The end of what is enough of an unfinished line to be a part of it."""
        lines = list(self._lines(window, at, lines_end, event))
        for before, line in reversed(list(pairwise(lines))):
            if before.end <= line.start:
                return before.end
        return lines_end if wide and window.end - at >= self.reach - AHEAD else at

    def _end_of_events(
        self, window: Window, at: int, event: int, lines_end: int, rule: Multiline, *, wide: bool
    ) -> int:
        """Where the last event begins; nobody knows yet whether it goes on."""
        lines = list(self._lines(window, at, lines_end, event))
        events = self._events(lines, rule, inside=event < at)
        for first, _, _ in reversed(events[1:]):
            if lines[first - 1].end <= lines[first].start:  # else both lie in one line of the file
                return lines[first].start
        if not lines:
            return lines_end
        if lines[0].start > at:
            return lines[0].start
        return lines_end if wide and window.end - at >= self.reach - AHEAD else at

    def border(self, window: Window, start: int, position: int) -> int | None:
        """See `Form.border`."""
        from_start = window.base == start
        behind = window.data.rfind(b"\n", 0, position - window.base) + 1
        first = 0 if from_start else window.data.find(b"\n", 0, behind) + 1
        if behind == 0 or (first == 0 and not from_start):
            return start if from_start else None
        lines = self._joined(list(self._format.units(window.data[first:behind], self._output)), window.base + first)
        if self._rule is None and lines and lines[-1].closed:
            return window.base + behind
        # what is before the first line is only known at the start
        known = [line for before, line in pairwise(lines) if before.closed]
        known = [*lines[:1], *known] if from_start else known
        if self._rule is not None:
            known = [line for line in known if self._rule.begins(line.text)]
        return known[-1].start if known else start if from_start else None

    # Records -----------------------------------------------------------------------------------------------------------

    def render(self, window: Window, at: int, end: int, event: int) -> Rendered:
        """See `Form.render`."""
        before, self._found = self._found, None
        if event == at and self._rule is None:
            same = before is not None and before[0] is window and before[1:3] == (at, end)
            found = before[3] if before is not None and same else self._whole(window, at, end)
            if found is not None and (not found.texts or max(map(len, found.texts)) <= self._limit):
                return finished(found.texts, found.times, found.extra, end)
        lines = list(self._lines(window, at, end, event))
        records = list(self._records(lines, event, at))
        extra = {index: record.extra for index, (record, _) in enumerate(records) if record.extra}
        bodies = [record.body or b"" for record, _ in records]
        strange = sum(STRANGE in line.marks for line in lines)
        return Rendered(
            bodies,
            extra,
            self._resume(window, at, end, event, lines),
            [time for _, time in records],
            {f"not {self._format.name}": strange} if strange else {},
        )

    def pieces(self, window: Window, at: int, end: int, event: int) -> Iterator[Piece]:
        """See `Form.pieces`. Parts that lie in the same line of the file cannot be parted; the last stands for all."""
        records = [record for record, _ in self._records(list(self._lines(window, at, end, event)), event, at)]
        for record, behind in pairwise(records):
            if record.end <= behind.start:
                yield record
        yield from records[-1:]

    def text_end(self, window: Window, at: int) -> int:
        """See `Form.text_end`."""
        end = super().text_end(window, at)
        begun = self._format.unfinished(window.slice(at, end), self._output) if end > at else None
        return end if begun is None or end - at > self._most else at + begun

    def text(self, window: Window, at: int, end: int) -> bytes:
        """See `Form.text`."""
        found = self._format.whole(window.slice(at, end), self._output)
        texts = [line.text for line in self._lines(window, at, end, at)] if found is None else found.texts
        return b"".join([text + b"\n" for text in texts])

    def _whole(self, window: Window, at: int, end: int) -> Whole | None:
        """The lines of a range that holds nothing unusual."""
        if window.slice(end - 1, end) != b"\n" or not self._between(window, at):
            return None
        return self._format.whole(window.slice(at, end), self._output)

    def _between(self, window: Window, at: int) -> bool:
        """Whether ``at`` lies between two lines of the file; what stands behind a gap begins there."""
        return at == self._start or window.slice(at - 1, at) in (b"\n", b"\0")

    def _resume(self, window: Window, at: int, end: int, event: int, lines: list[Line]) -> int:
        """What the next batch must know of where it begins; see the module."""
        if not self._between(window, end):
            return end - 2 if lines and lines[-1].end == end else end - 1
        if not lines:
            return end if event == at or not self._between(window, at) else end - 1 if event == at - 1 else event
        if not lines[-1].closed:
            return end - 1
        if self._rule is None:
            return end
        first = self._events(lines, self._rule, inside=event < at)[-1][0]
        return min(lines[first].start, end - 2)

    def _records(self, lines: list[Line], event: int, at: int) -> Iterator[tuple[Piece, int]]:
        """The records that lines make, and the time of each."""
        if self._rule is None:
            for line in lines:
                yield record_of([line], False)
            return
        for first, behind, continued in self._events(lines, self._rule, inside=event < at):
            yield record_of(lines[first:behind], continued)

    def _events(self, lines: list[Line], rule: Multiline, *, inside: bool) -> list[tuple[int, int, bool]]:
        """Which lines are one event: from, to, and whether it goes on with one before."""
        if not lines:
            return []
        # a line end inside a line, which a runtime can quote, must not count as one
        texts = [line.text.replace(b"\n", b"\v") for line in lines]
        found = rule.parts(b"\n".join(texts) + b"\n", inside=inside)
        number = dict(zip(accumulate((len(text) + 1 for text in texts), initial=0), range(len(texts)), strict=False))
        first = [number[start] for start in found.starts if start in number]
        continued = {number[found.starts[index]] for index in found.continued if found.starts[index] in number}
        return [(a, b, a in continued) for a, b in zip(first, [*first[1:], len(lines)], strict=True)]

    # Lines -------------------------------------------------------------------------------------------------------------

    def _lines(self, window: Window, at: int, end: int, event: int) -> Iterator[Line]:
        """The lines of this output in ``[at, end)``, and the parts of those that are too long or not finished."""
        units: list[Unit] = []
        begin, goes_on = at, event == at - 1
        if not self._between(window, at):
            newline = window.data.find(b"\n", at - window.base, end - window.base)
            begin = end if newline < 0 else window.base + newline + 1
            goes_on = event < at - 1 or (event == at and self._output == UNKNOWN)
            if goes_on:
                rest = window.slice(at, begin)
                units.append(Unit(0, len(rest), rest.removesuffix(b"\n"), 0, rest.endswith(b"\n")))
        for unit in self._format.units(window.slice(begin, end), self._output):
            units.append(unit._replace(start=unit.start + begin - at, end=unit.end + begin - at))
        lines = self._joined(units, at)
        if lines and goes_on:
            lines[0] = replace(lines[0], marks=(CONTINUED, *lines[0].marks))
        yield from lines

    def _joined(self, units: list[Unit], base: int) -> list[Line]:
        """Lines of the container, of which the units are parts."""
        lines: list[Line] = []
        parts: list[Unit] = []
        begins: tuple[bytes, ...] = ()
        for unit in units:
            if parts and unit.strange:
                lines.append(line_of(parts, base, (*begins, INCOMPLETE)))
                parts, begins = [], ()
            for part in self._split(unit):
                parts.append(part)
                if part.ends or (part.strange and part.text is unit.text):
                    lines.append(line_of(parts, base, begins if part.ends else (*begins, INCOMPLETE)))
                    parts, begins = [], ()
                elif self._is_full(parts):
                    lines.append(line_of(parts, base, (*begins, NOT_LAST)))
                    parts, begins = [], (CONTINUED,)
        if parts:
            lines.append(line_of(parts, base, (*begins, INCOMPLETE)))
        return lines

    def _split(self, unit: Unit) -> Iterator[Unit]:
        """A line of the file that is over the limit by itself, in parts that all lie where it lies."""
        text = unit.text
        while len(text) > self._limit:
            size = whole(text, self._limit) or self._limit
            yield unit._replace(text=text[:size], ends=False)
            text = text[size:]
        yield unit._replace(text=text) if text is not unit.text else unit

    def _is_full(self, parts: list[Unit]) -> bool:
        """Whether what is joined is enough for a part of a line, which should not end in half a character."""
        size, last = sum(len(part.text) for part in parts), parts[-1].text
        return size >= self._limit or (size >= self._limit * 3 // 4 and whole(last, len(last)) == len(last))
