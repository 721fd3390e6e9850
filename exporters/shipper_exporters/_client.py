"""One exchange over HTTP, as patient as the settings say, and what its failure means.

One aiohttp session, HTTP/1.1 with kept-alive connections, no cookies, no redirects. Every resolved address is checked before it is
connected to. What an answer means is for the exporter to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from shipper.clock import Clock, Deadline
from shipper.contracts import ExporterContext
from shipper.errors import Retryable
from shipper_exporters._http import (
    Addresses,
    NoAnswer,
    Patience,
    TlsFiles,
    Upload,
    WatchingResolver,
    connect_socket,
    network_failure,
    read_bounded,
)
from shipper_exporters._http_settings import HttpSettings

_KEEP_ALIVE = 45.0  # idle connections are kept this long; common load balancers close theirs after 60 s


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
    """Calls between `open` and `aclose`. ``timeout``: seconds for which an exchange may stand still."""

    def __init__(self, clock: Clock, timeout: float, tls: TlsFiles, addresses: Addresses) -> None:
        self._clock = clock
        self._timeout = timeout
        self._tls = tls
        self._addresses = addresses
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, settings: HttpSettings, context: ExporterContext) -> Client:
        """The client that an exporter with these settings uses."""
        tls = TlsFiles(settings.ca_file, settings.cert_file, settings.key_file)
        return cls(context.clock, settings.timeout, tls, Addresses(context.own_addresses))

    @property
    def addresses(self) -> Addresses:
        """What is known of the addresses it connected to."""
        return self._addresses

    def open(self) -> None:
        """Be ready; connects to nothing."""
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=_KEEP_ALIVE,
            resolver=WatchingResolver(self._addresses),
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
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        patience = Patience(self._clock, self._timeout, deadline)
        options: dict[str, Any] = {"headers": headers, "ssl": self._tls.context()}
        upload = None
        if content is not None:
            upload = options["data"] = Upload(content.data, content.type, patience.progress)
        reused: set[bool] = set()
        try:
            async with patience:
                try:
                    return await self._exchange(method, url, limit, reused, options)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    # A kept connection may be closed by the other side just as it is used again; a new one tells more.
                    if not reused:
                        raise
                    repeated = upload is not None and upload.whole
                    return replace(await self._exchange(method, url, limit, reused, options), repeated=repeated)
        except TimeoutError:
            when = "before the deadline" if deadline.expired() else f"for {self._timeout:g} s"
            raise NoAnswer(f"{shown(url)}: no answer {when}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise network_failure(error, shown(url), unsent=upload is not None and not upload.whole) from None

    async def _exchange(self, method: str, url: URL, limit: int, reused: set[bool], options: dict[str, Any]) -> Answer:
        if self._session is None:
            raise RuntimeError("an exporter is used between start() and aclose()")
        async with self._session.request(
            method, url, allow_redirects=False, trace_request_ctx=reused, **options
        ) as response:
            return Answer(response.status, response.headers, await read_bounded(response, limit))


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
