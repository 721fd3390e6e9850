"""Which proxy a destination is reached by: as the usual variables of the environment have it, or as the settings say.

``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` have no specification. Taken is what curl and Go agree on, and where they do not
the reading that sends less to a proxy: a domain in ``NO_PROXY`` stands for itself and all below it, with a dot before it or
without; lower case wins over capitals; this host itself is never asked for from a proxy that the environment names.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from yarl import URL

from shipper.errors import ConfigError, Unusable
from shipper_exporters._way.files import SecretFile

_SEPARATORS = re.compile(r"[,\s]+")
_PORT = re.compile(r"(?P<host>.*[^:]|\[.*\]):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy; ``url`` has neither name nor password in it."""

    url: URL
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: SecretFile | None = field(default=None, repr=False)

    def authorization(self) -> str:
        """The value of ``Proxy-Authorization``; empty when it wants none. Raises `Unusable` when the file cannot be read."""
        if not self.user and not self.password and self.password_file is None:
            return ""
        password = self.password if self.password_file is None else self.password_file.read()
        return "Basic " + base64.b64encode(f"{self.user}:{password}".encode()).decode()


class Proxies:
    """Decides by URL. ``option``: a URL, ``none``, or nothing for the environment.

    Raises `ConfigError` for an option that is no proxy. What the environment has is looked at when it is needed: it is everybody's,
    and what somebody else put there must not keep a sidecar from its start.
    """

    def __init__(self, path: str, option: str, password_file: str, environment: Mapping[str, str]) -> None:
        self._given: Proxy | None = None
        self._by_scheme: dict[str, tuple[str, str]] = {}  # the variable and what it says
        self._except = _Except("")
        if option == "none":
            return
        if option:
            self._given = _proxy(
                f"{path}.proxy", option, SecretFile(password_file, "password") if password_file else None
            )
            return
        if password_file:
            raise ConfigError(f"{path}.proxy_password_file", "is given without proxy: whose password is it?")
        for scheme in ("http", "https"):
            for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
                if environment.get(name, "").strip():
                    self._by_scheme[scheme] = name, environment[name].strip()
                    break
        self._except = _Except(environment.get("no_proxy") or environment.get("NO_PROXY") or "")

    def of(self, url: URL) -> Proxy | None:
        """The proxy for a URL; None: it is reached directly. Raises `Unusable` when the environment has no proxy but nonsense."""
        if self._given is not None:
            return self._given
        found = self._by_scheme.get(url.scheme)
        if found is None or self._except.holds(url.host or "", url.port or 0):
            return None
        try:
            return _proxy(*found, None, secret=True)
        except ConfigError as error:
            raise Unusable(f"{url.origin()}: {error}") from None


class _Except:
    """What ``NO_PROXY`` says."""

    def __init__(self, text: str) -> None:
        entries = [entry.lower() for entry in _SEPARATORS.split(text) if entry]
        self._all = "*" in entries
        self._networks: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, int]] = []
        self._domains: list[tuple[str, int]] = []
        for entry in entries:
            host, port = _split(entry)
            try:
                self._networks.append((ipaddress.ip_network(host, strict=False), port))
            except ValueError:
                self._domains.append((host.removeprefix("*").strip("."), port))

    def holds(self, host: str, port: int) -> bool:
        """Whether this host is reached without a proxy."""
        if self._all:
            return True
        host = host.lower().rstrip(".")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host == "localhost" or any(
                of in (0, port) and domain and (host == domain or host.endswith(f".{domain}"))
                for domain, of in self._domains
            )
        return address.is_loopback or any(of in (0, port) and address in network for network, of in self._networks)


def _split(entry: str) -> tuple[str, int]:
    """Host and port of an entry; port 0 when it names none. An IPv6 address has a port only when it is in brackets."""
    match = _PORT.fullmatch(entry)
    if match and (":" not in match["host"] or match["host"].startswith("[")):
        return match["host"].strip("[]"), int(match["port"])
    return entry.strip("[]"), 0


def _proxy(path: str, given: str, password_file: SecretFile | None, *, secret: bool = False) -> Proxy:
    """``secret``: a password may stand in it, as it comes from the environment. What was given is never repeated."""
    try:
        url = URL(given if "://" in given else f"http://{given}")
        usable = url.scheme in ("http", "https") and url.host and url.port
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(path, "is no URL of an HTTP proxy such as http://proxy.example:3128")
    if url.password is not None and not secret:
        raise ConfigError(path, "has a password in it; use proxy_password_file, or HTTPS_PROXY in the environment")
    if password_file is not None and not url.user:
        raise ConfigError(path, "has no user name in it, but a password file is given: http://name@proxy.example:3128")
    return Proxy(url.origin(), url.user or "", url.password or "", password_file)
