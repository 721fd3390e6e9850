"""Questions to a backend by plain HTTP: every way in which it may fail to answer is one sentence.

One question at a time, since backends are shared with people who look at dashboards. One that is busy (429, 503, ...) is
asked again when it says; credentials do not follow where an answer leads.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from shipper import __version__
from shipper.errors import ConfigError
from shipper.fleet.backends.model import Secrets
from shipper.fleet.questions import NoAnswer, NoRedirect, Reading, base_url, short

SECONDS = 60.0
"""How long one answer may take."""
_MOST_ERROR = 64 << 10
_BUSY: Final = frozenset({408, 425, 429, 502, 503, 504})
_TRIES = 6
_LONGEST_WAIT = 900.0
_WAIT_HEADERS = ("Retry-After", "X-RateLimit-Reset")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for one answer, and how waiting is done. ``tell`` is told why nothing happens for a while."""

    seconds: float = SECONDS
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    tell: Callable[[str], object] = lambda text: None


class Asker:
    """Asks one server. ``url``: its base; ``option``: where that was said; ``mend``: what to do about missing credentials.

    Raises `ConfigError` for what is no URL, or for a file of certificates that cannot be read.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        option: str,
        mend: str,
        ca_file: str = "",
        patience: Patience | None = None,
    ) -> None:
        self.url = base_url(
            url, option, example="https://backend.example:1234", instead="--username and --password-file"
        )
        self._headers = {"User-Agent": f"Shipper/{__version__}", "Accept": "application/json", **headers}
        self._mend = mend
        self._patience = patience or Patience()
        self._reading = Reading(self.url, self._patience.now, _slow(self.url, self._patience.seconds))
        handlers: list[urllib.request.BaseHandler] = [NoRedirect()]
        if self.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=_trust(ca_file)))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, query: Mapping[str, object]) -> dict[str, Any]:
        """The JSON object that is answered to GET. Raises `NoAnswer`."""
        return self._object(urllib.request.Request(f"{self.url}{path}?{urlencode(query)}", headers=self._headers))

    def post(self, path: str, body: object) -> dict[str, Any]:
        """The JSON object that is answered to a POST of JSON. Raises `NoAnswer`."""
        headers = {**self._headers, "Content-Type": "application/json"}
        return self._object(urllib.request.Request(self.url + path, json.dumps(body).encode(), headers))

    def lines(self, path: str, form: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The JSON objects, one a line, that are answered to a POST of a form. Raises `NoAnswer`."""
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        request = urllib.request.Request(self.url + path, urlencode(form).encode(), headers)
        deadline = self._patience.now() + self._patience.seconds
        with self._open(request) as answer, _broken(self.url, self._patience.seconds):
            for line in answer:
                if line.strip():
                    yield self._parsed(line)
                if self._patience.now() > deadline:
                    raise NoAnswer(_slow(self.url, self._patience.seconds))
            if answer.length:
                raise NoAnswer(f"{self.url} broke off its answer")

    def _object(self, request: urllib.request.Request) -> dict[str, Any]:
        deadline = self._patience.now() + self._patience.seconds
        with self._open(request) as answer, _broken(self.url, self._patience.seconds):
            return self._parsed(self._reading.whole(answer, deadline))

    def _parsed(self, said: bytes) -> dict[str, Any]:
        try:
            found = json.loads(said)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise NoAnswer(f"{self.url} answers with something else than JSON objects: {short(said)!r}")
        return found

    def _open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """The answer to a request, once it is a good one. Raises `NoAnswer`."""
        for tries in range(1, _TRIES + 1):
            try:
                with _broken(self.url, self._patience.seconds):
                    answer: http.client.HTTPResponse = self._opener.open(
                        request, timeout=max(0.1, self._patience.seconds)
                    )
            except urllib.error.HTTPError as problem:
                with problem:
                    wait = _wait(problem, tries)
                    if problem.code not in _BUSY or tries == _TRIES or wait > _LONGEST_WAIT:
                        raise NoAnswer(self._refused(problem, wait), problem.code) from None
                self._patience.tell(f"{self.url} answered {problem.code}: asking again in {wait:g} s")
                self._patience.sleep(wait)
                continue
            if "html" in answer.headers.get("Content-Type", "").lower():
                answer.close()
                raise NoAnswer(f"{self.url} answers with a web page: it is another place, or a login stands before it")
            return answer
        raise AssertionError("the last try ends the loop")

    def _refused(self, problem: urllib.error.HTTPError, wait: float) -> str:
        if 300 <= problem.code < 400:
            return f"{self.url} sends us on to {short(problem.headers.get('Location', 'nowhere'))}: give that address"
        try:
            page = "html" in problem.headers.get("Content-Type", "").lower()
            words = "a web page" if page else _words(problem.read(_MOST_ERROR)) or str(problem.reason)
        except (OSError, http.client.HTTPException):
            words = str(problem.reason)
        said = f"{self.url} answered {problem.code}: {words}"
        if problem.code in (401, 403):
            return f"{said} ({self._mend})"
        if problem.code == 404:
            return f"{said} (is this the right address?)"
        if problem.code in _BUSY:
            return f"{said} (still busy after all tries; it wants to be asked again in {wait:g} s)"
        return said


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as problem:
        raise ConfigError("--ca-file", f"{ca_file}: {problem.strerror or problem}") from None


