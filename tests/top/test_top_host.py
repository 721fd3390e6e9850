"""``shipper top`` of one host: a real sidecar, a real pty."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shipper.testing.sink import Answer, Sink, held, refuse
from tests.e2e.kit import Shipper, free_port, gateway, shipper, sidecar, until
from tests.top.inside import once
from tests.top.screen import COLOUR, ENTER, LEAVE, STYLE, Screen

FILES = 40


@asynccontextmanager
async def host(directory: Path, sink: Sink, answer: Answer | None = None) -> AsyncIterator[Shipper]:
    """A sidecar that tails forty files; ``answer``: what the sink says to everything, in place of taking it."""
    sink.answer = answer or sink.answer
    logs = directory / "logs"
    logs.mkdir()
    for number in range(FILES):
        (logs / f"app-{number:02d}.log").write_text(f"line {number}\n" * (number + 1))
    async with sidecar(directory, sink.url, logs / "*.log") as running:
        await running.up()
        yield running


def state(directory: Path) -> str:
    return f"--state-dir={directory / 'state'}"


def test_once_prints_one_reading_as_plain_text(tmp_path: Path) -> None:
    """Into a pipe go the sidecar, its labels and its destinations, whole and without a control sequence."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink) as running:
            await until(lambda: len(sink.kept()) > 0, "something arrived")
            for arguments in (["--once"], []):  # without a terminal it is the same
                answer = await asyncio.to_thread(shipper, "top", *arguments, state(tmp_path))
                assert answer.returncode == 0, answer.stderr
                assert "\x1b" not in answer.stdout
                assert f"sidecar running on {tmp_path.name}, life " in answer.stdout
                assert "service checkout" in answer.stdout
                (line,) = (line for line in answer.stdout.splitlines() if line.startswith("primary "))
                assert " ok" in line
            await running.terminate()

    asyncio.run(scenario())


@pytest.mark.parametrize("arguments", [["--once"], []], ids=["--once", "TERM=dumb"])
def test_once_on_a_terminal_is_as_wide_as_it_and_stays_there(tmp_path: Path, arguments: list[str]) -> None:
    """The other screen is not used; a terminal that cannot be drawn on gets the same."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink):
            with Screen(*arguments, state(tmp_path), env={} if arguments else {"TERM": "dumb"}) as screen:
                assert screen.ended() == 0
                assert ENTER not in screen.output
                lines = STYLE.sub("", screen.output).splitlines()
                assert lines[0].startswith("sidecar running on ")
                assert max(map(len, lines)) <= 80

    asyncio.run(scenario())


def test_on_80x24_everything_fits_and_a_destination_that_refuses_is_seen(tmp_path: Path) -> None:
    """Of forty streams that wait the largest are shown and the rest counted; another size is filled, too; q quits."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink, refuse(503)):
            with Screen(state(tmp_path)) as screen:
                await screen.shows("FAILING", "40 of them with something not acknowledged", "app-39.log", " more")
                assert screen.fits()
                rows = sum(".log" in line for line in screen.frame())
                assert f"... and {FILES - rows} more" in screen.text()
                for columns, lines in ((60, 12), (132, 50), (20, 4)):
                    screen.resize(columns, lines)
                    drawn = screen.output
                    await screen.until(
                        lambda before=drawn: screen.frame() and len(screen.output) > len(before) and screen.fits(),
                        f"it fits {columns}x{lines}",
                    )
                screen.press(b"q")
                assert screen.ended() == 0
                assert screen.as_it_was()

    asyncio.run(scenario())


def test_when_the_sidecar_is_gone_the_last_view_stays_and_says_how_old_it_is(tmp_path: Path) -> None:
    """No traceback and no empty screen: the view, its age, the reason; and when the sidecar is back, it is up to date."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink) as running:
            with Screen(state(tmp_path)) as screen:
                await screen.shows("sidecar running", "primary")
                await running.kill()
                text = await screen.shows("NOT UP TO DATE", "old: the sidecar on")
                assert "sidecar running" in text
                assert "primary" in text
                assert screen.fits()
                await running.start()
                await running.up()
                await screen.until(lambda: "NOT UP TO DATE" not in screen.text(), "it is up to date again")
                assert "run 2" in screen.text()
                screen.press(b"q")
                assert screen.ended() == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("end", [b"\x03", signal.SIGTERM], ids=["ctrl-c", "SIGTERM"])
def test_ctrl_c_and_a_signal_leave_the_terminal_as_it_was(tmp_path: Path, end: bytes | signal.Signals) -> None:
    """Echo, cursor and what was on the screen come back; nothing is said."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink):
            with Screen(state(tmp_path)) as screen:
                await screen.shows("sidecar running")
                if isinstance(end, bytes):
                    screen.press(end)
                else:
                    screen.signal(end)
                assert screen.ended() == 0
                assert screen.as_it_was()
                assert screen.said() == ""

    asyncio.run(scenario())


