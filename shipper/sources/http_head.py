"""The head of an HTTP/1.1 request as nearly every sender of OTLP writes it, and the head of an answer (RFC 9112).

A whole HTTP server takes as long over a request as everything else that is done with it. So what is plain is read here:
a POST of a body whose length is stated, each header once, of visible characters. Whatever else HTTP allows, and what it
forbids, is `None` here, and left to such a server to judge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

LONGEST = 16 << 10
"""Bytes of a head that is read here."""

_HEAD = re.compile(r"POST (/[!-~]*) HTTP/1\.1\r\n((?:[!#-'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)")
_HEADER = re.compile(r"([^:]+):[\t ]*([\t -~]*)\r\n")
_LENGTH = re.compile(r"[0-9]{1,15}")
_NOT_PLAIN = frozenset({"transfer-encoding", "expect", "upgrade", "trailer", "te"})


@dataclass(frozen=True, slots=True)
class Head:
    """A POST. ``length``: bytes of the body. ``headers``: by their names in lower case."""

    path: str
    length: int
    headers: Mapping[str, str]


def read_head(data: bytes) -> Head | None:
    """The request whose head is ``data``, without the empty line behind it; None when it is not plain."""
    match = _HEAD.fullmatch(data.decode("latin-1"))
    if match is None:
        return None
    path, lines = match.groups()
    found = _HEADER.findall(lines)
    headers = {name.lower(): value.rstrip("\t ") for name, value in found}
    length = headers.get("content-length", "")
    if (
        len(headers) < len(found)
        or not _NOT_PLAIN.isdisjoint(headers)
        or "host" not in headers
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
        or not _LENGTH.fullmatch(length)
    ):
        return None
    return Head(path, int(length), headers)


def answer_head(status: int, headers: Mapping[str, str], length: int) -> bytes:
    """The head of an answer with a body of ``length`` bytes, the empty line included."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, f"Content-Length: {length}", "", "")).encode("latin-1")
