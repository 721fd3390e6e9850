"""Calls to Splunk's HTTP Event Collector: the token, the channel, and cookies by which a balancer keeps to one indexer."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from http.cookies import CookieError, SimpleCookie

from multidict import MultiMapping
from yarl import URL

from shipper.clock import Deadline
from shipper.contracts import ExporterContext
from shipper.errors import Unusable
from shipper_exporters._http.client import Answer, Client, Content, shown
from shipper_exporters._splunk.answers import MAX_ANSWER, Refused, parse, trouble
from shipper_exporters._splunk.settings import TOKEN_VARIABLE, SplunkSettings
from shipper_exporters._way.files import SecretFile

_MOST_COOKIES = 20


class Hec:
    """One collector. ``base`` ends in ``/services/collector``."""

    def __init__(self, base: URL, settings: SplunkSettings, context: ExporterContext) -> None:
        self.base = base
        self.client = Client.of(settings, context)
        self._clock = context.clock
        self._headers = {"User-Agent": context.user_agent, "Accept-Encoding": "identity", **settings.headers}
        self._secret = SecretFile(settings.token_file) if settings.token_file else None
        self._cookies: dict[str, str] = {}

    async def post(
        self, path: str, query: Mapping[str, str], content: Content, encoding: str, channel: str, deadline: Deadline
    ) -> Answer:
        """Give events to ``event`` or ``raw``. Raises `Retryable` or `Unusable` for what fails below HTTP."""
        headers = {"X-Splunk-Request-Channel": channel}
        if encoding:
            headers["Content-Encoding"] = encoding
        return await self._call("POST", (self.base / path).with_query(query), deadline, headers, content)

    async def acknowledged(self, channel: str, ids: Collection[int], deadline: Deadline) -> set[int]:
        """Those of the acknowledgement ids of a channel whose events are indexed. Raises `DeliveryError`."""
        content = Content(json.dumps({"acks": sorted(ids)}).encode(), "application/json")
        url = (self.base / "ack").with_query({"channel": channel})
        answer = await self._call("POST", url, deadline, {"X-Splunk-Request-Channel": channel}, content)
        told = parse(answer).get("acks")
        if 200 <= answer.status < 300 and isinstance(told, dict):
            return {int(key) for key, there in told.items() if there is True and key.isdecimal() and int(key) in ids}
        error = trouble(answer, shown(url), self._clock.wall_ns())
        if isinstance(error, Refused):
            raise Unusable(f"{error.reason}; it has no indexer acknowledgement, so set acknowledgement: false")
        raise error

    async def health(self, deadline: Deadline) -> Answer:
        """What the collector says of itself; it needs no token for that, and one that is wrong would be an error."""
        return await self._call("GET", self.base / "health", deadline, {}, None)

    async def _call(
        self, method: str, url: URL, deadline: Deadline, headers: Mapping[str, str], content: Content | None
    ) -> Answer:
        sent = {**self._headers, **headers}
        if content is not None:
            sent["Authorization"] = f"Splunk {self._token()}"
        if self._cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        answer = await self.client.call(method, url, deadline, MAX_ANSWER, sent, content)
        self._remember(answer.headers)
        return answer

    def _token(self) -> str:
        if self._secret is not None:
            return self._secret.read()
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token or not token.isascii() or not token.isprintable():
            raise Unusable(f"{TOKEN_VARIABLE} holds no token")
        return token

    def _remember(self, headers: Mapping[str, str]) -> None:
        """Ids of acknowledgements mean something to one indexer only, and a balancer knows by its cookie which it was."""
        given = headers.getall("Set-Cookie", []) if isinstance(headers, MultiMapping) else []
        for line in given[:_MOST_COOKIES]:
            try:
                cookies = SimpleCookie(line)
            except CookieError:
                continue
            self._cookies |= {name: cookie.coded_value for name, cookie in cookies.items()}
        while len(self._cookies) > _MOST_COOKIES:
            del self._cookies[next(iter(self._cookies))]
