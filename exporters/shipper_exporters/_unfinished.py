"""How far requests got that failed in the middle, so that what was acknowledged of them is not sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from shipper.errors import Rejected, Retryable, TooLarge

_REMEMBERED = 64  # requests; no more than a few are ever under way

T = TypeVar("T")


class Unfinished(Generic[T]):
    """By request id."""

    def __init__(self, begun: Callable[[T], bool] | None = None, *, most: int = _REMEMBERED) -> None:
        """``begun``: whether anything was acknowledged, without which there is nothing to remember; None: remember in any case.

        ``most``: requests that are remembered; of more the oldest is forgotten, and goes as a whole if it comes again.
        """
        self._begun = begun
        self._most = most
        self._found: dict[str, T] = {}

    @contextmanager
    def attempt(self, request_id: str, new: Callable[[], T]) -> Iterator[T]:
        """How far the request got before, for another attempt; remembered when that fails too."""
        found = self.take(request_id)
        with self.kept(request_id, new() if found is None else found) as one:
            yield one

    def take(self, request_id: str) -> T | None:
        """How far the request got before, and no more of it remembered; None when that is not known."""
        return self._found.pop(request_id, None)

    @contextmanager
    def kept(self, request_id: str, one: T) -> Iterator[T]:
        """Around an attempt that begins from ``one``, which is remembered when it fails."""
        try:
            yield one
        except (TooLarge, Rejected):  # it comes again, if at all, under other ids
            raise
        except BaseException as error:
            if self._begun is None or self._begun(one):
                if self._begun is not None and isinstance(error, Retryable):
                    error.unsent = False
                self._found[request_id] = one
                while len(self._found) > self._most:
                    del self._found[next(iter(self._found))]
            raise
