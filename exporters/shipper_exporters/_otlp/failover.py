"""Which of several places is used: the first that is well, in the order they were given.

A request goes to one place, whole; when that fails it goes to the next, whole. A place that failed is left alone for a while, longer
each time; then one request tries it, while the others stay where they are until that one was taken. Never in a drain: then there
is no time to find out, and who takes anything is kept to.
"""

from __future__ import annotations

from dataclasses import dataclass

from shipper.clock import Clock

FIRST_REST, LONGEST_REST = 10.0, 300.0  # seconds


@dataclass(slots=True)
class _State:
    rest: float = 0.0  # how long it was left alone last; 0: it is well
    until: float = 0.0
    tried: bool = False  # one request is finding out whether it is well again
    reason: str = ""


class Order:
    """Decides by numbers; 0 is the place that is preferred."""

    def __init__(self, clock: Clock, count: int) -> None:
        self._clock = clock
        self._states = [_State() for _ in range(count)]
        self.current = 0
        """The place that is in use."""

    def candidates(self, *, find_out: bool) -> list[int]:
        """Where a request goes, and where next if that fails. ``find_out``: it may be the one that tries a preferred place.

        For each that it was sent to, `worked` or `failed` is to be called, or `unclear`.
        """
        now = self._clock.monotonic()
        again: list[int] = []
        if find_out:
            for number, state in enumerate(self._states[: self.current]):
                if not state.tried and now >= state.until:
                    state.tried = True
                    again.append(number)
                    break
        others = (number for number in range(len(self._states)) if number not in (*again, self.current))
        return [*again, self.current, *sorted(others, key=lambda number: (self._states[number].until > now, number))]

    def worked(self, number: int) -> None:
        """It took a request, or answered as one does that is well."""
        self._states[number] = _State()
        if number < self.current or self._states[self.current].rest:
            self.current = number

    def failed(self, number: int, reason: str) -> None:
        """It is not there, or is set up wrongly; ``reason``: for people."""
        state = self._states[number]
        now = self._clock.monotonic()
        if now >= state.until:  # else it is a request that was under way when another failed
            state.rest = min(LONGEST_REST, 2 * state.rest or FIRST_REST)
            state.until = now + state.rest
        state.tried, state.reason = False, reason

    def unclear(self, number: int) -> None:
        """Nothing came of it either way: the request was cancelled, or its time was over."""
        self._states[number].tried = False

    def reason(self, number: int) -> str:
        """Why a place is left alone; empty when it is not."""
        return self._states[number].reason
