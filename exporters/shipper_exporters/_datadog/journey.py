"""One request on its way to Datadog: body by body, and where one is refused, in halves until the entry is found."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from shipper.contracts import Accepted
from shipper.errors import Rejected, Retryable, TooLarge
from shipper_exporters._datadog.request import Part

Post = Callable[[Part], Awaitable[Accepted]]
"""Sends a part. Raises what `Exporter.send` does."""


class Journey:
    """How far a request got. It outlives a failed attempt: the next one goes on where that ended."""

    def __init__(self, parts: Sequence[Part], records: int, left_out: Mapping[str, int] | None = None) -> None:
        self._parts = deque(parts)
        self._records = records
        self._lost: Counter[str] = Counter(left_out)
        self._there = False

    async def go(self, post: Post) -> Accepted:
        """Send what is not there yet. While nothing of it is, a refusal is raised as it came."""
        while self._parts:
            part = self._parts[0]
            try:
                answer = await post(part)
            except (TooLarge, Rejected) as error:
                if not self._there:
                    raise
                self._parts.popleft()
                self._divide(part, str(error))
            except Retryable as error:
                error.unsent = error.unsent and not self._there  # of the whole request
                raise
            else:
                self._parts.popleft()
                self._there = True
                if answer.rejected:
                    self._lost[answer.message or "refused"] += answer.rejected
        message = "; ".join(f"{count} x {reason}" for reason, count in self._lost.most_common())
        return Accepted(min(self._records, self._lost.total()), message)

    def _divide(self, part: Part, reason: str) -> None:
        halves = part.halves()
        if halves is None:
            self._lost[reason] += 1
        else:
            self._parts.extendleft(reversed(halves))
