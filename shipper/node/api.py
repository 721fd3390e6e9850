"""The API server as a pod reaches it: address and credentials from what Kubernetes puts into every pod, each read anew when used.

Tokens of service accounts are replaced by the kubelet while they are in use (https://kubernetes.io/docs/reference/access-authn-authz/
service-accounts-admin/), and so are certificates: nothing of it is kept.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from shipper.clock import Clock

MOST_BODY = 128 << 20  # a list of some thousand pods
MOST_EVENT = 8 << 20  # etcd takes no larger objects than 1.5 MiB
ASK_SECONDS = 30.0  # for a list
WATCH_SECONDS = 290  # the server ends a watch after that, and it is taken up again where it was
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiError(Exception):
    """The API server cannot be asked, or did not answer as asked. ``status``: of the answer, 0: there was none."""

    def __init__(self, said: str, status: int = 0) -> None:
        super().__init__(said)
        self.status = status


class ApiServer:
    """Asks one API server; `aclose` it."""

    def __init__(self, url: str, *, token_file: str, ca_file: str, clock: Clock) -> None:
        """``url``: as in https://10.96.0.1:443. ``token_file``, ``ca_file``: empty, or where there is none, without."""
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, *, seconds: float = ASK_SECONDS, **query: str) -> Any:
        """The object at ``path``. Raises `ApiError`."""
        try:
            async with asyncio.timeout(seconds), self._request(path, query) as answer:
                if answer.status != 200:
                    raise await self._refused(answer, path)
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > MOST_BODY:
                        raise ApiError(f"{self.url}{path} says more than {MOST_BODY >> 20} MiB")
                return msgspec.json.decode(bytes(body))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as problem:
            raise ApiError(f"{self.url}{path}: {_words(problem)}") from problem

    async def watch(self, path: str, **query: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """The events of a watch, until the server ends it. Raises `ApiError`."""
        query |= {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        try:
            async with self._request(path, query, idle=WATCH_SECONDS + 30) as answer:
                if answer.status != 200:
                    raise await self._refused(answer, path)
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    if len(rest) > MOST_EVENT:
                        raise ApiError(f"{self.url}{path}: an event is larger than {MOST_EVENT >> 20} MiB")
                    for line in filter(None, lines):
                        event = msgspec.json.decode(line)
                        if isinstance(event, dict):
                            yield event
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as problem:
            raise ApiError(f"{self.url}{path}: {_words(problem)}") from problem

    async def aclose(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _request(self, path: str, query: Mapping[str, str], idle: float = ASK_SECONDS) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        headers = {"Accept": "application/json"}
        token = _read(self._token_file)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=idle)
        return self._session.get(
            self.url + path, params=query, headers=headers, timeout=timeout, ssl=self._tls(), allow_redirects=False
        )

    def _tls(self) -> ssl.SSLContext | bool:
        if not self.url.startswith("https:"):
            return True
        ca = self._ca_file if self._ca_file and Path(self._ca_file).exists() else None
        return ssl.create_default_context(cafile=ca)

    async def _refused(self, answer: aiohttp.ClientResponse, path: str) -> ApiError:
        said = (await answer.content.read(2048)).decode("utf-8", "replace")
        try:
            message = str(msgspec.json.decode(said)["message"])
        except (ValueError, KeyError, TypeError):
            message = " ".join(said.split())
        hint = " (docs/kubernetes.md has the role that is needed)" if answer.status in (401, 403) else ""
        return ApiError(f"{self.url}{path} answered {answer.status}: {message[:300]}{hint}", answer.status)


def pod_path(namespace: str, name: str) -> str:
    """Where a pod is."""
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"


def namespace_path(namespace: str) -> str:
    """Where a namespace is."""
    return f"/api/v1/namespaces/{quote(namespace, safe='')}"


def in_cluster(env: Mapping[str, str]) -> str:
    """The address of the API server of the cluster that this pod runs in; empty outside of one."""
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "") or "443"
    if not host:
        return ""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip() if path else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _words(problem: Exception) -> str:
    return str(problem) or type(problem).__name__
