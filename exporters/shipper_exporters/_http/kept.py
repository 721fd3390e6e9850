"""Kept connections on which nothing was said that nobody asked for.

In HTTP/1.1 an answer belongs to a request by its place alone. A server, or a proxy in between, that answers once more than it was
asked, late or by a "408" to a connection at rest, would have that taken for the answer to whatever is sent next: records would
count as arrived that nobody has. aiohttp looks for such bytes when an exchange ends, and not behind that.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader

_FINAL = 200  # statuses below say that the answer is still to come (RFC 9110, 15.2)


class _Connection(ResponseHandler):
    """Closes itself when something comes behind an answer."""

    _answer: StreamReader | None = None

    def set_response_params(self, **given: Any) -> None:
        """See `ResponseHandler`: a request is about to be sent."""
        self._answer = None
        super().set_response_params(**given)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """See `ResponseHandler`: the head of an answer came."""
        message, body = data
        if message.code >= _FINAL:
            self._answer = body
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if data and self._answer is not None and self._answer.is_eof():
            self.force_close()
            if self.transport is not None:
                self.transport.close()
            return
        super().data_received(data)


class KeptConnections(aiohttp.TCPConnector):
    """aiohttp's connector, with such connections."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._factory = partial(_Connection, loop=self._loop)  # type: ignore[assignment]  # it is a ResponseHandler
