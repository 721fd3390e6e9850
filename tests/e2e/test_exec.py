"""``shipper exec`` with real programs, signals and sidecars: what a program wrote and how it ended arrives, whoever is killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from shipper.testing.sink import Sink
from tests.e2e.kit import Shipper, data_lines, shipper, sidecar, statements, until


def running(
    directory: Path, endpoint: str, *words: str, sidecar: str = "own", flags: tuple[str, ...] = (), **more: str
) -> Shipper:
    """``shipper exec`` with the state of `sidecar` in the same directory; ``more``: further variables."""
    env = {
        "SHIPPER_STATE_DIR": str(directory / "state"),
        "SHIPPER_HOST": directory.name,
        "SHIPPER_SERVICE": "checkout",
        "SHIPPER_OTLP_ENDPOINT": endpoint,
        "SHIPPER_ADMIN_LISTEN": "off",
        "SHIPPER_METRICS_OWN": "false",
        "SHIPPER_DRAIN_EPHEMERAL": "false",
        **more,
    }
    return Shipper(directory, ["exec", f"--sidecar={sidecar}", *flags, "--", *words], env)


def program(*lines: str) -> tuple[str, ...]:
    """A program in Python."""
    return (sys.executable, "-u", "-c", "\n".join(lines))


@dataclass(frozen=True)
class Came:
    """A record: its text, its severity, and all attributes of it, its scope and its resource."""

    text: str
    severity: int
    about: dict[str, Any]


def records(sink: Sink) -> list[Came]:
    """What came of programs, each request once."""
    found = []
    once = {request.key: request for request in sink.kept() if request.signal == "logs"}
    for request in once.values():
        for logs in ExportLogsServiceRequest.FromString(request.body).resource_logs:
            for scope in logs.scope_logs:
                around = plain([*logs.resource.attributes, *scope.scope.attributes])
                for record in scope.log_records if "job.name" in around else ():
                    about = around | plain(record.attributes)
                    found.append(Came(record.body.string_value, record.severity_number, about))
    return found


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as Python values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in attributes}


def written(sink: Sink) -> list[str]:
    """Lines of the programs, without the ends of runs."""
    return [record.text for record in records(sink) if record.about["log.file.name"] != "ended"]


def ends(sink: Sink) -> list[Came]:
    """The ends of runs."""
    return [record for record in records(sink) if record.about["log.file.name"] == "ended"]


def runs(sink: Sink) -> dict[tuple[str, str], int]:
    """The last value of each job's runs, by job and outcome."""
    found = {}
    for request in sink.kept():
        if request.signal != "metrics":
            continue
        for each in ExportMetricsServiceRequest.FromString(request.body).resource_metrics:
            for metric in [metric for scope in each.scope_metrics for metric in scope.metrics]:
                for point in metric.sum.data_points if metric.name == "shipper.job.runs" else ():
                    labels = {one.key: one.value.string_value for one in point.attributes}
                    found[labels["job.name"], labels["outcome"]] = point.as_int
    return found


def directories(directory: Path) -> list[str]:
    """What runs left in the hand-off."""
    return [name for name in os.listdir(directory / "state" / "spool") if name.startswith("job-")]


def test_what_a_program_wrote_and_how_it_ended_arrives_and_its_status_is_ours(tmp_path: Path) -> None:
    """Both outputs, each by its name, a record of the end and a run that failed; then nothing is left on the disk."""

    async def story() -> None:
        async with Sink() as sink:
            words = program("import sys", "print('hello')", "print('oops', file=sys.stderr)", "sys.exit(3)")
            async with running(tmp_path, sink.url, *words, flags=("--job=nightly", "--service=reports")) as process:
                assert await process.ended() == 3
            assert sorted(written(sink)) == ["hello", "oops"]
            about = {record.text: record.about for record in records(sink)}
            assert (about["hello"]["log.iostream"], about["oops"]["log.iostream"]) == ("stdout", "stderr")
            assert (about["hello"]["job.name"], about["hello"]["service.name"]) == ("nightly", "reports")
            [end] = ends(sink)
            assert end.text.startswith("job nightly exited with 3 after ")
            assert (end.about["outcome"], end.about["exit_code"], end.severity) == ("failure", 3, 17)
            assert runs(sink) == {("nightly", "success"): 0, ("nightly", "failure"): 1}
            assert directories(tmp_path) == []
            assert "hello\n" in process.said()  # it is shown as well

    asyncio.run(story())