class _broken:
    """Turns what fails below HTTP into a sentence."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url, self._seconds = url, seconds

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        if problem is None or isinstance(problem, urllib.error.HTTPError):
            return
        reason = getattr(problem, "reason", None) or problem
        if isinstance(problem, TimeoutError) or isinstance(reason, TimeoutError):
            raise NoAnswer(_slow(self._url, self._seconds)) from None
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise NoAnswer(f"{self._url}: {reason.verify_message}; name whom to trust by --ca-file") from None
        if isinstance(problem, OSError | http.client.HTTPException | ValueError):
            raise NoAnswer(f"{self._url} cannot be asked: {reason or type(problem).__name__}") from None


def _slow(url: str, seconds: float) -> str:
    return f"{url} did not answer within {seconds:g} s; give it longer by --timeout, or ask for less by --since"


def _wait(problem: urllib.error.HTTPError, tries: int) -> float:
    """Seconds until the next try: as the answer says, or twice as long as before."""
    for name in _WAIT_HEADERS:
        value = problem.headers.get(name, "").strip()
        if value.isascii() and value.isdigit():
            return float(value[:9])
    return float(2 ** (tries - 1))


def _words(said: bytes) -> str:
    """What an error says in its own words: each of these backends puts them elsewhere."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return short(said)
    for name in ("error", "errors", "messages", "message"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
            break
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, dict):
        found = next((found[name] for name in ("reason", "detail", "text", "title") if found.get(name)), found)
    return short(found if isinstance(found, str) else json.dumps(found))


def secret(option: str, path: str) -> str:
    """The secret in a file. Raises `ConfigError`."""
    try:
        with open(path, encoding="utf-8") as file:
            found = file.read(_MOST_ERROR).strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(option, f"{path}: {getattr(problem, 'strerror', '') or 'is no text'}") from None
    if not found or not found.isascii() or not found.isprintable():
        raise ConfigError(option, f"{path}: must hold one secret on one line")
    return found


def authorization(secrets: Secrets, *, key_variable: str = "") -> dict[str, str]:
    """The header for a token, a user and password, or an API key (``id:key`` too). Raises `ConfigError`."""
    if secrets.username:
        return {
            "Authorization": f"Basic {_base64(f'{secrets.username}:' + secret('--password-file', secrets.password_file))}"
        }
    if secrets.token_file:
        return {"Authorization": f"Bearer {secret('--token-file', secrets.token_file)}"}
    key = secret("--api-key-file", secrets.api_key_file) if secrets.api_key_file else ""
    key = key or os.environ.get(key_variable, "").strip()
    if not key:
        return {}
    if not key.isascii() or not key.isprintable():
        raise ConfigError(key_variable, "is no API key")
    return {"Authorization": f"ApiKey {_base64(key) if ':' in key else key}"}


def in_path(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="*,-_.")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
