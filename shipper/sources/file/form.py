"""What the records of a file are: its lines, or events of several lines. One of the two is chosen for each stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from shipper.shape import Multiline
from shipper.shape.text import NEAR
from shipper.sources.file import events, lines
from shipper.sources.file.lines import Piece, Rendered, Window

AHEAD = 2 * NEAR + 2  # bytes needed behind a border to tell that it is one


class Form(ABC):
    """How bytes become records. ``reach``: so many bytes from where a batch begins always tell where it may end."""

    reach: int
    unit = 1  # bytes: lines begin and end only at multiples of it
    timeout = 0.0  # seconds for which an event is held although its last line is finished
    holds_finished = False  # whether that happens at all

    @abstractmethod
    def end(self, window: Window, at: int, event: int, *, due: bool, closing: bool, wide: bool) -> int:
        """Where a batch from ``at`` ends; ``at`` itself when nothing is to be sent yet.

        ``event``: where what ``at`` lies in began. ``due``: what is unfinished need not be held any longer; ``closing``: not
        even what could turn out to be half a character. ``wide``: the window has the ``reach`` (or all there is), because a
        smaller one did not do.
        """

    def own_end(self, window: Window) -> int | None:
        """Where what this form reads ends in the window: what lies behind does not keep it waiting. None: it reads all."""
        return None

    def text_end(self, window: Window, at: int) -> int:
        """Where the last whole line behind ``at`` ends; ``at`` or less when there is none."""
        return window.base + window.data.rfind(b"\n") + 1

    def text(self, window: Window, at: int, end: int) -> bytes:
        """The lines in ``[at, end)`` as they were written."""
        return window.slice(at, end)

    @abstractmethod
    def border(self, window: Window, start: int, position: int) -> int | None:
        """Where the last event that begins at or before ``position`` does; None when the window does not tell.

        ``start``: where the stream begins. The window may begin anywhere.
        """

    @abstractmethod
    def render(self, window: Window, at: int, end: int, event: int) -> Rendered:
        """The records of ``[at, end)``, a range that `end` gave."""

    @abstractmethod
    def pieces(self, window: Window, at: int, end: int, event: int) -> Iterator[Piece]:
        """The same one by one, with where each lies."""


class LineForm(Form):
    """Every line is a record; one longer than ``limit`` bytes is split."""

    def __init__(self, limit: int) -> None:
        self.reach = limit + AHEAD
        self._limit = limit

    def end(self, window: Window, at: int, event: int, *, due: bool, closing: bool, wide: bool) -> int:
        """See `Form.end`."""
        if wide:  # one long line is enough
            newline = window.data.find(b"\n", at - window.base)
            if newline >= 0:
                return window.base + newline + 1
        return lines.due_end(window, at, event, self._limit, due=due, closing=closing)

    def border(self, window: Window, start: int, position: int) -> int | None:
        """See `Form.border`."""
        newline = window.data.rfind(b"\n", 0, position - window.base)
        if newline >= 0:
            return window.base + newline + 1
        return start if window.base == start else None

    def render(self, window: Window, at: int, end: int, event: int) -> Rendered:
        """See `Form.render`."""
        return lines.render(window, at, end, event, self._limit)

    def pieces(self, window: Window, at: int, end: int, event: int) -> Iterator[Piece]:
        """See `Form.pieces`."""
        return lines.pieces(window, at, end, event, self._limit)


class EventForm(Form):
    """Lines are joined to events by a rule."""

    holds_finished = True

    def __init__(self, rule: Multiline) -> None:
        self.reach = rule.max_bytes + AHEAD
        self.timeout = rule.timeout
        self._rule = rule

    def end(self, window: Window, at: int, event: int, *, due: bool, closing: bool, wide: bool) -> int:
        """See `Form.end`."""
        return events.due_end(window, at, event, self._rule, due=due, closing=closing)

    def border(self, window: Window, start: int, position: int) -> int | None:
        """See `Form.border`."""
        return events.border(window, start, position, self._rule)

    def render(self, window: Window, at: int, end: int, event: int) -> Rendered:
        """See `Form.render`."""
        return events.render(window, at, end, event, self._rule)

    def pieces(self, window: Window, at: int, end: int, event: int) -> Iterator[Piece]:
        """See `Form.pieces`."""
        return events.pieces(window, at, end, event, self._rule)
