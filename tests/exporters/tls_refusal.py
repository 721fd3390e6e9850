"""A TLS server that ends every handshake which fails as OpenSSL, Go and Java do: with an alert that says why.

asyncio's own closes the connection and leaves the alert unsent (Python 3.11 to 3.13), which no other server does.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from tests.exporters.tcp_kit import Serve

_SIZE = 1 << 16


def refusing(tls: ssl.SSLContext) -> Serve:
    """Serve handshakes, and nothing behind them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = tls.wrap_bio(came, goes, server_side=True)
        with suppress(ssl.SSLError):
            while not _done(session):
                writer.write(goes.read())
                came.write(await reader.read(_SIZE))
        writer.write(goes.read())
        await writer.drain()
        writer.write_eof()
        await reader.read()

    return serve


def _done(session: ssl.SSLObject) -> bool:
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
