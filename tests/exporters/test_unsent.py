"""A failed request is called unsent only where the other side certainly did not get all of it."""

from __future__ import annotations

import asyncio
import os
import socket

import aiohttp
import pytest

from shipper_exporters._http.exchange import Upload, connect_socket

LARGE = 4 << 20  # more than lies in the buffers between two sockets


@pytest.mark.parametrize(("reads", "whole"), [(None, False), (1000, False), (LARGE, True)])
def test_a_body_is_whole_only_when_its_end_was_written(reads: int | None, whole: bool) -> None:
    """Nobody there, gone at the beginning of the body, and gone after its end are told apart."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert reads is not None
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(reads)
        writer.transport.abort()

    async def main() -> None:
        upload = Upload(os.urandom(LARGE), "application/octet-stream", lambda: None)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        if reads is None:
            listener.close()
            server = None
        else:
            server = await asyncio.start_server(serve, sock=listener, limit=2 * LARGE)
        connector = aiohttp.TCPConnector(socket_factory=connect_socket)
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises((aiohttp.ClientError, OSError)):
                await session.post(f"http://127.0.0.1:{port}/", data=upload)
        assert upload.whole is whole
        if server is not None:
            server.close()

    asyncio.run(main())
