"""A connection to where a URL leads: by its addresses, IPv6 and IPv4 raced (RFC 8305), through a proxy, with TLS.

For protocols that aiohttp does not speak; for those that it does, it does the same by itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

import aiohappyeyeballs
from yarl import URL

from shipper.errors import DeliveryError, Retryable, Unusable
from shipper_exporters._http.exchange import connect_socket
from shipper_exporters._way.addresses import is_address, literal
from shipper_exporters._way.failures import broken_handshake, proxy_refusal
from shipper_exporters._way.network import Network
from shipper_exporters._way.proxy import Proxy
from shipper_exporters._way.words import excerpt, plain

P = TypeVar("P", bound=asyncio.Protocol)

STAGGER = 0.25  # seconds before the next address of a name is tried beside the one before (RFC 8305, 8)
_MAX_HEAD = 16 << 10


async def dial(network: Network, url: URL, where: str, protocol: Callable[[], P]) -> P:
    """Connect ``protocol``. Raises `DeliveryError` where it can say what is wrong, and OSError (`ssl.SSLError` too) else."""
    host, port = url.host or "", url.port or 0
    proxy = network.proxy(url)
    if proxy is None:
        sock = await _connected(network, host, port, where, check=True)
    else:
        sock = await _through(network, proxy, host, port, where)
    loop = asyncio.get_running_loop()
    try:
        if url.scheme == "https":
            name = network.server_name or host
            context = network.tls.context()
            try:
                _, made = await loop.create_connection(protocol, sock=sock, ssl=context, server_hostname=name)
            except ConnectionError as error:
                raise broken_handshake(error, where) from None
        else:
            _, made = await loop.create_connection(protocol, sock=sock)
    except BaseException:
        sock.close()
        raise
    return made


async def _connected(network: Network, host: str, port: int, where: str, *, check: bool) -> socket.socket:
    try:
        found = await _addresses(network, host, port)
    except OSError as error:
        raise Retryable(f"{where}: the name {host} cannot be resolved: {plain(error)}", unsent=True) from None
    if check:
        network.addresses.check(host, [literal(entry[4]) for entry in found], port)
    try:
        sock = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=STAGGER, interleave=1, socket_factory=connect_socket
        )
    except OSError as error:
        network.names.doubt()
        raise Retryable(f"{where}: cannot connect to {host} port {port}: {plain(error)}", unsent=True) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _addresses(network: Network, host: str, port: int) -> list[aiohappyeyeballs.AddrInfoType]:
    if is_address(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
    return [(entry[0], entry[1], entry[2], entry[3], entry[4]) for entry in await network.names.resolve(host, port)]


async def _through(network: Network, proxy: Proxy, host: str, port: int, where: str) -> socket.socket:
    """A socket that leads to ``host`` through a proxy (CONNECT, RFC 9110 section 9.3.6)."""
    shown = str(proxy.url)
    if proxy.url.scheme != "http":
        raise Unusable(f"{where}: gRPC goes only by proxies that are spoken to without TLS, not by {shown}")
    authorization = proxy.authorization()
    sock = await _connected(network, proxy.url.host or "", proxy.url.port or 0, f"{where}, by {shown}", check=False)
    to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n"
    if authorization:
        head += f"Proxy-Authorization: {authorization}\r\n"
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(sock, f"{head}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):  # byte by byte: what comes behind is not for us
            byte = await loop.sock_recv(sock, 1)
            answer += byte
            if not byte or len(answer) > _MAX_HEAD:
                raise Retryable(f"{where}: its proxy {shown} closed the connection without an answer", unsent=True)
        refusal = _refusal(answer, where, shown)
        if refusal is not None:
            raise refusal
    except BaseException:
        sock.close()
        raise
    return sock


def _refusal(answer: bytes, where: str, shown: str) -> DeliveryError | None:
    """None: the way is free."""
    version, _, rest = answer.partition(b"\r\n")[0].partition(b" ")
    status, _, said = rest.partition(b" ")
    if not version.startswith(b"HTTP/") or not status.isdigit() or len(status) != 3:
        return proxy_refusal(400, f"with something that is not HTTP: {excerpt(answer, 80)}", where, shown)
    number = int(status)
    return None if 200 <= number < 300 else proxy_refusal(number, excerpt(said), where, shown)
