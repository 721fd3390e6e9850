"""A gateway's receiver as a process of its own, to be killed: ``python -m tests.sources.receiver_victim DIRECTORY``."""

import asyncio
import sys
from pathlib import Path

from tests.sources.receiver_kit import gateway


async def main() -> None:
    async with gateway(Path(sys.argv[1])) as gw:
        print(gw.url, flush=True)
        await gw.receiver.run()


if __name__ == "__main__":
    asyncio.run(main())
