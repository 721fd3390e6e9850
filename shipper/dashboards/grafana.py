"""A Grafana, spoken to by its HTTP API: just what `shipper dashboards install` needs, with the base install only.

Whatever goes wrong is one sentence that says whose doing it is and what to do: the network, the token, the role, a login
page where the API should be, a Grafana that is too old, a dashboard that is kept from files.

API: grafana.com/docs/grafana/latest/developers/http_api (folder, dashboard, alerting_provisioning, other).
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any

from shipper import __version__
from shipper.errors import ShipperError

OLDEST = (11, 0)  # what the dashboards' fields and nested folders need
TIMEOUT = 30.0
_MAX_ANSWER = 32 << 20  # a dashboard of somebody else's making may be large; nothing of Grafana's API is larger


class GrafanaError(ShipperError):
    """Grafana could not be asked, or does not want to; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Grafana answered: an HTTP status and, where there is one, JSON."""

    status: int
    data: Any

    @property
    def message(self) -> str:
        """Grafana's own words, in one line."""
        given = self.data.get("message", "") if isinstance(self.data, dict) else ""
        return " ".join(str(given).split())[:300]


class Grafana:
    """One Grafana at ``url`` (with its sub-path, where it has one), asked with ``token`` unless that is empty.

    Raises `GrafanaError` for a URL that cannot be right.
    """

    def __init__(self, url: str, token: str = "", *, timeout: float = TIMEOUT) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GrafanaError(f"{url!r} is no URL such as https://grafana.example")
        if parts.username is not None:
            raise GrafanaError("the URL has a password in it; make a service account and give its token instead")
        self.url = url.split("?")[0].rstrip("/")
        self._token = token
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirects)

    def version(self) -> str:
        """Grafana's version, empty where it hides that. Raises `GrafanaError` where there is no Grafana, or too old a one."""
        answer = self.ask("GET", "/api/health")
        if answer.status != 200 or not isinstance(answer.data, dict) or "database" not in answer.data:
            raise GrafanaError(
                f"{self.url}: no Grafana answers here (status {answer.status} for /api/health); "
                "where it lives under a path, that belongs to the URL"
            )
        version = str(answer.data.get("version", ""))
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST:
            raise GrafanaError(
                f"{self.url} is Grafana {version}; the dashboards need {'.'.join(map(str, OLDEST))} or later"
            )
        return version

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """One exchange. Raises `GrafanaError` when that was not with Grafana's API, or it does not know the token."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Accept": "application/json", "User-Agent": f"shipper/{__version__}"},
        )
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        status, headers, raw = self._exchange(request)
        return self._understood(path, status, headers, raw)

    def _exchange(self, request: urllib.request.Request) -> tuple[int, Any, bytes]:
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return response.status, response.headers, response.read(_MAX_ANSWER + 1)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, refusal.read(_MAX_ANSWER + 1)
        except urllib.error.URLError as failure:
            raise GrafanaError(f"{self.url} cannot be reached: {failure.reason}") from None
        except (OSError, HTTPException) as failure:
            raise GrafanaError(f"{self.url} cannot be reached: {failure or type(failure).__name__}") from None

    def _understood(self, path: str, status: int, headers: Any, raw: bytes) -> Answer:
        if 300 <= status < 400:
            target = headers.get("Location", "")
            login = " (a login page: the token does not reach Grafana)" if "login" in target else ""
            raise GrafanaError(f"{self.url} sends us to {target or 'another address'}{login}; give Grafana's own URL")
        if len(raw) > _MAX_ANSWER:
            raise GrafanaError(f"{self.url}{path}: the answer is larger than any of Grafana's")
        try:
            data = json.loads(raw) if raw.strip() else None
        except ValueError:
            data = None
            if status < 400 or raw.lstrip()[:1] == b"<":
                raise GrafanaError(
                    f"{self.url}{path} answers {status} with a page for people, not with Grafana's API: "
                    "is there a login page or another proxy in front of it?"
                ) from None
        answer = Answer(status, data)
        if status == 401:
            raise GrafanaError(self._unknown(answer))
        if status >= 500:
            raise GrafanaError(f"{self.url}{path} answers {status}{_said(answer)}; try again later")
        return answer

    def _unknown(self, answer: Answer) -> str:
        if self._token:
            return f"{self.url} does not take the token{_said(answer)}: is it expired, revoked, or of another Grafana?"
        return (
            f"{self.url} wants to know who we are: make a service account with the role Editor and give its token "
            "in GRAFANA_TOKEN or --token-file"
        )


def _said(answer: Answer) -> str:
    return f" ({answer.message})" if answer.message else ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would become a GET without its body; where to is for people to know."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None