def test_jobs_hand_over_to_the_sidecar_of_the_host(tmp_path: Path) -> None:
    """Runs beside a sidecar need none of their own; each counts once, also when that sidecar is killed in between."""

    async def story() -> None:
        async with Sink() as sink:
            async with sidecar(tmp_path, sink.url) as host:
                await host.up()
                for status in (0, 0, 1):
                    words = program(f"print('status {status}')", f"raise SystemExit({status})")
                    state = str(tmp_path / "state")
                    flags = ("--job=cron", "--quiet")
                    async with running(
                        tmp_path / "cron", "", *words, sidecar="auto", flags=flags, SHIPPER_STATE_DIR=state
                    ) as job:
                        assert await job.ended() == status, job.said()
                    assert job.said() == ""
                await until(lambda: len(ends(sink)) == 3, "the ends of all runs arrive")
                await host.kill()
            async with sidecar(tmp_path, sink.url) as host:
                await host.up()
                assert await host.terminate() == 0, host.said()
            assert sorted(written(sink)) == ["status 0", "status 0", "status 1"]
            assert len(ends(sink)) == 3
            assert runs(sink) == {("cron", "success"): 2, ("cron", "failure"): 1}
            assert directories(tmp_path) == []

    asyncio.run(story())


def test_a_program_goes_on_when_who_waits_for_it_is_killed_and_its_run_counts_as_lost(tmp_path: Path) -> None:
    """SIGKILL of ``shipper exec``: the program is not touched, what it writes still arrives, how it ended nobody knows."""

    async def story() -> None:
        go = tmp_path / "go"
        async with Sink() as sink, sidecar(tmp_path, sink.url) as host:
            await host.up()
            words = program(
                "import os, time",
                "print('before')",
                f"while not os.path.exists({str(go)!r}): time.sleep(0.01)",
                "print('after')",
            )
            async with running(tmp_path, sink.url, *words, sidecar="host", flags=("--job=orphan",)) as process:
                await until(lambda: "before" in written(sink), "the program runs")
                await process.kill()
            go.touch()
            await until(lambda: ends(sink), "the end that nobody lived to tell is told")
            assert written(sink) == ["before", "after"]
            [end] = ends(sink)
            assert (end.about["outcome"], end.about["exit_code"]) == ("lost", -1)
            assert await host.terminate() == 0
            assert runs(sink) == {("orphan", "success"): 0, ("orphan", "failure"): 1}

    asyncio.run(story())


def test_a_sidecar_that_dies_beside_the_program_is_begun_again(tmp_path: Path) -> None:
    """The program does not notice, and every line arrives once."""

    async def story() -> None:
        stop = tmp_path / "stop"
        async with Sink() as sink:
            words = program(
                "import os, time",
                "n = 0",
                f"while not os.path.exists({str(stop)!r}): print('line', n); n += 1; time.sleep(0.005)",
            )
            async with running(tmp_path, sink.url, *words) as process:
                await until(lambda: len(written(sink)) > 20, "lines arrive")
                [companion] = [pid for pid in children(process.pid) if b"run" in cmdline(pid)]
                os.kill(companion, signal.SIGKILL)
                known = len(written(sink))
                await until(lambda: len(written(sink)) > known + 20, "lines arrive again")
                stop.touch()
                assert await process.ended() == 0, process.said()
            lines = written(sink)
            assert sorted(lines, key=lambda line: int(line.split()[1])) == [f"line {n}" for n in range(len(lines))]
            assert "the program is not touched" in process.said()

    asyncio.run(story())


def test_stop_signals_reach_the_program_and_its_last_words_arrive(tmp_path: Path) -> None:
    """SIGTERM is the program's to act on; ``shipper exec`` ends with its status when all is shipped."""

    async def story() -> None:
        async with Sink() as sink:
            words = program(
                "import signal, sys",
                "signal.signal(signal.SIGTERM, lambda *_: (print('last words'), sys.exit(7)))",
                "print('up')",
                "signal.pause()",
            )
            async with running(tmp_path, sink.url, *words) as process:
                await until(lambda: "up" in process.said(), "the program is up")
                assert await process.terminate() == 7
            assert written(sink) == ["up", "last words"]

    asyncio.run(story())


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare (util-linux)")
def test_as_process_1_it_reaps_orphans_and_its_container_ends_when_all_is_shipped(tmp_path: Path) -> None:
    """In a PID namespace of its own: somebody's orphan becomes no zombie, and SIGTERM ends the life with a farewell."""

    async def story() -> None:
        async with Sink() as sink:
            words = program(
                "import os, signal, sys, time",
                "if os.fork() == 0:",
                "    if os.fork() == 0: time.sleep(0.05); os._exit(0)",
                "    os._exit(0)",
                "os.wait()",
                "signal.signal(signal.SIGTERM, lambda *_: (print('last words'), sys.exit(0)))",
                "while any('python' in open(f'/proc/{pid}/stat').read() and ' Z ' in open(f'/proc/{pid}/stat').read()",
                "          for pid in os.listdir('/proc') if pid.isdecimal() and os.path.exists(f'/proc/{pid}/stat')):",
                "    time.sleep(0.01)",
                "print('no zombies')",
                "signal.pause()",
            )
            process = running(tmp_path, sink.url, *words, SHIPPER_DRAIN_EPHEMERAL="true")
            process.prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
            async with process:
                await until(lambda: "no zombies" in written(sink), "orphans are reaped")
                [first] = children(process.pid)
                os.kill(first, signal.SIGTERM)
                assert await process.ended() == 0, process.said()
            assert written(sink) == ["no zombies", "last words"]
            assert statements(sink)[-1]["ends_life"] is True

    asyncio.run(story())


