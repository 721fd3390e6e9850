"""The forward receiver as stock clients see it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fluent.asyncsender import FluentSender as AsyncFluentSender
from fluent.handler import FluentHandler, FluentRecordFormatter
from fluent.sender import FluentSender

from shipper.sources.listen import ListenSettings
from tests.sources.spooled_kit import HOST, forward


def test_fluent_logger_s_records_arrive_with_their_fields(tmp_path: Path) -> None:
    """What fluent-logger emits is a record: text as body, level as severity, the rest as attributes, the host's resource."""

    async def story() -> None:
        async with forward(tmp_path) as server:
            with_time = FluentSender("shop", *server.address, nanosecond_precision=True)
            assert await asyncio.to_thread(
                with_time.emit_with_time,
                "web",
                1_700_000_000.25,
                {"message": "hello wörld", "level": "WARNING", "user": 7, "deep": {"a": [1, None, True, 2.5]}},
            )
            with_time.close()
            (record,) = await server.holds(1)
            assert record.body == "hello wörld"
            assert record.attributes == {"fluent.tag": "shop.web", "user": 7, "deep": {"a": [1, None, True, 2.5]}}
            assert (record.severity, record.severity_text) == (13, "WARNING")
            assert record.time == 1_700_000_000_250_000_000
            assert record.resource == HOST
            assert record.scope == "shipper.forward"

    asyncio.run(story())
