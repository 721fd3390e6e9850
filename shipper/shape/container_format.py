"""What formats of container runtimes have in common; see `shipper.shape.containers`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

OUTPUTS = ("stdout", "stderr")
UNKNOWN = OUTPUTS[0]  # whose a line is that does not say it


class Unit(NamedTuple):
    """One line of the file that belongs to an output: ``text`` is all or a part of what the container wrote as a line.

    ``start``, ``end``: where it lies in the chunk, its line end included. ``time``: nanoseconds since the epoch, 0 for
    unknown. ``ends``: the container's line is complete with it. ``strange``: it is not in the format, ``text`` is all of it.
    ``extra``: further fields for its record.
    """

    start: int
    end: int
    text: bytes
    time: int
    ends: bool
    strange: bool = False
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class Whole:
    """The lines of one output in a chunk that holds nothing unusual."""

    texts: list[bytes]
    times: list[int]
    extra: dict[int, bytes] | None = None


class Format(ABC):
    """How a runtime writes. Chunks consist of whole lines of the file."""

    name: ClassVar[str]
    growth: ClassVar[int]  # so many bytes of the file a byte of text may take

    @abstractmethod
    def whole(self, chunk: bytes, output: str) -> Whole | None:
        """The lines of ``output``; None when there are parts of lines, or what is not in the format."""

    @abstractmethod
    def units(self, chunk: bytes, output: str) -> Iterator[Unit]:
        """The same one by one, whatever the chunk holds. The last line may lack its end."""

    @abstractmethod
    def unfinished(self, chunk: bytes, output: str) -> int | None:
        """Where the line begins that the container has not finished at the end of ``chunk``; None when there is none."""

    @abstractmethod
    def last(self, data: bytes, output: str) -> int:
        """Behind which index ``data`` has nothing of ``output``. May be too high."""

    @abstractmethod
    def recognises(self, line: bytes) -> bool:
        """Whether a whole line is in this format, and certainly not by chance."""

    @abstractmethod
    def may_become(self, begun: bytes) -> bool:
        """Whether a line that begins so may turn out to be in this format."""


def other_of(output: str) -> str:
    """The other one of the two."""
    return OUTPUTS[1 - OUTPUTS.index(output)]


def lines_of(chunk: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each line of a chunk without its end, and where it lies with it."""
    start = 0
    for line in chunk.split(b"\n"):
        end = min(start + len(line) + 1, len(chunk))
        if start < end:
            yield start, end, line
        start = end
