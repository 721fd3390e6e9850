"""Where the addresses of a destination lead: to another host, to this one, or back to ourselves."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Container

from aiohttp.abc import AbstractResolver, ResolveResult

from shipper.errors import Unusable
from shipper_exporters._way.resolve import Names

_DISCARD_PORT = 9  # any port: nothing is sent to it


class Addresses:
    """What the addresses of a destination are to this host: foreign, local, or our own listener."""

    def __init__(self, own: Collection[tuple[str, int]]) -> None:
        self._own = [(address, port) for host, port in own if (address := _address(host))]
        self._local: dict[str, bool] = {}

    def check(self, name: str, addresses: Collection[str], port: int) -> None:
        """Remember where ``name`` leads. Raises `Unusable` when that is one of our own listeners."""
        found = [address for text in addresses if (address := _address(text))]
        self._local[name] = any(_is_local(address) for address in found)
        for address in found:
            for own, own_port in self._own:
                if port == own_port and (address == own or (own.is_unspecified and _is_local(address))):
                    raise Unusable(f"{name} port {port} is our own listener: it would be sent round in a circle")

    def beyond(self, name: str) -> None:
        """A proxy is asked for ``name``: where that leads is for the proxy to find, and not here."""
        self._local.setdefault(name, False)

    @property
    def known(self) -> bool:
        """Whether any address was seen yet."""
        return bool(self._local)

    @property
    def local(self) -> bool:
        """Whether any of the destination's addresses is on this host."""
        return any(self._local.values())


class WatchingResolver(AbstractResolver):
    """Resolves for aiohttp; every answer is checked before anything is connected, but for those ``beside`` (proxies)."""

    def __init__(self, addresses: Addresses, names: Names, beside: Container[tuple[str, int]] = ()) -> None:
        self._addresses = addresses
        self._names = names
        self._beside = beside

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`."""
        found = [entry for entry in await self._names.resolve(host, port) if family in (socket.AF_UNSPEC, entry[0])]
        results = [
            ResolveResult(
                hostname=host,
                host=literal(address),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]
        if (host, port) not in self._beside:
            self._addresses.check(host, [result["host"] for result in results], port)
        return results

    async def close(self) -> None:
        """See `AbstractResolver.close`."""


def literal(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """The address of a socket address, with the interface where it needs one to be reached (link-local IPv6)."""
    if len(address) == 4 and address[3]:
        return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return address[0]


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address and not a name."""
    return _address(host) is not None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the address is one of this host's own: then the kernel would also use it as the source (nothing is sent)."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _DISCARD_PORT))
            return _address(probe.getsockname()[0]) == address
    except OSError:  # no route there, so it is not here
        return False
