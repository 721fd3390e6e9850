"""Secrets and certificates in files, which somebody renews while we run: read again when they change."""

from __future__ import annotations

import os
import ssl
from functools import cache

from shipper.errors import Unusable
from shipper_exporters._way.words import plain

HTTP_1 = "http/1.1"
HTTP_2 = "h2"


class SecretFile:
    """The first line of a file, read again when the file changes. ``what`` it is called in messages."""

    def __init__(self, path: str, what: str = "token") -> None:
        self._path = path
        self._what = what
        self._seen: tuple[int, ...] = ()
        self._value = ""

    @classmethod
    def first(cls, **given: str) -> SecretFile | None:
        """The first that is given of several paths, by what each is called in messages; None where none is."""
        return next((cls(path, what.replace("_", " ")) for what, path in given.items() if path), None)

    def read(self) -> str:
        """The secret as it is now. Raises `Unusable` when it cannot be read."""
        try:
            stamp = _stamp(self._path)
            if stamp != self._seen:
                with open(self._path, encoding="utf-8") as file:
                    self._value = file.readline().strip()
                self._seen = stamp
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"cannot read the {self._what} in {self._path}: {plain(error)}") from None
        if not self._value or not self._value.isascii() or not self._value.isprintable():
            raise Unusable(f"the first line of {self._path} is no {self._what}")
        return self._value


class TlsFiles:
    """The TLS context made of certificate files, made again when one of them changes; TLS 1.2 or newer.

    ``protocol``: the one that is agreed on within TLS (RFC 7301), ``http/1.1`` or ``h2``; empty: nothing is said of it.
    """

    def __init__(self, ca_file: str, cert_file: str, key_file: str, protocol: str = "") -> None:
        self._ca, self._cert, self._key = ca_file, cert_file, key_file
        self._protocol = protocol
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """The context as the files are now. Raises `Unusable` when one cannot be used."""
        files = [path for path in (self._ca, self._cert, self._key) if path]
        if not files:
            return _of_the_system(self._protocol)
        try:
            seen = tuple(_stamp(path) for path in files)
            if self._context is None or seen != self._seen:
                context = _new(self._ca, self._protocol)
                if self._cert:
                    context.load_cert_chain(self._cert, self._key or None, password=_no_password)
                self._context, self._seen = context, seen
        except (OSError, ValueError) as error:
            raise Unusable(f"cannot use the TLS files {', '.join(files)}: {plain(error)}") from None
        return self._context


@cache  # reading the system's authorities takes as long as sending a megabyte
def _of_the_system(protocol: str) -> ssl.SSLContext:
    return _new("", protocol)


def _new(ca_file: str, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # whatever the system's configuration of OpenSSL allows
    if protocol:
        context.set_alpn_protocols([protocol])
    return context


def _no_password() -> str:
    # without this OpenSSL would ask on the terminal
    raise ValueError("the private key is encrypted; a key without a passphrase is needed")


def _stamp(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
