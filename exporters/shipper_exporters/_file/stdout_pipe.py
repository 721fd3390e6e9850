"""Writing to a descriptor that others share, as fast as its reader reads, without ever blocking the event loop.

The descriptor is not made non-blocking: that would be so for the shell and every other process that has it, too. Instead it
is asked whether it takes something, and given no more than what a pipe then has room for.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections.abc import Callable

_ROOM = 4096  # a pipe that can be written has room for a page
_TURN = 1 << 18  # bytes after which others on the event loop have a turn


class SharedOutput:
    """The descriptor. Methods raise OSError, EPIPE when nobody reads any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def terminal(self) -> bool:
        """Whether a person sees it."""
        try:
            return os.isatty(self._descriptor)
        except OSError:
            return False

    async def write(self, data: memoryview, wrote: Callable[[int], None]) -> None:
        """Write all of it, and tell how much as it goes."""
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            await asyncio.to_thread(self._write_file, data, wrote)
            return
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        at = turn = 0
        while at < len(data):
            if not room.poll(0):
                await self._writable()
                continue
            count = os.write(self._descriptor, data[at : at + _ROOM])
            wrote(count)
            at += count
            turn += count
            if turn >= _TURN:
                turn = 0
                await asyncio.sleep(0)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._descriptor)

    def _write_file(self, data: memoryview, wrote: Callable[[int], None]) -> None:
        at = 0
        while at < len(data):
            count = os.write(self._descriptor, data[at:])
            wrote(count)
            at += count
