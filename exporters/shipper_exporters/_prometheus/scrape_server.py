"""Answers scrapers over HTTP: who may ask, what they get, and who they were.

A scrape has no word for "I have it". What counts is that the whole answer was handed over to a connection that was still open;
a scraper that goes away in between has not seen it.
"""

from __future__ import annotations

import hmac
from typing import Any, Protocol

from aiohttp import web
from isal import igzip

from shipper.contracts import ExporterContext
from shipper.errors import ConfigError, Unusable
from shipper.sources.listen import ListenSettings
from shipper_exporters._http.exchange import SecretFile
from shipper_exporters._prometheus.exposition_text import OPENMETRICS, TEXT, asks_for_openmetrics
from shipper_exporters._prometheus.scrape_settings import PrometheusScrapeSettings
from shipper_exporters._way.addresses import Addresses

_WORTH_COMPRESSING = 1024


class Page(Protocol):
    """What is shown."""

    def show(self, *, openmetrics: bool) -> tuple[bytes, Any]:
        """The page as it is now, and a mark by which to say that it was seen."""

    def was_seen(self, mark: Any) -> None:
        """Somebody has got all of that page."""


class ScrapeServer:
    """One listener. ``foreign``: the last who got a page was on another machine."""

    def __init__(
        self,
        name: str,
        settings: PrometheusScrapeSettings,
        listen: ListenSettings,
        context: ExporterContext,
        page: Page,
    ) -> None:
        self.foreign = False
        self._name = name
        self._settings = settings
        self._listen = listen
        self._context = context
        self._page = page
        self._token = SecretFile(settings.token_file) if settings.token_file else None
        self._runner: web.AppRunner | None = None
        self._problem = ""

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens; None while it does not."""
        for address in self._runner.addresses if self._runner is not None else ():
            return str(address[0]), int(address[1])
        return None

    def describe(self) -> str:
        """Its URL."""
        scheme = "https" if self._listen.cert else "http"
        return f"{scheme}://{self._settings.listen}{self._settings.path}"

    async def open(self) -> None:
        """Listen, or remember why that is impossible just now."""
        app = web.Application()
        app.router.add_get(self._settings.path, self._get, allow_head=False)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        try:
            tls = self._listen.context(f"destinations.{self._name}.cert_file")
            await web.TCPSite(runner, self._listen.host or None, self._listen.port, ssl_context=tls).start()
        except (OSError, ConfigError) as error:
            await runner.cleanup()
            self._problem = f"cannot listen on {self._settings.listen}: {getattr(error, 'strerror', None) or error}"
            return
        self._problem, self._runner = "", runner

    async def listening(self) -> None:
        """Make sure that it listens. Raises `Unusable` when it cannot."""
        if self._runner is None:
            await self.open()
        if self._problem:
            raise Unusable(self._problem)

    async def aclose(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _get(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        openmetrics = asks_for_openmetrics(request.headers.get("Accept", ""))
        body, mark = self._page.show(openmetrics=openmetrics)
        headers = {"Content-Type": OPENMETRICS if openmetrics else TEXT, "Vary": "Accept, Accept-Encoding"}
        if len(body) >= _WORTH_COMPRESSING and "gzip" in request.headers.get("Accept-Encoding", "").lower():
            headers["Content-Encoding"] = "gzip"
            body = igzip.compress(body, compresslevel=0)
        headers["Content-Length"] = str(len(body))
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        if request.transport is not None and not request.transport.is_closing():
            self._note(request.remote or "")
            self._page.was_seen(mark)
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What who may not ask gets."""
        if self._token is None:
            return None
        try:
            wanted = f"Bearer {self._token.read()}".encode()
        except Unusable as problem:  # its file is gone; whoever asks can wait
            return web.Response(status=503, text=f"{problem}\n")
        if hmac.compare_digest(request.headers.get("Authorization", "").encode("utf-8", "replace"), wanted):
            return None
        return web.Response(status=401, text="a bearer token is needed\n", headers={"WWW-Authenticate": "Bearer"})

    def _note(self, peer: str) -> None:
        """Remember where the scraper was."""
        addresses = Addresses(frozenset())
        addresses.check("scraper", [peer], 0)
        self.foreign = addresses.known and not addresses.local
