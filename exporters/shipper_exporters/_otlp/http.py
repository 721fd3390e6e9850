"""A place that speaks OTLP/HTTP, with bodies of protobuf or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from yarl import URL

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Signal
from shipper.errors import DeliveryError, Unusable
from shipper_exporters._http.client import Answer, Client, Content, shown
from shipper_exporters._otlp.answers import MAX_ANSWER, failure, passing, success
from shipper_exporters._otlp.place import GATEWAY_HEADER, Place, Said
from shipper_exporters._otlp.request import JSON, OtlpBody
from shipper_exporters._otlp.settings import Address

Headers = Callable[[], Mapping[str, str]]
"""The headers of every request as they are now; raises `Unusable` when the token cannot be read."""


class HttpPlace(Place):
    """See `Place`."""

    def __init__(self, address: Address, client: Client, headers: Headers, clock: Clock, life: str) -> None:
        super().__init__(address.name, clock, life, asks=address.base is not None)
        self._address = address
        self._client = client
        self._headers = headers

    async def post(self, signal: Signal, body: OtlpBody, deadline: Deadline) -> tuple[Accepted, str]:
        """See `Place.post`."""
        url = self._address.urls[signal]
        headers = {"Accept-Encoding": "identity", **self._headers(), **body.headers}
        content = Content(body.data, body.headers["Content-Type"])
        answer = await self._client.call("POST", url, deadline, MAX_ANSWER, headers, content)
        gateway = answer.headers.get(GATEWAY_HEADER, "")
        if gateway and content.type == JSON:
            # what it keeps of a life is counted in bytes of protobuf
            raise Unusable(f"{shown(url)} is a Shipper gateway, which takes no JSON from a Shipper; leave protocol out")
        if not 200 <= answer.status < 300:
            raise self._failure(answer, url)
        return success(signal, answer.status, answer.headers, answer.body, shown(url)), gateway

    async def ask(self, life: str, limit: int) -> Said:
        """See `Place.ask`."""
        assert self._address.base is not None
        url = self._address.base / (f"shipper/v1/lives/{life}/intervals" if life else "shipper/v1/hello")
        headers = {"Accept-Encoding": "identity", **self._headers()}
        answer = await self._client.call("GET", url, Deadline(self.clock), limit, headers)
        return Said(
            answer.headers.get(GATEWAY_HEADER, ""),
            answer.body,
            None if 200 <= answer.status < 300 else self._failure(answer, url),
            passing(answer.status),
            answer.status == 404,
        )

    def _failure(self, answer: Answer, url: URL) -> DeliveryError:
        return failure(answer.status, answer.headers, answer.body, shown(url), self.clock.wall_ns())
