"""What asking a server over plain HTTP is made of, whoever is asked: which URLs can be, and how much of an answer is one."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shipper.errors import ConfigError, ShipperError

LARGEST = 256 << 20
"""Bytes of an answer; more is none."""
_PIECE = 1 << 20
_WORDS = 300


class NoAnswer(ShipperError):
    """There is no answer that could be used; the text says why. ``status``: of the HTTP answer, 0 when there was none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Credentials do not follow where an answer leads."""

    def redirect_request(self, *_: Any) -> None:
        """See `urllib.request.HTTPRedirectHandler`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How answers of ``url`` are read. ``slow``: the sentence where one is not there by the deadline."""

    url: str
    now: Callable[[], float]
    slow: str

    def whole(self, answer: http.client.HTTPResponse, deadline: float) -> bytes:
        """All of it: a server that sends a byte a second does not keep us for ever, and a short answer is none."""
        pieces: list[bytes] = []
        size = 0
        while piece := answer.read1(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST:
                raise NoAnswer(f"{self.url} answers with more than {LARGEST >> 20} MB")
            if self.now() > deadline:
                raise NoAnswer(self.slow)
        if answer.length:
            raise NoAnswer(f"{self.url} broke off its answer")
        return b"".join(pieces)


def short(said: bytes | str) -> str:
    """On one line, and not too long."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:_WORDS]


def base_url(url: str, option: str, *, example: str, instead: str) -> str:
    """The URL without a slash at its end. ``instead``: of a password in it. Raises `ConfigError`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url or "?" in url or "#" in url:
        raise ConfigError(option, f"{url[:200]!r} is no URL such as {example}")
    if parts.username or parts.password:
        raise ConfigError(option, f"has a password in it; use {instead}")
    return url.rstrip("/")