def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_brings_the_view_back(tmp_path: Path) -> None:
    """While it is stopped the terminal is as it was; after SIGCONT it draws again."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink):
            with Screen(state(tmp_path)) as screen:
                await screen.shows("sidecar running")
                screen.press(b"\x1a")
                await until(lambda: " T " in _stat(screen.process.pid), "it is stopped")
                assert screen.as_it_was()
                screen.signal(signal.SIGCONT)
                await screen.until(lambda: screen.output.count(ENTER) == 2, "it is back")
                drawn = screen.output.rfind(ENTER)
                await screen.until(lambda: "sidecar running" in screen.output[drawn:], "it draws again")
                screen.press(b"q")
                assert screen.ended() == 0
                assert screen.output.count(LEAVE) == 2

    asyncio.run(scenario())


def _stat(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]


def test_a_drain_is_seen_until_the_sidecar_has_ended(tmp_path: Path) -> None:
    """State, deadline and what waits while it lasts; then the last view, and that the sidecar has ended."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink, held()) as running:
            with Screen(state(tmp_path)) as screen:
                await screen.shows("sidecar running", "something not acknowledged")
                running.signal(signal.SIGTERM)
                await screen.shows("sidecar draining", "deadline in", "something not acknowledged")
                assert screen.fits()
                sink.release()
                await screen.shows("NOT UP TO DATE", "old: the sidecar has ended")
                assert await running.ended() == 0
                screen.press(b"q")
                assert screen.ended() == 0

    asyncio.run(scenario())


def test_a_service_and_its_process_are_seen(tmp_path: Path) -> None:
    """A process that hands over through the SDK has a row: records, and what of them is not acknowledged."""
    code = "import shipper, sys\nshipper.init(service='orders')\nshipper.event('e')\nprint('done', flush=True)\nsys.stdin.read()"

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink):
            env = {k: v for k, v in os.environ.items() if not k.startswith("SHIPPER_")}
            env["SHIPPER_STATE_DIR"] = str(tmp_path / "state")
            pipe = asyncio.subprocess.PIPE
            service = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe, env=env)
            assert service.stdout is not None
            assert await service.stdout.readline() == b"done\n"
            with Screen(state(tmp_path)) as screen:
                await screen.until(lambda: f"{service.pid}  alive        1" in screen.text(), "its row with a record")
                assert screen.fits()
                service.kill()
                await screen.until(lambda: f"{service.pid}  alive" not in screen.text(), "it is not alive any more")
                screen.press(b"q")
                assert screen.ended() == 0
            await service.wait()

    asyncio.run(scenario())


def test_a_gateway_is_seen_the_same_way(tmp_path: Path) -> None:
    """Its destination is the archive."""

    async def scenario() -> None:
        async with gateway(tmp_path, free_port()) as running:
            await running.up()
            answer = await asyncio.to_thread(shipper, "top", "--once", state(tmp_path))
            assert answer.returncode == 0, answer.stderr
            assert answer.stdout.startswith("gateway running on gateway, life ")
            assert "\narchive " in answer.stdout

    asyncio.run(scenario())


def test_when_the_terminal_is_closed_it_ends(tmp_path: Path) -> None:
    """Nothing is left running at the far end of a connection that was lost, and nothing is said to nobody."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink):
            with Screen(state(tmp_path)) as screen:
                await screen.shows("sidecar running")
                screen.hang_up()
                assert screen.ended() == 0
                assert screen.said() == ""

    asyncio.run(scenario())


def test_no_color_is_honoured(tmp_path: Path) -> None:
    """With NO_COLOR there is no colour, without it a refusing destination is red."""

    async def scenario() -> None:
        async with Sink() as sink, host(tmp_path, sink, refuse(503)):
            for env, coloured in (({"NO_COLOR": "1"}, False), ({}, True)):
                with Screen(state(tmp_path), env=env) as screen:
                    await screen.shows("FAILING")
                    assert bool(COLOUR.search(screen.output)) is coloured
                    screen.press(b"q")
                    assert screen.ended() == 0

    asyncio.run(scenario())


def test_without_a_sidecar_it_is_one_sentence(tmp_path: Path) -> None:
    """On a terminal as in a pipe: why, and exit status 1; the terminal is as it was."""
    answer = once(state(tmp_path))
    assert answer.exit_code == 1
    assert "no sidecar runs here" in answer.stderr
    with Screen(state(tmp_path)) as screen:
        assert screen.ended() == 1
        assert screen.as_it_was()
        said = screen.said()
        assert said.count("\n") == 1
        assert "no sidecar runs here" in said


def test_what_answers_on_the_socket_and_is_no_sidecar_is_said(tmp_path: Path) -> None:
    """HTML, garbage and JSON of another shape: a sentence each."""
    path = str(tmp_path / "admin.sock")
    html = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    broken = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n<html>"
    other = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"life":1}'
    refused = b"HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"

    async def answer(raw: bytes) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(serve, path)
        async with server:
            said = await asyncio.to_thread(once, f"--socket={path}")
        if os.path.lexists(path):
            os.unlink(path)
        assert said.exit_code == 1
        assert said.stderr.startswith("Error: ")
        return said.stderr

    for raw in (html, broken, refused, b"hello\r\n\r\n"):
        assert path in asyncio.run(answer(raw))
    assert "is no sidecar of a version that this program knows" in asyncio.run(answer(other))
