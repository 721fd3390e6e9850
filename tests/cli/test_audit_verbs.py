"""The verbs that read an archive, as a person or a script meets them: output, exit codes, and what is said of bad input."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.clock import SystemClock
from shipper.contracts import Signal
from shipper.otlp import decode
from shipper.testing.sink import Sink, refuse
from tests.fleet.archives import Writer, batch, claims, statement


def shipper(*arguments: object) -> Result:
    """Run ``shipper`` in this process; a traceback is never an answer."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """An archive with one complete host."""
    writer = Writer(tmp_path / "archive")
    writer.put(statement("a", "birth", 1), batch("a", 0, 3))
    writer.put(statement("a", "farewell", 2, [claims(3)], ends_life=True, outcome="drained", reason="SIGTERM"))
    return writer


def test_audit_of_a_complete_archive(writer: Writer) -> None:
    """The table names host, release, generation and ending; the last line sums up; the exit code is 0."""
    result = shipper("audit", writer.root)
    assert result.exit_code == 0
    (row,) = (line.split() for line in result.output.splitlines() if line.startswith("a "))
    assert row[:4] == ["a", "life-a", "1.0", "g1"]
    assert row[6:8] == ["drained,", "SIGTERM"]
    assert result.output.splitlines()[-1] == "read 3, archived 3, missing 0, duplicates 0"


def test_audit_of_an_incomplete_archive(writer: Writer) -> None:
    """What is missing is named by host, stream and range, and the exit code is 1."""
    writer.put(statement("b", "birth", 1), batch("b", 0, 2), statement("b", "farewell", 2, [claims(5)], ends_life=True))
    result = shipper("audit", writer.root)
    assert result.exit_code == 1
    assert "b life-b /log: MISSING [40, 100)" in result.output
    assert result.output.splitlines()[-1] == "read 8, archived 5, missing 3 (in 1 ranges), duplicates 0"
    assert shipper("audit", writer.root, "--host", "a").exit_code == 0
    assert shipper("audit", writer.root, "--life", "life-b").exit_code == 1


def test_audit_of_a_host_that_nobody_heard_of(writer: Writer) -> None:
    """A host that is not there is not one of which nothing is missing: it is said, and the exit code is 1."""
    result = shipper("audit", writer.root, "--host", "web-7")
    assert result.exit_code == 1
    assert "no life of web-7 was ever heard of here" in result.output


def test_names_from_hosts_are_only_text(tmp_path: Path) -> None:
    """A host or a file that is named like markup or terminal control is shown as what it is."""
    writer = Writer(tmp_path)
    stream = {**claims(3), "name": "/log\x1b[2J[/red]"}
    writer.put(statement("[bold]a\x1b]0;x", "farewell", 2, [stream], ends_life=True))
    result = shipper("audit", tmp_path)
    assert result.exit_code == 1
    assert "[bold]a\\x1b]0;x" in result.output
    assert "/log\\x1b[2J[/red]: MISSING [0, 60)" in result.output
    assert "\x1b" not in result.output


def test_audit_for_machines(writer: Writer) -> None:
    """``--json`` has the documented names, and nothing else is printed."""
    report = json.loads(shipper("audit", writer.root, "--json").output)
    assert (report["version"], report["ok"], report["objects"]) == (1, True, 2)
    assert set(report) == {
        "version",
        "ok",
        "archive",
        "at_ns",
        "objects",
        "unlisted_objects",
        "unlisted_records",
        "damage",
        "totals",
        "lives",
        "truth",
    }
    (life,) = report["lives"]
    assert (life["host"], life["ended"], life["labels"]["generation"], life["ok"]) == ("a", "drained", "g1", True)
    (stream,) = life["streams"]
    assert (stream["name"], stream["missing_ranges"], stream["counts"]["archived"]) == ("/log", [], 3)


def test_audit_beside_a_truth(writer: Writer, tmp_path: Path) -> None:
    """``--truth FILE`` compares with what somebody outside counted; a difference is exit code 1."""
    truth = tmp_path / "truth.json"
    truth.write_text('{"a:/log": 3}')
    result = shipper("audit", writer.root, "--truth", truth)
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "emitted 3, read 3, archived 3, missing 0, duplicates 0"
    truth.write_text('{"a": 4}')
    result = shipper("audit", writer.root, "--truth", truth)
    assert result.exit_code == 1
    assert "emitted 4, read 3, archived 3, missing 1" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "{dir}/nowhere"], "is not a directory"),
        (["audit", "{dir}"], "holds no archive"),
        (["audit", "{dir}/file"], "is not a directory"),
        (["audit", "ftp://host/x"], "unknown kind of archive 'ftp'"),
        (["audit", "s3://bucket", "--option", "bogus=1"], "bogus"),
        (["audit", "s3://bucket", "--option", "bogus"], "is not KEY=VALUE"),
        (["audit", "{dir}", "--since", "yesterday"], "neither like"),
        (["audit", "{dir}", "--truth", "{dir}/file"], "file"),
        (["cat", "{dir}/nowhere"], "is not a directory"),
        (["cat", "{dir}", "--signal", "smoke"], "smoke"),
        (["replay", "{dir}/nowhere", "--to", "http://127.0.0.1:1"], "is not a directory"),
        (["replay", "{dir}"], "--to"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    """A place that is no archive, or an option that makes no sense, is one sentence and exit code 2."""
    (tmp_path / "file").write_text("not JSON")
    result = shipper(*(argument.format(dir=tmp_path) for argument in arguments))
    assert result.exit_code == 2
    assert said in result.output


def test_cat_prints_lines(writer: Writer) -> None:
    """Records come as lines for people, filtered by what they carry."""
    result = shipper("cat", writer.root)
    assert result.exit_code == 0
    assert [line.split()[2:] for line in result.output.splitlines()] == [
        ["a", "1.0", "a", "line", str(n)] for n in range(3)
    ]
    assert shipper("cat", writer.root, "--release", "2.0").output == ""
    assert len(shipper("cat", writer.root, "--release", "1.0", "--since", "2023-11-14").output.splitlines()) == 3
    assert shipper("cat", writer.root, "--since", "10m").output == ""


def test_cat_prints_otlp_json(writer: Writer) -> None:
    """``--json`` prints OTLP JSON, one request a line, that can be read back."""
    (line,) = shipper("cat", writer.root, "--json").output.splitlines()
    payload = decode.from_json(Signal.LOGS, line.encode())
    assert [str(record.body).strip() for record in decode.records(Signal.LOGS, payload)] == [
        f"a line {n}" for n in range(3)
    ]


def test_cat_says_what_is_damaged(writer: Writer) -> None:
    """What is listed and cannot be read is named on standard error, and the exit code is 1."""
    writer.objects()[0].unlink()
    result = shipper("cat", writer.root)
    assert result.exit_code == 1
    assert "damaged" in result.stderr
    assert result.stdout == ""


def test_cat_into_a_pipe_that_closes(tmp_path: Path) -> None:
    """``shipper cat | head`` ends quietly."""
    writer = Writer(tmp_path)
    writer.put(batch("a", 0, 20_000))
    command = f"{sys.executable} -m shipper cat {tmp_path} | head -n 1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.parametrize(("status", "exit_code"), [(0, 0), (401, 1)])
def test_replay(writer: Writer, status: int, exit_code: int) -> None:
    """``replay`` sends every record to an endpoint and says how many; a destination that refuses us is exit code 1."""

    async def scenario() -> Result:
        async with Sink(clock=SystemClock()) as sink:
            if status:
                sink.answer = refuse(status, "who are you?")
            result = await asyncio.to_thread(
                shipper, "replay", writer.root, "--to", sink.url, "--header", "x-team=blue"
            )
            if not status:
                assert len([line for line in sink.lines() if line.startswith("a line")]) == 3
                assert {request.headers["x-team"] for request in sink.kept()} == {"blue"}
            return result

    result = asyncio.run(scenario())
    assert result.exit_code == exit_code
    assert ("sent 5 records" in result.output) is (status == 0)
