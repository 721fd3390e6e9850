"""Datagram sockets: made, read, and what the kernel tells beside the bytes (who wrote, how many it had to drop)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from shipper.errors import ConfigError
from shipper.sources.listen import is_loopback

SOCKET_MODE = 0o666  # every process of the machine may log
_RXQ_OVFL = 40  # SO_RXQ_OVFL of socket(7), which Python has no name for
_RECEIVE_BUFFER = 8 << 20  # asked for; without privileges the kernel gives net.core.rmem_max
_CREDENTIALS = struct.Struct("3i")
_DROPPED = struct.Struct("I")
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_DROPPED.size)
_LARGEST = 1 << 20  # bytes of a datagram; a unix socket takes what the sender's buffer holds


class Datagram(NamedTuple):
    """``peer``: another machine's address, or empty. ``pid``: 0 where it is not known. ``dropped``: by the kernel, so far."""

    data: bytes
    peer: str
    pid: int
    truncated: bool
    dropped: int


def udp(host: str, port: int, path: str) -> socket.socket:
    """A UDP socket. Raises `ConfigError`, which names ``path``, when the address cannot be had."""
    name = host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            sock.bind(address)
            stack.pop_all()
    except OSError as error:
        raise ConfigError(path, f"cannot listen on {host}:{port}/udp: {error}") from error
    return _ready(sock)


def unix(name: str, path: str) -> socket.socket:
    """A unix socket for datagrams in the file system, in the place of one that nobody reads any more.

    Raises `ConfigError`, which names ``path``, when somebody reads from it or it cannot be made.
    """
    _make_way(name, path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind(name)
        os.chmod(name, SOCKET_MODE)
    except OSError as error:
        sock.close()
        raise ConfigError(path, f"cannot listen on {name}: {error}") from error
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return _ready(sock)


def read(sock: socket.socket, most: int, buffer: bytearray) -> Iterator[Datagram]:
    """Up to ``most`` datagrams that are there."""
    view = memoryview(buffer)
    for _ in range(most):
        try:
            size, ancillary, flags, address = sock.recvmsg_into([view], _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # an ICMP error for something that was sent; there is nothing to read
            continue
        pid = dropped = 0
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
                pid = max(0, _CREDENTIALS.unpack_from(data)[0])
            elif level == socket.SOL_SOCKET and kind == _RXQ_OVFL and len(data) >= _DROPPED.size:
                dropped = _DROPPED.unpack_from(data)[0]
        peer = str(address[0]) if isinstance(address, tuple) and not is_loopback(address[0]) else ""
        yield Datagram(bytes(view[:size]), peer, pid, bool(flags & socket.MSG_TRUNC), dropped)


def buffer() -> bytearray:
    """What `read` reads into."""
    return bytearray(_LARGEST)


def _ready(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, getattr(socket, "SO_RCVBUFFORCE", 33)):
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _RXQ_OVFL, 1)
    return sock


def _make_way(name: str, path: str) -> None:
    try:
        mode = os.lstat(name).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(path, f"cannot listen on {name}: {error}") from error
    if stat.S_ISLNK(mode):
        raise ConfigError(path, f"{name} is a link to {os.readlink(name)}, so something else (journald) reads it")
    if not stat.S_ISSOCK(mode):
        raise ConfigError(path, f"{name} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        if probe.connect_ex(name) != errno.ECONNREFUSED:
            raise ConfigError(path, f"another process reads from {name}")
    try:
        os.unlink(name)
    except OSError as error:
        raise ConfigError(path, f"cannot remove the old socket {name}: {error}") from error
