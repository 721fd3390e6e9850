"""Names to addresses, when a connection is made: asked anew each time, and the last good answer kept for when nobody answers.

A drain may outlive the resolver: on a host that goes down, the stub resolver, its container or the network's own may be
stopped before the last record is sent. The addresses that worked a minute ago most probably still do, so they are used then;
whoever is not meant by them shows in the TLS handshake or in the answer.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from shipper.clock import Clock

FRESH = 10.0  # seconds in which connections that are opened together share one answer, good or bad
LONGEST = 2.0  # seconds that a resolver may take where an earlier answer is there to be used instead

Found = Sequence[tuple[Any, ...]]
"""What `socket.getaddrinfo` returns."""
LookUp = Callable[[str, int], Found]


def look_up(host: str, port: int) -> Found:
    """The addresses of a name for TCP, by the system's resolver. Blocks. Raises OSError."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError:  # a label that is empty or too long, which is found out before anybody is asked
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None


class Names:
    """The names a destination is reached by, with what is known of each."""

    def __init__(self, clock: Clock, ask: LookUp = look_up) -> None:
        self._clock = clock
        self._ask = ask
        self._good: dict[tuple[str, int], Found] = {}
        self._asked: dict[tuple[str, int], float] = {}  # when the latest answer came
        self._asking: dict[tuple[str, int], asyncio.Future[Found | OSError]] = {}

    async def resolve(self, host: str, port: int) -> Found:
        """Where ``host`` is now, or was when that could last be told. Raises OSError when it never could be."""
        key = host, port
        good = self._good.get(key)
        if good is not None and self._clock.monotonic() - self._asked[key] < FRESH:
            return good
        asking = self._asking.get(key) or self._begin(key)
        answer = await (asyncio.shield(asking) if good is None else self._in_time(asking))
        if not isinstance(answer, OSError) and answer is not None:
            return answer
        if good is not None:
            return good
        assert answer is not None
        raise answer

    def doubt(self) -> None:
        """A connection failed: who connects next asks anew, and keeps what is known only in case nobody answers."""
        self._asked = dict.fromkeys(self._asked, float("-inf"))

    async def _in_time(self, asking: asyncio.Future[Found | OSError]) -> Found | OSError | None:
        patience = asyncio.create_task(self._clock.sleep(LONGEST))
        try:
            await asyncio.wait((asking, patience), return_when=asyncio.FIRST_COMPLETED)
        finally:
            patience.cancel()
        return asking.result() if asking.done() else None

    def _begin(self, key: tuple[str, int]) -> asyncio.Future[Found | OSError]:
        """Ask in a thread of its own: one that hangs in a dead resolver must neither hold others up nor the exit."""
        loop = asyncio.get_running_loop()
        asking = self._asking[key] = loop.create_future()

        def work() -> None:
            answer: Found | OSError
            try:
                answer = self._ask(*key)
            except OSError as error:
                answer = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._came, key, asking, answer)

        threading.Thread(target=work, name=f"resolve {key[0]}", daemon=True).start()
        return asking

    def _came(self, key: tuple[str, int], asking: asyncio.Future[Found | OSError], answer: Found | OSError) -> None:
        self._asking.pop(key, None)
        self._asked[key] = self._clock.monotonic()
        if answer and not isinstance(answer, OSError):
            self._good[key] = answer
        if not asking.done():
            asking.set_result(answer or OSError("no addresses"))
