"""Posts 1 MiB bodies over four connections as fast as possible; prints MB/s: ``python -m bench.blast PORT SECONDS``."""

import asyncio
import sys
import time

BODY = b"\x00" * (1 << 20)
REQUEST = b"POST /v1/logs HTTP/1.1\r\nHost: sink\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


async def connection(port: int, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    while time.monotonic() < end:
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        sent += len(BODY)
    writer.close()
    return sent


async def main() -> None:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    end = time.monotonic() + seconds
    sent = await asyncio.gather(*(connection(port, end) for _ in range(4)))
    print(sum(sent) / seconds / 1e6)


if __name__ == "__main__":
    asyncio.run(main())
