"""Addresses and URLs as they stand in settings: what they say, who can reach them, and what is wrong with them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

_PORTS = range(65_536)
UNIX = "unix:"
_LONGEST_SOCKET = 107  # bytes of a path that the kernel takes (unix(7), less the final zero)


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``; raises ValueError with a sentence for a person."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"'{text}': write an IPv6 address in brackets, such as [::1]:4318")
    if not colon or not host or not port.isdecimal() or int(port) not in _PORTS:
        raise ValueError(f"expected host:port such as 127.0.0.1:4318, got '{text}'")
    return host, int(port)


def unix_path(text: str) -> str:
    """The path in ``unix:/path``; empty for an address that is none. Raises ValueError with a sentence for a person."""
    if not text.startswith(UNIX):
        return ""
    path = text.removeprefix(UNIX)
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"expected an absolute path such as unix:/run/shipper/otlp.sock, got '{text}'")
    if len(path.encode()) > _LONGEST_SOCKET:
        raise ValueError(f"'{path}' is longer than a socket's path may be ({_LONGEST_SOCKET} bytes)")
    return path


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``; any other name than ``localhost`` counts as reachable."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_problem(url: str, example: str) -> str:
    """What is wrong with a URL; empty: nothing."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        return f"is no URL: {problem}"
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        return f"expected a URL such as {example}, got '{url}'"
    if parts.username or parts.password:
        return "a URL must not hold a user or a password: it is shown and shipped"
    return ""
