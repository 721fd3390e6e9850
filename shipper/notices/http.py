"""How watchers ask a metadata service: no proxy, no redirect, no cookie, a bounded body, and time limits of the injected clock.

`shipper.labels.metadata` does the same once, for identity, in a thread; here it goes on for a host's whole life, in the event
loop, with long polls. What an answer has to look like is decided there, for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

import aiohttp

from shipper.clock import Clock
from shipper.labels.metadata import MAX_BODY, Answer, NoMetadata

T = TypeVar("T")
CONNECT_SECONDS = 3.0
"""For the connection alone, in real time: at boot a first packet may be lost, and the kernel repeats it ever more rarely."""


async def within(clock: Clock, seconds: float, work: Awaitable[T]) -> T:
    """The result of ``work``; it is cancelled and TimeoutError raised after ``seconds`` of ``clock``."""
    doing = asyncio.ensure_future(work)
    end = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({doing, end}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise TimeoutError
    finally:
        end.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait({doing})


class Asker:
    """Asks one service. ``headers`` go with every request; ``max_body``: a longer answer is none."""

    def __init__(
        self, endpoint: str, *, clock: Clock, headers: Mapping[str, str] | None = None, max_body: int = MAX_BODY
    ) -> None:
        self.endpoint = endpoint.rstrip("/") if "://" in endpoint else f"http://{endpoint.rstrip('/')}"
        self._clock = clock
        self._headers = dict(headers or {})
        self._max_body = max_body
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        timeout: float | None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Any complete answer, header names in lower case. ``timeout`` in seconds, None waits for ever. Raises `NoMetadata`."""
        asking = self._exchange(method, path, params or {}, headers or {}, body)
        try:
            return await (asking if timeout is None else within(self._clock, timeout, asking))
        except aiohttp.ServerTimeoutError:
            raise NoMetadata(f"cannot be reached (no connection within {CONNECT_SECONDS:g} s)") from None
        except TimeoutError:
            raise NoMetadata(f"gave no answer within {timeout or 0:g} s") from None
        except (OSError, aiohttp.ClientError, ValueError) as problem:  # ValueError: an address that is none
            raise NoMetadata(f"cannot be reached ({_name(problem)})") from None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(
        self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        session = self._opened()
        named = {**self._headers, **headers}
        async with session.request(
            method, self.endpoint + path, params=params, headers=named, data=body, allow_redirects=False
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > self._max_body:
                    raise NoMetadata(f"answered more than {self._max_body // 1024} KiB")
            return Answer(
                response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(content)
            )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:  # made here, not in the constructor: it belongs to the running loop
            self._session = aiohttp.ClientSession(
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),  # else the clock decides
                headers={"Accept-Encoding": "identity", "User-Agent": "shipper"},
                auto_decompress=False,  # a small body must not unfold into a large one
            )
        return self._session


def _name(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem)[:100] or type(problem).__name__
