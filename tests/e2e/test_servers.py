"""What a call returned from arrives, under every server and however it ends; the stock SDK beside it, for comparison."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shipper.handoff.prepare import prepare_root
from tests.e2e.arrivals import Collector, Count, collecting, line, walked
from tests.e2e.servers import ENDINGS, RECORDS, SERVERS, Cell, Group, Server, get, wait

BY_SIDECAR = "SIGKILL"  # the ending after which arrival is counted behind a real sidecar; the others read the segments


BESIDE = ("SIGTERM", "SIGKILL")  # the endings after which the stock SDK is shown too; `python -m bench servers` has all


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def spool(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of the hand-off of a sidecar that ships to the collector."""
    directory = tmp_path_factory.mktemp("sidecar")
    env = {
        "SHIPPER_STATE_DIR": str(directory / "state"),
        "SHIPPER_OTLP_ENDPOINT": collector.url,
        "SHIPPER_ADMIN_LISTEN": "off",
        "SHIPPER_HOST": "host",
    }
    sidecar = Group(directory, ["-m", "shipper", "run"], env)
    root = directory / "state/spool"
    wait(root.is_dir, "the sidecar has made the root", sidecar.said)
    yield root
    sidecar.kill()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_everything_arrives(
    server: Server, ending: str, collector: Collector, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """1,000 spans and 1,000 log records, each exactly once, whoever ended the processes that emitted them, and how."""
    stock = Cell(server, ending, "stock", tmp_path / "stock", {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    beside = threading.Thread(target=_drive, args=(stock,))
    if ending in BESIDE:
        beside.start()
    ours = _behind_a_sidecar if ending == BY_SIDECAR else _in_segments
    try:
        count = ours(server, ending, collector, tmp_path, request)
    finally:
        if ending in BESIDE:
            beside.join()
            print(line(server.name, ending, count, collector.of(stock.run)))
    assert count.spans == count.logs == set(range(RECORDS))
    assert count.twice == 0
    instances = [instance for instances in count.processes.values() for instance in instances]
    assert len(set(instances)) == len(instances) == len(count.processes), "an instance id of its own for each process"
    assert len(instances) >= {"celery": 10, "fork": 2, "spawn": 2}.get(server.name, 1)


def _drive(cell: Cell) -> None:
    with suppress(AssertionError):  # what becomes of the other is shown, and not judged
        cell.server.drive(cell.server, cell)


def _in_segments(
    server: Server, ending: str, collector: Collector, tmp_path: Path, request: pytest.FixtureRequest
) -> Count:
    root = tmp_path / "spool"
    prepare_root(str(root))  # what it says, that other users cannot reach it below pytest's directory, is as it is
    cell = Cell(server, ending, "shipper", tmp_path / "shipper", {"SHIPPER_SPOOL_DIR": str(root)})
    server.drive(server, cell)
    return walked(root, cell.run)


def _behind_a_sidecar(
    server: Server, ending: str, collector: Collector, tmp_path: Path, request: pytest.FixtureRequest
) -> Count:
    root = request.getfixturevalue("spool")
    cell = Cell(server, ending, "shipper", tmp_path / "shipper", {"SHIPPER_SPOOL_DIR": str(root)})
    server.drive(server, cell)
    wait(lambda: collector.of(cell.run).complete(), f"all of {server.name} has arrived at the sink")
    return collector.of(cell.run)


@pytest.mark.parametrize("name", ["gunicorn sync", "uvicorn"])
def test_a_request_that_kills_its_process_can_be_seen(
    name: str, collector: Collector, spool: Path, tmp_path: Path
) -> None:
    """Its span was open when the process died: the sidecar ends it, with status error and the reason."""
    cell = Cell(SERVERS[name], "SIGKILL", "shipper", tmp_path / "shipper", {"SHIPPER_SPOOL_DIR": str(spool)})
    group = cell.start()
    try:
        wait(lambda: get(cell.port, "/"), f"{name} serves", group.said)
        before = len(collector.of(cell.run).failed)
        assert not get(cell.port, "/die/0")
        (span,) = wait(lambda: collector.of(cell.run).failed[before:], "the open span has arrived")
    finally:
        group.kill()
    assert (span.kind, span.status.message) == (Span.SPAN_KIND_SERVER, "process died")
    assert span.name.startswith("GET")
