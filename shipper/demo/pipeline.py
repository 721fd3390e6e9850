"""What a deploy pipeline says of its deploys, in the demo: the very command that a real one runs."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL

from shipper.demo.host import ENVIRONMENT, SERVICE, Build, bare


async def tell(verb: str, build: Build, *, before: str, hosts: int, endpoint: str) -> None:
    """Run ``shipper deploy VERB`` for ``build``; ``before``: the release it replaces. It never fails, as in a pipeline."""
    words = ["--service", SERVICE, "--env", ENVIRONMENT, "--release", build.release, "--image", build.image]
    words += ["--generation", build.generation, "--id", build.generation, "--desired-hosts", str(hosts)]
    words += ["--endpoint", endpoint, "--actor", "the demo"]
    if before:
        words += ["--from", before]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "shipper",
        "deploy",
        verb,
        *words,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        env=bare(),
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:  # the demo was interrupted
            process.kill()
            await process.wait()
