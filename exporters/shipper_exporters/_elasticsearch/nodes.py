"""Calls to a cluster: with credentials, and by another node when one does not answer."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence

from yarl import URL

from shipper.clock import Deadline
from shipper.errors import Retryable, Unusable
from shipper_exporters._elasticsearch.aws import Signer, strict
from shipper_exporters._elasticsearch.settings import ElasticsearchSettings
from shipper_exporters._http.client import Answer, Client, Content
from shipper_exporters._http.exchange import SecretFile

KEY_VARIABLE = "ELASTIC_API_KEY"
_NODE_DOWN = frozenset({502, 503, 504})


class Credentials:
    """What ``Authorization`` says: a file, read again whenever it changes, else the environment's API key if there is one."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self._username = settings.username
        self._scheme = "Bearer" if settings.token_file else "Basic" if settings.username else "ApiKey"
        self._file = SecretFile.first(
            API_key=settings.api_key_file, token=settings.token_file, password=settings.password_file
        )
        set_otherwise = settings.aws_region or any(name.lower() == "authorization" for name in settings.headers)
        self._key = "" if set_otherwise else os.environ.get(KEY_VARIABLE, "").strip()

    def headers(self) -> dict[str, str]:
        """The header, if there are credentials. Raises `Unusable` when they cannot be read or cannot be any."""
        secret = self._file.read() if self._file is not None else self._key
        if not secret:
            return {}
        if not secret.isascii() or not secret.isprintable():
            raise Unusable(f"{KEY_VARIABLE} in the environment is no API key")
        if self._scheme == "Basic":
            secret = _base64(f"{self._username}:{secret}")
        elif self._scheme == "ApiKey" and ":" in secret:  # id:key, as Kibana also shows it, is the same unencoded
            secret = _base64(secret)
        return {"Authorization": f"{self._scheme} {secret}"}


class Nodes:
    """The nodes of one cluster; calls go to one of them until that fails."""

    def __init__(
        self,
        urls: Sequence[URL],
        client: Client,
        headers: Mapping[str, str],
        secret: Credentials,
        signer: Signer | None = None,
    ) -> None:
        self._urls = list(urls)
        self._signer = signer
        self._client = client
        self._headers = headers
        self._secret = secret
        self._at = 0

    async def call(
        self,
        method: str,
        path: Sequence[str],
        query: Mapping[str, str],
        deadline: Deadline,
        limit: int,
        content: Content | None = None,
        encoding: str = "",
    ) -> tuple[Answer, URL]:
        """One exchange, and the URL that answered. A node that cannot be reached is passed over at once.

        Raises `Retryable` or `Unusable` for what fails below HTTP.
        """
        headers = {**self._headers, **self._secret.headers()}
        if encoding:
            headers["Content-Encoding"] = encoding
        for last in (*[False] * (len(self._urls) - 1), True):
            at = self._at
            url = self._urls[at].joinpath(*path).with_query(dict(query))
            try:
                url, signed = await self._signed(method, url, headers, content)
                answer = await self._client.call(method, url, deadline, limit, signed, content)
            except Retryable as error:
                self._leave(at)
                if last or not error.unsent:
                    raise
                continue
            if answer.status in _NODE_DOWN:
                self._leave(at)
            return answer, url
        raise AssertionError("the last node's answer or error ends the loop")

    async def _signed(
        self, method: str, url: URL, headers: Mapping[str, str], content: Content | None
    ) -> tuple[URL, Mapping[str, str]]:
        if self._signer is None:
            return url, headers
        url = strict(url)
        return url, await self._signer.sign(method, url, headers, content.data if content else b"")

    def _leave(self, at: int) -> None:
        """Use the next node from now on, unless another call has gone on already."""
        if self._at == at:
            self._at = (at + 1) % len(self._urls)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
