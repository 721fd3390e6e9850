"""The syslog receiver as stock clients see it: logger(1), Python's handler, rsyslog."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import shutil
import socket
import subprocess
from datetime import UTC
from pathlib import Path

import pytest

from tests.sources.spooled_kit import HOST, syslog

LOGGER = shutil.which("logger")
needs_logger = pytest.mark.skipif(LOGGER is None, reason="logger(1) is not installed (bsdutils)")


async def run_logger(*arguments: str, text: str = "") -> None:
    """``logger`` with these arguments and lines on its standard input."""
    assert LOGGER is not None
    command = [LOGGER, *arguments]
    await asyncio.to_thread(subprocess.run, command, input=text.encode(), check=True, timeout=20)


@needs_logger
def test_logger_by_udp_in_the_new_form(tmp_path: Path) -> None:
    """What logger(1) sends as RFC 5424 has its header in attributes and its text as body."""

    async def story() -> None:
        async with syslog(tmp_path) as server:
            await run_logger(
                *("--rfc5424", "--server", "127.0.0.1", "--port", str(server.udp[1]), "--udp"),
                *("--id=4711", "--tag", "backup", "--msgid", "DONE", "-p", "local3.warning"),
                *("--sd-id", "job@32473", "--sd-param", r'name="night\]ly"', "--sd-param", 'size="12"'),
                "all [is] well — really",
            )
            (record,) = await server.holds(1)
            assert record.body == "all [is] well — really"
            assert (record.severity, record.severity_text) == (13, "warning")
            assert record.attributes["syslog.facility"] == "local3"
            assert record.attributes["syslog.appname"] == "backup"
            assert record.attributes["syslog.procid"] == "4711"
            assert record.attributes["syslog.msgid"] == "DONE"
            assert record.attributes["syslog.hostname"] == socket.gethostname()
            assert record.attributes["syslog.structured_data.job@32473.name"] == "night]ly"
            assert record.attributes["syslog.structured_data.job@32473.size"] == "12"
            assert record.resource == HOST
            assert abs(record.time - record.observed) < 60 * 10**9

    asyncio.run(story())
