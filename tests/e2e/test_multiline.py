"""Stack traces through a real sidecar with a configuration file, killed and drained in the middle of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.testing.sink import Sink, accept, refuse
from tests.e2e.kit import audit, data_lines, free_port, gateway, host, listening, shipper, sidecar, statements, until

TRACE = "2026-11-23 12:00:00 ERROR failed\njava.lang.IllegalStateException: no stock\n\tat com.example.Order.place(Order.java:12)"
CONFIG = """\
files:
  - include: [{log}]
    multiline:
      start: '^\\d{{4}}-\\d\\d-\\d\\d '
      timeout: {timeout}
"""


def test_a_stack_trace_arrives_as_one_record_whatever_happens_to_the_sidecar(tmp_path: Path) -> None:
    """A trace is one record; killed between two of its lines, it still is; at SIGTERM the last one is sent and counted."""

    async def story() -> None:
        log, config = tmp_path / "app.log", tmp_path / "shipper.yaml"
        config.write_text(CONFIG.format(log=log, timeout="60s"))
        first, rest = TRACE.split("\n", 1)
        log.write_text(f"{TRACE}\n{first}\n")
        flags = [f"--config={config}"]
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, flags=flags) as process:
                await until(lambda: data_lines(sink) == [TRACE], "the trace arrives, the one behind it is held")
                await process.kill()
            with open(log, "a") as out:
                out.write(f"{rest}\n{first}\n")
            async with sidecar(tmp_path / "host", sink.url, flags=flags) as process:
                await until(lambda: data_lines(sink) == [TRACE, TRACE], "both halves arrive as one")
                assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == [TRACE, TRACE, first]
            farewell = statements(sink)[-1]
            (stream,) = farewell["streams"]
            (figures,) = stream["destinations"].values()
            assert (figures["read"], figures["acknowledged"], figures["unread"]) == (3, 3, 0)
            assert farewell["outcome"] == "drained"

    asyncio.run(story())


def test_the_last_event_is_sent_after_its_timeout(tmp_path: Path) -> None:
    """Without a next event the last one goes after the time-out, and nothing is left unread."""

    async def story() -> None:
        log, config = tmp_path / "app.log", tmp_path / "shipper.yaml"
        config.write_text(CONFIG.format(log=log, timeout="100ms"))
        log.write_text(f"{TRACE}\n")
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, flags=[f"--config={config}"]) as process:
            await until(lambda: data_lines(sink) == [TRACE], "the trace arrives")
            assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == [TRACE]

    asyncio.run(story())


def test_a_rule_that_is_new_holds_for_what_was_cut_without_it(tmp_path: Path) -> None:
    """A range that was cut and never answered arrives as events when a rule was configured since, and the account agrees."""

    async def story() -> None:
        log, config, port = tmp_path / "app.log", tmp_path / "shipper.yaml", free_port()
        url = f"http://127.0.0.1:{port}"
        log.write_text(f"{TRACE}\n{TRACE}\n")
        async with Sink() as busy:
            busy.judge = lambda request: refuse(503) if b"no stock" in request.body else accept()
            async with sidecar(tmp_path / "host", busy.url, log) as process:
                await until(lambda: "503" in process.said(), "the lines are cut and not taken")
                await process.kill()
        config.write_text(CONFIG.format(log=log, timeout="100ms"))
        async with gateway(tmp_path / "gateway", port) as there:
            await listening(port)
            async with sidecar(tmp_path / "host", url, flags=[f"--config={config}"]) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
                assert "quarantine" not in process.said()
            assert await there.terminate() == 0, there.said()
        archive = tmp_path / "gateway/archive"
        life = host(audit(archive), "host")
        assert (life["counts"]["read"], life["counts"]["archived"]) == (2, 2)
        assert (life["counts"]["missing"], life["counts"]["duplicates"]) == (0, 0)
        assert shipper("cat", str(archive)).stdout.count("no stock") == 2

    asyncio.run(story())


def test_a_pattern_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    """`shipper run` refuses a pattern that is no regular expression, and names it."""

    async def story() -> None:
        config = tmp_path / "shipper.yaml"
        config.write_text("files:\n  - include: [/nowhere/*.log]\n    multiline: {start: '('}\n")
        async with sidecar(tmp_path / "host", "http://127.0.0.1:9", flags=[f"--config={config}"]) as process:
            assert await process.ended() == 1
            assert "files[0].multiline.start: is no regular expression" in process.said()
            assert "Traceback" not in process.said()

    asyncio.run(story())
