"""How far requests got that failed in the middle, so that what was acknowledged of them is not sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from shipper.errors import Retryable

_REMEMBERED = 64  # requests; no more than a few are ever under way

T = TypeVar("T")


class Unfinished(Generic[T]):
    """By request id. ``begun``: whether anything of a request was acknowledged."""

    def __init__(self, begun: Callable[[T], bool]) -> None:
        self._begun = begun
        self._found: dict[str, T] = {}

    @contextmanager
    def attempt(self, request_id: str, new: Callable[[], T]) -> Iterator[T]:
        """How far the request got before, for another attempt; remembered when that fails too."""
        found = self._found.pop(request_id, None)
        one = new() if found is None else found
        try:
            yield one
        except BaseException as error:
            if self._begun(one):
                if isinstance(error, Retryable):
                    error.unsent = False
                self._found[request_id] = one
                while len(self._found) > _REMEMBERED:
                    del self._found[next(iter(self._found))]
            raise
