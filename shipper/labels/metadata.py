"""Asks a cloud's metadata service: small answers, one connection, no proxy, no redirect, and an end that comes by itself.

Only `shipper.labels.detect` makes one, in a thread of its own, where it was told that it may; a service never does. What
such an address answers is a stranger's word as long as it does not look as the platform's documentation says: a captive
portal's page, an endless body or a body in pieces are all the same sentence in the end.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:  # a service imports this room, and has no use for an HTTP client
    from http.client import HTTPConnection, HTTPResponse

MAX_BODY = 64 * 1024
MAX_TEXT = 1024
RETRY_SECONDS = 0.1
"""Between two tries where the network is not up yet, or the service throttles: at boot that is a matter of moments."""
_LATER = (429, 500, 502, 503, 504)


class NoMetadata(Exception):
    """Why a metadata service was of no use, in a few words for a person to read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Metadata:
    """One metadata service, to be asked until ``seconds`` from now."""

    def __init__(self, endpoint: str, seconds: float) -> None:
        self.endpoint = endpoint
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._connection: HTTPConnection | None = None
        self._prefix = ""
        self._given_up = threading.Event()

    def left(self) -> float:
        """Seconds left; never negative."""
        return max(0.0, self._end - time.monotonic())

    def give_up(self) -> None:
        """From another thread: have whoever waits for an answer wait no more."""
        self._given_up.set()
        connection = self._connection
        if connection is not None and isinstance(connection.sock, socket.socket):
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is closed already
                return

    def text(self, path: str, headers: Mapping[str, str] | None = None) -> str:
        """One line of text; empty where there is no such item (404). Raises `NoMetadata`."""
        return one_line(self.get(path, headers))

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """An item (200) or its absence (404). Raises `NoMetadata` for every other answer."""
        return expected(self.ask("GET", path, headers or {}))

    def ask(self, method: str, path: str, headers: Mapping[str, str], *, within: float | None = None) -> Answer:
        """Any answer, within ``within`` seconds or the time left. Raises `NoMetadata`.

        Where nobody listens yet, or the service asks for patience (429, 5xx), the same is asked again while there is time.
        """
        end = min(self._end, time.monotonic() + within) if within is not None else self._end
        while True:
            answer, problem = self._once(method, path, headers, end)
            if answer is not None and answer.status not in _LATER:
                return answer
            problem = problem or f"answered {answer.status if answer else ''}"
            if end - time.monotonic() <= RETRY_SECONDS or self._given_up.wait(RETRY_SECONDS):
                raise NoMetadata(problem)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _once(self, method: str, path: str, headers: Mapping[str, str], end: float) -> tuple[Answer | None, str]:
        """An answer, or what went wrong and may go right at a second try. Raises `NoMetadata` for what will not."""
        from http.client import HTTPException

        left = end - time.monotonic()
        if left <= 0 or self._given_up.is_set():
            raise NoMetadata(self._no_answer(end))
        try:
            connection = self._connected(left)
            connection.request(method, self._prefix + path, headers={"Accept": "*/*", **headers})
            return _whole(connection.getresponse()), ""
        except TimeoutError:
            self.close()
            raise NoMetadata(self._no_answer(end)) from None
        except OSError as error:
            self.close()
            if self._given_up.is_set():
                raise NoMetadata(self._no_answer(end)) from None
            return None, f"cannot be reached ({error.strerror or type(error).__name__})"
        except (HTTPException, ValueError) as error:  # ValueError: what it said goes into no request
            self.close()
            raise NoMetadata(f"does not speak HTTP ({type(error).__name__})") from None

    def _connected(self, left: float) -> HTTPConnection:
        from http.client import HTTPConnection

        connection = self._connection
        if connection is None:
            host, port, self._prefix = _place(self.endpoint)
            self._connection = connection = HTTPConnection(host, port, timeout=left)
        connection.timeout = left
        if connection.sock is not None:
            connection.sock.settimeout(left)
        return connection

    def _no_answer(self, end: float) -> str:
        return f"gave no answer within {self._seconds - (self._end - end):.2g} s"


def _whole(response: HTTPResponse) -> Answer:
    """The answer with all of its body, as long as that is small. One that comes drop by drop is ended by `give_up`."""
    body = response.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise NoMetadata(f"answered more than {MAX_BODY // 1024} KiB")
    if response.length:
        raise ConnectionResetError("the answer broke off")
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _place(endpoint: str) -> tuple[str, int, str]:
    """Host, port and what goes before each path. Raises `NoMetadata`."""
    try:
        place = urlsplit(endpoint)
        if place.scheme == "http" and place.hostname:
            return place.hostname, place.port or 80, place.path.rstrip("/")
    except ValueError:  # a port that is none
        pass
    raise NoMetadata("is not the http:// address of a metadata service")


def expected(answer: Answer) -> Answer:
    """An answer that is an item or says that there is none. Raises `NoMetadata` for any other."""
    if answer.status not in (200, 404):
        raise NoMetadata(f"answered {answer.status}")
    return answer


def one_line(answer: Answer) -> str:
    """An item that is one short line of text; empty where there is none. Raises `NoMetadata` for anything else."""
    text = plain(answer)
    if len(text) > MAX_TEXT or not text.isprintable():
        raise NoMetadata("answered something else than one line of text")
    return text


def plain(answer: Answer) -> str:
    """An item that is text of any number of lines; empty where there is none. Raises `NoMetadata` for a web page."""
    if answer.status == 404:  # whatever page comes with it
        return ""
    try:
        text = answer.body.decode().strip()
    except UnicodeDecodeError:
        raise NoMetadata("answered something else than text") from None
    if "html" in answer.headers.get("content-type", "").lower() or text.startswith("<"):
        raise NoMetadata("answered a web page")
    return text


def json_object(answer: Answer) -> dict[str, Any]:
    """An item that is a JSON object; empty where there is none. Raises `NoMetadata` for anything else."""
    text = plain(answer)
    if not text:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise NoMetadata("answered something else than JSON") from None
    if not isinstance(content, dict):
        raise NoMetadata("answered something else than a JSON object")
    return content


def text_of(content: Mapping[str, Any], *path: str) -> str:
    """The text (or whole number) at a path of nested objects; empty where there is none, or something else."""
    here: Any = content
    for name in path:
        here = here.get(name) if isinstance(here, dict) else None
    if isinstance(here, int) and not isinstance(here, bool):
        return str(here)
    return here.strip()[:MAX_TEXT] if isinstance(here, str) and here.isprintable() else ""
