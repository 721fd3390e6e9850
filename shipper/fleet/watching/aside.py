"""Blocking work in a thread that nobody else waits for: a Prometheus that does not answer holds up no drain and no exit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """What ``work`` returns; raises what it raises. Whoever is cancelled here leaves the thread to itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, problem: Exception | None) -> None:
        if done.cancelled():
            return
        if problem is not None:
            done.set_exception(problem)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # there is one where there is no problem

    def run() -> None:
        result, problem = None, None
        try:
            result = work()
        except Exception as raised:
            problem = raised  # raised again where it is waited for
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=run, name="shipper-verdicts", daemon=True).start()
    return await done