def test_what_nobody_takes_is_bounded_and_what_was_given_up_is_counted(tmp_path: Path) -> None:
    """With no sidecar the oldest output goes at the limit; the sidecar that comes ships the rest and names the gap."""

    async def story() -> None:
        async with Sink() as sink:
            async with sidecar(tmp_path, sink.url) as host:
                await host.up()
                await host.terminate()
                done = tmp_path / "done"
                words = program(
                    "import os, time",
                    "for n in range(60_000): print(f'line {n:>6}', 'x' * 80)",
                    f"while not os.path.exists({str(done)!r}): time.sleep(0.01)",
                )
                nonsense = "no such thing"  # so that no sidecar begins
                async with running(tmp_path, nonsense, *words, flags=("--max-mib=1", "--quiet")) as process:
                    [job] = await until(lambda: directories(tmp_path), "the run has its directory")
                    path = tmp_path / "state" / "spool" / job
                    await until(lambda: (path / "stdout").stat().st_size >= 60_000 * 93, "all is written")
                    await until(lambda: taken(path / "stdout") <= 1 << 20, "its space is bounded")
                    await process.kill()
            done.touch()
            async with sidecar(tmp_path, sink.url) as host:
                await until(lambda: ends(sink), "the run is told of")
                assert await host.terminate() == 0, host.said()
            lines = written(sink)
            numbers = [int(line.split()[1]) for line in lines if line.startswith("line ") and len(line) == 92]
            assert numbers == sorted(set(numbers))
            assert numbers[-1] == 59_999
            assert len(numbers) < 30_000
            farewell = statements(sink)[-1]
            gone = json.dumps(farewell)
            assert "given up" in gone or "lost" in gone, gone

    asyncio.run(story())


@pytest.mark.parametrize(("word", "status"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_be_run_is_a_run_that_failed(tmp_path: Path, word: str, status: int) -> None:
    """A cron job whose script has vanished is seen: by a record that says why, and as a failure."""

    async def story() -> None:
        async with Sink() as sink:
            async with running(tmp_path, sink.url, word, flags=("--job=cron",)) as process:
                assert await process.ended() == status
            assert f"{word} cannot be run" in process.said()
            assert [line.startswith(f"shipper exec: {word} cannot be run") for line in written(sink)] == [True]
            assert [end.about["exit_code"] for end in ends(sink)] == [status]
            assert runs(sink) == {("cron", "success"): 0, ("cron", "failure"): 1}
        assert directories(tmp_path) == []

    asyncio.run(story())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have two users")
def test_nobody_has_the_sidecar_read_what_he_may_not() -> None:
    """A user's run whose output is a link to a file of root's is not read, and said."""

    async def story(tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("the key\n")
        secret.chmod(0o600)
        async with Sink() as sink, sidecar(tmp_path, sink.url) as host:
            await host.up()
            spool = tmp_path / "state" / "spool"
            job = spool / "job-01a20940-a962-731d-9cc2-16b24503b9b6"
            made = f"mkdir {job} && cd {job} && ln -s {secret} stdout && echo own > stderr"
            stranger = await asyncio.create_subprocess_exec("sh", "-c", made, user=65534, group=65534)
            assert await stranger.wait() == 0
            await until(lambda: data_lines(sink) == ["own"], "what is the user's own arrives")
            await until(
                lambda: "does not belong to whom its directory belongs to" in host.said(), "the link is refused"
            )
            assert await host.terminate() == 0
            assert data_lines(sink) == ["own"]

    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        asyncio.run(story(Path(directory)))


def test_without_a_sidecar_it_says_what_to_do(tmp_path: Path) -> None:
    """``--sidecar host`` where none runs is a sentence."""
    answer = shipper("exec", "--sidecar=host", "--", "true")
    assert answer.returncode == 1
    assert "use --sidecar own" in answer.stderr


def children(pid: int) -> list[int]:
    """The children of a process."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cmdline(pid: int) -> bytes:
    """What a process was started as."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def taken(path: Path) -> int:
    """Bytes that a file takes on disk."""
    return path.stat().st_blocks * 512
