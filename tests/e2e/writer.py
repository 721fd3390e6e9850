"""A service beside a sidecar that has a last word when it is told to end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

WRITER = """
import sys, time
file = open(sys.argv[1], "a", buffering=1)
file.write("first\\n")
for line in sys.stdin:
    file.write(line)
file.write("last\\n")
"""


def service(path: Path) -> subprocess.Popen[bytes]:
    """A service that repeats what it is told, and has a last word once its standard input is closed."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE)


async def end(process: subprocess.Popen[bytes]) -> None:
    """Let it say its last word, and wait until it is gone."""
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.to_thread(process.wait, 20) == 0
