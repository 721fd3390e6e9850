"""Everything that can be wrong around a sidecar: a clear word, no traceback, and nothing lost that was accepted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.testing.sink import Answer, Sink, accept, cut_off, hang_up, html, not_http, redirect, refuse
from tests.e2e.kit import data_lines, free_port, gateway, sidecar, statements, until

REFUSE_THEN_FINE = {
    "302": redirect("http://127.0.0.1:1/"),
    "400 once for the content": refuse(400, "bad record"),
    "413": refuse(413),
    "429 with Retry-After 1": refuse(429, retry_after="1"),
    "500": refuse(500),
    "503": refuse(503),
    "401": refuse(401),
    "404": refuse(404),
    "closes mid-body": cut_off(),
    "closes at once": hang_up(),
    "not HTTP at all": not_http(),
    "200 with HTML": html(),
}


@pytest.mark.parametrize("answer", REFUSE_THEN_FINE.values(), ids=REFUSE_THEN_FINE)
def test_whatever_a_destination_answers_first_every_line_arrives_in_the_end(tmp_path: Path, answer: Answer) -> None:
    """After a bad answer of any kind the lines arrive, are not lost, and no traceback is printed."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(f"line {number}\n" for number in range(50)))
        async with Sink() as sink:
            sink.script(answer)
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: len(set(data_lines(sink))) == 50, f"all lines arrive\n{process.said()}")
                assert await process.terminate() == 0, process.said()
                assert "Traceback" not in process.said()

    asyncio.run(story())


def test_a_retry_after_of_an_hour_does_not_hold_up_a_drain(tmp_path: Path) -> None:
    """In a drain Retry-After counts only up to the deadline: the farewell is tried, the exit comes in time."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("line\n")
        async with Sink() as sink:
            sink.answer = refuse(429, retry_after="3600")
            async with sidecar(tmp_path / "host", sink.url, log, SHIPPER_DRAIN_DEADLINE="3s") as process:
                await until(lambda: sink.received, "the destination is asked")
                assert await process.terminate() == 3, process.said()
                assert "Traceback" not in process.said()

    asyncio.run(story())


def test_a_record_that_is_always_refused_is_set_aside_and_the_others_arrive(tmp_path: Path) -> None:
    """A poison line is isolated by halving and quarantined with its reason; its neighbours are acknowledged."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(f"line {number}\n" for number in range(20)) + "POISON\n" + "after\n")
        async with Sink() as sink:
            sink.judge = lambda request: refuse(400, "no poison") if b"POISON" in request.body else accept()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: len(data_lines(sink)) == 21, "the others arrive")
                assert await process.terminate() == 0, process.said()
            (stream,) = statements(sink)[-1]["streams"]
            (figures,) = stream["destinations"].values()
            assert (figures["read"], figures["acknowledged"], figures["quarantined"]) == (22, 21, 1)

    asyncio.run(story())
    listed = subprocess.run(
        [sys.executable, "-m", "shipper", "quarantine", "ls", f"--state-dir={tmp_path / 'host/state'}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no poison" in listed.stdout


def test_a_second_sidecar_on_the_same_state_is_refused_by_name(tmp_path: Path) -> None:
    """Two sidecars on one state directory: the second exits at once and names the pid of the first."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.touch()
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log) as first:
            await first.up()
            second = sidecar(tmp_path / "second", sink.url, log, SHIPPER_STATE_DIR=str(tmp_path / "host/state"))
            async with second:
                assert await second.ended() == 1
                assert str(first.pid) in second.said()
                assert "Traceback" not in second.said()
            assert first.alive()

    asyncio.run(story())


def test_without_a_writable_state_directory_it_names_the_mount_to_add(tmp_path: Path) -> None:
    """On a read-only root the sidecar exits and says which directory must be mounted writable."""

    async def story() -> None:
        async with sidecar(
            tmp_path / "host", "http://127.0.0.1:9", "/nowhere/*.log", SHIPPER_STATE_DIR="/proc/shipper"
        ) as process:
            assert await process.ended() == 1
            assert "/proc/shipper" in process.said()
            assert "mount" in process.said()
            assert "Traceback" not in process.said()

    asyncio.run(story())


def test_state_of_another_host_is_set_aside(tmp_path: Path) -> None:
    """State baked into an image or copied from elsewhere is not taken up: files are read from the beginning, and it is said."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("line\n")
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, SHIPPER_HOST="builder") as process:
                await until(lambda: data_lines(sink) == ["line"], "the line arrives")
                assert await process.terminate() == 0
            async with sidecar(tmp_path / "host", sink.url, log, SHIPPER_HOST="born-from-it") as process:
                await until(lambda: data_lines(sink) == ["line", "line"], "the file is read from its beginning")
                assert await process.terminate() == 0
            births = [statement for statement in statements(sink) if "notes" in statement]
            assert births[0]["life"] != births[1]["life"]
            assert any("set" in note and "aside" in note for note in births[1]["notes"])

    asyncio.run(story())


def test_an_endpoint_that_is_ourselves_is_refused(tmp_path: Path) -> None:
    """A gateway that forwards to its own listener would feed itself for ever; it says so and does not start."""

    async def story() -> None:
        port = free_port()
        async with gateway(tmp_path / "gateway", port, flags=[f"--to=http://127.0.0.1:{port}"]) as process:
            assert await process.ended() == 1
            assert "own listener" in process.said()
            assert "Traceback" not in process.said()

    asyncio.run(story())


@pytest.mark.parametrize("content", [None, "", "\nsecond line\n"], ids=["missing", "empty", "first line empty"])
def test_a_gateway_without_the_token_it_was_told_of_does_not_start(tmp_path: Path, content: str | None) -> None:
    """A token file that cannot be read or has no token would leave the door open: the gateway names it and does not start."""

    async def story() -> None:
        token = tmp_path / "token"
        if content is not None:
            token.write_text(content)
        async with gateway(tmp_path / "gateway", free_port(), SHIPPER_GATEWAY_TOKEN_FILE=str(token)) as process:
            assert await process.ended() == 1
            assert f"gateway.token_file: {'cannot read ' if content is None else ''}{token}" in process.said()
            assert "Traceback" not in process.said()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drian: {deadline: 5s}", "drain"),
        ("drain: {deadline: soon}", "drain.deadline"),
        ("account: {interval: [1, 2]}", "account.interval"),
        (None, "shipper.yaml"),
    ],
    ids=["wrong key", "wrong value", "wrong type", "unreachable path"],
)
def test_a_wrong_configuration_is_one_sentence(tmp_path: Path, text: str | None, said: str) -> None:
    """A wrong key, value or type, or a file that is not there: `shipper run` names it and touches nothing."""

    async def story() -> None:
        file = tmp_path / "shipper.yaml"
        if text is not None:
            file.write_text(text)
        async with sidecar(
            tmp_path / "host", "http://127.0.0.1:9", "/nowhere/*.log", flags=[f"--config={file}"]
        ) as process:
            assert await process.ended() == 1
            assert said in process.said()
            assert "Traceback" not in process.said()
        assert not (tmp_path / "host/state").exists()

    asyncio.run(story())
