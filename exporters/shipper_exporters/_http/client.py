"""One exchange over HTTP, as patient as the settings say, and what its failure means.

HTTP/1.1 by aiohttp with kept-alive connections, no cookies, no redirects. Every resolved address is checked before it is
connected to. What an answer means is for the exporter to say; what is known of the way there is in ``_network``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from shipper.clock import Deadline
from shipper.contracts import ExporterContext
from shipper.errors import Retryable
from shipper_exporters._http.exchange import NoAnswer, Patience, Upload, connect_socket, read_bounded
from shipper_exporters._http.kept import KeptConnections
from shipper_exporters._http.settings import HttpSettings
from shipper_exporters._way.addresses import Addresses
from shipper_exporters._way.failures import network_failure, proxy_refusal, wants_tls
from shipper_exporters._way.network import KEEP_ALIVE, RENEW, Network
from shipper_exporters._way.proxy import Proxy


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``body`` is one byte longer than was asked for when there was more.

    ``repeated``: the request had been sent over a kept connection before, and may have got there without an answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What a request carries."""

    data: bytes = field(repr=False)
    type: str


class Client:
    """Calls between `open` and `aclose`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._clock = network.clock
        self._session: aiohttp.ClientSession | None = None
        self._opened = 0.0
        self._answered = False  # by anybody, ever
        self._users: Counter[aiohttp.ClientSession] = Counter()  # calls under way

    @classmethod
    def of(cls, settings: HttpSettings, context: ExporterContext) -> Client:
        """The client that an exporter with these settings uses."""
        return cls(Network.of(settings, context))

    @property
    def addresses(self) -> Addresses:
        """What is known of the addresses it connected to."""
        return self._network.addresses

    def open(self) -> None:
        """Be ready; connects to nothing."""
        self._opened = self._clock.monotonic()
        connector = KeptConnections(
            limit=0,
            keepalive_timeout=KEEP_ALIVE,
            use_dns_cache=False,  # `Names` knows better
            resolver=self._network.resolver(),
            socket_factory=connect_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[_noting_reuse()],
        )

    async def aclose(self) -> None:
        """Let go of connections."""
        sessions = set(self._users)
        if self._session is not None:
            sessions.add(self._session)
        self._session = None
        for session in sessions:
            await session.close()

    async def call(
        self,
        method: str,
        url: URL,
        deadline: Deadline,
        limit: int,
        headers: Mapping[str, str],
        content: Content | None = None,
    ) -> Answer:
        """One exchange, whatever status it ends with; of the answer's body no more than ``limit`` bytes and one are read.

        Raises `Retryable` or `Unusable` for what fails below HTTP.
        """
        if deadline.expired():
            raise Retryable(f"{shown(url)}: the deadline came before it could be sent", unsent=True)
        patience = Patience(self._clock, self._network.timeout, deadline)
        proxy = self._network.proxy(url)
        options = self._options(url, headers, proxy)
        upload = None
        if content is not None:
            upload = options["data"] = Upload(content.data, content.type, patience.progress)
        reused: set[bool] = set()
        try:
            async with patience, self._session_now() as session:
                try:
                    answer = await self._exchange(session, method, url, limit, reused, options, patience)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    # A kept connection may be closed by the other side just as it is used again; a new one tells more.
                    if not reused:
                        raise
                    repeated = upload is not None and upload.whole
                    answer = await self._exchange(session, method, url, limit, reused, options, patience)
                    answer = replace(answer, repeated=repeated)
        except TimeoutError:
            self._network.names.doubt()
            when = "before the deadline" if deadline.expired() else f"for {self._network.timeout:g} s"
            raise NoAnswer(f"{shown(url)}: no answer {when}") from None
        except (aiohttp.ClientError, OSError) as error:
            self._network.names.doubt()
            unsent = upload is not None and not upload.whole
            by = str(proxy.url) if proxy is not None else ""
            silent = url.scheme == "http" and not self._answered
            raise network_failure(error, shown(url), unsent=unsent, proxy=by, silent=silent) from None
        self._answered = True
        if upload is not None and not upload.whole and 200 <= answer.status < 300:
            raise Retryable(f"{shown(url)}: answered {answer.status} before it had all of the request", unsent=True)
        if proxy is not None and answer.status == 407:
            raise proxy_refusal(answer.status, "", shown(url), str(proxy.url))
        if url.scheme == "http" and (mistaken := wants_tls(answer.status, answer.body, shown(url))):
            raise mistaken
        return answer

    def _options(self, url: URL, headers: Mapping[str, str], proxy: Proxy | None) -> dict[str, Any]:
        """What aiohttp is told. Raises `Unusable` when a file that it names cannot be used."""
        options: dict[str, Any] = {"headers": headers, "ssl": self._network.tls.context()}
        if self._network.server_name:
            options["server_hostname"] = self._network.server_name
        if proxy is not None:
            options["proxy"] = proxy.url
            if authorization := proxy.authorization():
                if url.scheme == "http":
                    options["headers"] = {**headers, "Proxy-Authorization": authorization}
                else:
                    options["proxy_headers"] = {"Proxy-Authorization": authorization}
        return options

    @asynccontextmanager
    async def _session_now(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The session for a call. Each is used for a while only, so that a busy host follows a name that leads elsewhere."""
        if self._session is None:
            raise RuntimeError("an exporter is used between start() and aclose()")
        old = self._session
        if self._clock.monotonic() - self._opened >= RENEW:
            self.open()
            if not self._users[old]:
                await old.close()
        session = self._session
        self._users[session] += 1
        try:
            yield session
        finally:
            self._users[session] -= 1
            if not self._users[session]:
                del self._users[session]
                if session is not self._session:
                    await session.close()

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        limit: int,
        reused: set[bool],
        options: dict[str, Any],
        patience: Patience,
    ) -> Answer:
        async with session.request(method, url, allow_redirects=False, trace_request_ctx=reused, **options) as response:
            return Answer(response.status, response.headers, await read_bounded(response, limit, patience.progress))


def shown(url: URL) -> str:
    """A URL for a message: without its query, where some vendors want a secret."""
    return str(url.with_query(None))


def _noting_reuse() -> aiohttp.TraceConfig:
    """Makes aiohttp note in ``trace_request_ctx`` when a request went over a kept connection."""

    async def note(_session: aiohttp.ClientSession, context: SimpleNamespace, _details: object) -> None:
        context.trace_request_ctx.add(True)

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(note)
    return config
