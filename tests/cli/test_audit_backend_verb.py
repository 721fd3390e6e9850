"""``shipper audit`` with a backend in place of an archive, as a person or a script meets it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper_exporters.loki import LokiExporter, LokiSettings
from tests.exporters.loki_server import FakeLoki
from tests.fleet.backend_kit import HOUR, QueryServer, Reply, birth, context, farewell, life, lines, push, stream
from tests.fleet.backend_queries import LokiQueries

BORN = time.time_ns() - HOUR
A, B = life(1, BORN), life(2, BORN)


def audit(*arguments: object) -> Result:
    """Run it in this process; a traceback is never an answer."""
    result = CliRunner().invoke(main, ["audit", *map(str, arguments)], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def store() -> FakeLoki:
    store = FakeLoki(time.time_ns())

    async def fill() -> None:
        async with store.sink() as sink:
            exporter = LokiExporter("loki", LokiSettings(endpoint=sink.url), context())
            whole = [birth(A, born=BORN), lines(A, 4, at_ns=BORN), farewell(A, stream(4, "loki"), born=BORN)]
            await push(exporter, [*whole, birth(B, born=BORN), lines(B, 2, at_ns=BORN)])

    asyncio.run(fill())
    return store


@pytest.fixture
def server(store: FakeLoki) -> Iterator[QueryServer]:
    with QueryServer(LokiQueries(store)) as server:
        yield server


def test_a_complete_backend(server: QueryServer) -> None:
    """A line for each life with what was acknowledged and found, what it proves, a last line that sums up, exit code 0."""
    result = audit("--loki", server.url)
    assert result.exit_code == 0
    output = result.output.splitlines()
    assert output[0].startswith(f"Compared with Loki at {server.url} at ")
    rows = {line.split()[0]: line.split() for line in output if line.startswith("host-")}
    assert rows[f"host-{A[-4:]}"][1:4] == [A[-12:], "1.0", "g1"]
    assert rows[f"host-{A[-4:]}"][-8:] == ["drained", "logs", "loki", "4", "4", "0", "0", "equal"]
    assert " ".join(rows[f"host-{B[-4:]}"]).endswith("silent logs - 2 - - not compared: ended in silence: no farewell")
    assert any(line.startswith("Accepted by the backend, not proved by range") for line in output)
    assert any("beyond its retention" in line for line in output)
    assert output[-1] == "acknowledged 4, found 4, missing 0, more than acknowledged 0"


def test_an_incomplete_backend(server: QueryServer, store: FakeLoki) -> None:
    """What is missing is said by host, and the exit code is 1; what one asks for may still be complete."""
    store.stored = [line for line in store.stored if line.line != f"line 1 of {A}"]
    result = audit("--loki", server.url)
    assert result.exit_code == 1
    assert f"host-{A[-4:]} {A}: MISSING 1 logs that loki acknowledged" in result.output
    assert result.output.splitlines()[-1] == "acknowledged 4, found 3, missing 1, more than acknowledged 0"
    assert audit("--loki", server.url, "--life", B).exit_code == 0


def test_the_machine_form(server: QueryServer) -> None:
    """``--json`` has the same, and says that it is about acceptance."""
    result = audit("--loki", server.url, "--json", "--life", A)
    found = json.loads(result.output)
    assert (found["version"], found["ok"], found["proof"]) == (1, True, "accepted")
    (row,) = found["lives"]
    assert (row["life"], row["ended"], row["ok"]) == (A, "drained", True)
    assert row["counts"] == [
        {
            "what": "logs", "destination": "loki", "result": "equal", "why": "",
            "acknowledged": 4, "pending": 0, "found": 4, "missing": 0, "more": 0,
        }
    ]  # fmt: skip


def test_nobody_heard_of(server: QueryServer) -> None:
    """Where no statement is found, nothing is known: it is said, and the exit code is 1."""
    result = audit("--loki", server.url, "--host", "other")
    assert (result.exit_code, "no life of other was ever heard of in Loki at" in result.output) == (1, True)
    result = audit("--loki", server.url, "--selector", '{service_name=~"nothing"}')
    assert (result.exit_code, "no life was ever heard of in Loki at" in result.output) == (1, True)


def test_a_backend_that_does_not_answer(server: QueryServer) -> None:
    """One sentence and exit code 2."""
    server.answer = lambda asked: Reply(500, b"oops", {"Content-Type": "text/plain"})
    result = audit("--loki", server.url)
    assert (result.exit_code, result.output) == (2, f"Error: {server.url} answered 500: oops\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name an ARCHIVE, or a backend such as --loki URL"),
        (["/srv/a", "--loki", "http://l"], "ARCHIVE and --loki exclude each other"),
        (["--loki", "http://l", "--splunk", "http://s"], "--loki and --splunk exclude each other"),
        (["--loki", "http://l", "--with", "/srv/a"], "--option, --with and --truth are for an archive, not for --loki"),
        (["/srv/a", "--tenant", "x"], "--tenant is not for an archive"),
        (["--splunk", "http://s", "--tenant", "x"], "--tenant is not for --splunk"),
        (["--loki", "http://l", "--index", "x"], "--index is not for --loki"),
        (["--loki", "http://l", "--username", "x"], "--username and --password-file go together"),
        (["--loki", "loki"], "--loki: 'loki' is no URL"),
        (["--datadog"], "--api-key-file: is missing, and DD_API_KEY is not set"),
    ],
)
def test_wrong_calls(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be meant is said, and the exit code is 2."""
    monkeypatch.delenv("DD_API_KEY", raising=False)
    result = audit(*arguments)
    assert result.exit_code == 2
    assert said in result.output
