"""A TLS server that ends every handshake which fails as OpenSSL, Go and Java do: with an alert that says why.

asyncio's own closes the connection and leaves the alert unsent (Python 3.11 to 3.13), which no other server does.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

_SIZE = 1 << 16


async def listen(tls: ssl.SSLContext, port: int = 0) -> asyncio.Server:
    """Serve handshakes on loopback, and nothing behind them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = tls.wrap_bio(came, goes, server_side=True)
        with suppress(ConnectionError):
            try:
                while True:
                    try:
                        session.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        writer.write(goes.read())
                        data = await reader.read(_SIZE)
                        if not data:
                            raise ConnectionResetError from None
                        came.write(data)
            except ssl.SSLError:
                pass
            writer.write(goes.read())
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            await reader.read()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port)
