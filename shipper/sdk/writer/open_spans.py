"""Spans that began and did not end yet, in memory that outlives the process: the sidecar ends them when it died.

The mapping is of a file whose blocks are allocated: a hole in it would be a SIGBUS for the service when the disk is full.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from os import getpid

from shipper.handoff.table import ENDED_AT, FIRST, NAME_BYTES, SIZE, SLOT, SLOTS, header

_SIZE = SLOT.size
_WORDS = _SIZE // 8
_START = FIRST // 8 + _WORDS - 1  # the word of slot 0 that holds its start
_ENDING = FIRST // 8
_pack_into = SLOT.pack_into
_kept: list[mmap.mmap] = []
"""Mappings are kept for ever: before Python 3.13 each has a descriptor of its own, which it would close unseen, although the
service may have closed it and got the number for something else."""


class Table:
    """The mapped table of one process directory."""

    __slots__ = ("first", "free", "memory", "pid", "words")

    def __init__(self, memory: mmap.mmap, epoch: int) -> None:
        self.pid = getpid()
        self.first = epoch * SLOTS
        self.memory = memory
        self.words = memoryview(memory).cast("Q")
        self.free = list(range(SLOTS - 1, -1, -1))

    def void(self) -> None:
        """Forget all: the directory is given up while the process lives on."""
        for index in range(SLOTS):
            self.words[_START + index * _WORDS] = 0

    def ended(self, wall_ns: int) -> None:
        """The process ends by itself."""
        self.words[ENDED_AT // 8] = wall_ns


def make_table(descriptor: int, epoch: int) -> Table | None:
    """Map a table into the file; None where its blocks cannot be allocated."""
    try:
        os.posix_fallocate(descriptor, 0, SIZE)
        more = {"trackfd": False} if sys.version_info >= (3, 13) else {}
        memory = mmap.mmap(descriptor, SIZE, **more)
    except (OSError, ValueError):
        with suppress(OSError):  # zeros are no table either
            os.ftruncate(descriptor, 0)
        return None
    _kept.append(memory)
    memory[: len(header())] = header()
    return Table(memory, epoch)


class OpenSpans:
    """The spans this process has begun; `Series.append` ends them."""

    def __init__(
        self,
        ready: Callable[[], Table | None],
        announce: Callable[[], None],
        full: Callable[[int], None],
        fault: Callable[[str, BaseException], None],
    ) -> None:
        """``ready`` gives the table, ``announce`` writes what a slot refers to, ``full`` tells of a table without a free slot."""
        self._ready = ready
        self._announce = announce
        self._full = full
        self._fault = fault
        self.table: Table | None = None
        self.todo: Mapping[tuple[int, int], bytes] = {}  # declarations of the series that no segment holds yet
        self.untracked = 0  # spans for which there was no slot

    def begin(
        self,
        trace_id: int,
        span_id: int,
        parent_id: int,
        start_ns: int,
        kind: int,
        name: str,
        resource: int,
        scope: int,
    ) -> int:
        """Note a span; its slot, or -1 where the table is full or missing (counted and told). Never raises."""
        try:
            table = self.table
            if table is None or table.pid != getpid():
                table = self._ready()
                if table is None:
                    self.untracked += 1
                    return -1
            if self.todo:
                self._announce()
            text = name.encode("utf-8", "replace")[:NAME_BYTES]
            try:
                index = table.free.pop()
            except IndexError:
                self.untracked += 1
                self._full(self.untracked)
                return -1
            _pack_into(
                table.memory,
                FIRST + index * _SIZE,
                0,
                trace_id.to_bytes(16, "big"),
                span_id.to_bytes(8, "big"),
                parent_id.to_bytes(8, "big"),
                resource,
                scope,
                kind,
                len(text),
                text,
                start_ns,
            )
            return table.first + index
        except Exception as error:
            self.untracked += 1
            self._fault("open_spans", error)
            return -1

    def ending(self, slot: int, seq: int) -> None:
        """The span in ``slot`` is about to be written as frame ``seq``."""
        table = self.table
        if table is not None and 0 <= (index := slot - table.first) < SLOTS:
            table.words[_ENDING + index * _WORDS] = seq + 1

    def clear(self, slot: int) -> None:
        """The span in ``slot`` is over."""
        table = self.table
        if table is not None and 0 <= (index := slot - table.first) < SLOTS:
            word = _START + index * _WORDS
            if table.words[word]:
                table.words[word] = 0
                table.free.append(index)
