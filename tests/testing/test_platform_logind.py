"""The kit's logind does what an operator would, keeps its state to itself, and takes a new configuration live."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from shipper.testing.platforms.logind import PrivateLogind, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def test_it_shuts_nothing_down_and_leaves_nothing_on_the_host() -> None:
    """A planned power-off becomes a wish to a stub; the host's own /run is not touched."""

    async def scenario() -> None:
        nologin = os.path.exists("/run/nologin")
        with tempfile.TemporaryDirectory(prefix="logind") as directory:
            async with PrivateLogind(Path(directory)) as logind:
                await logind.schedule(0.2, "poweroff")
                assert (logind.root / "run/systemd/shutdown/scheduled").exists()
                assert await logind.job_started(20) == "poweroff.target"
                assert await logind.job_started(0.05) == ""
        assert os.path.exists("/run/nologin") == nologin

    asyncio.run(scenario())


def test_its_longest_delay_can_be_changed_while_it_runs() -> None:
    """As a drop-in and SIGHUP do on a host."""

    async def scenario() -> None:
        with tempfile.TemporaryDirectory(prefix="logind") as directory:
            async with PrivateLogind(Path(directory), longest_delay=5) as logind:
                assert await logind.longest_delay() == 5
                logind.write_config(90)
                logind.reload()
                async with asyncio.timeout(20):
                    while await logind.longest_delay() != 90:  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.02)
                with pytest.raises(RuntimeError, match="NoSuch"):
                    await logind.call("NoSuch")

    asyncio.run(scenario())
