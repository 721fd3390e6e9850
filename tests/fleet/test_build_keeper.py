"""From settings to a keeper: who writes, who waits for the lease, who only listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.build_keeper import make_keeper
from shipper.config import load
from shipper.fleet.deploys.keeper import Keeper
from shipper.ledger import Ledger, LedgerThread
from shipper.pump.hub import Hub
from shipper.testing.clock import FakeClock
from tests.fleet.reports import Kept

OTLP = {"destinations.backend.type": "otlp", "destinations.backend.endpoint": "http://127.0.0.1:9"}


def archive(root: Path, **more: str) -> dict[str, str]:
    return {"destinations.archive.type": "archive", "destinations.archive.url": str(root / "archive"), **more}


def made(root: Path, overrides: dict[str, Any], look: Callable[[Keeper, Kept], Any]) -> Any:
    """What ``look`` sees of the keeper that a gateway with these settings makes."""

    async def story() -> Any:
        clock = FakeClock()
        report = Kept(clock)
        overrides["state_dir"] = str(root / "state")
        (root / "state").mkdir()
        config = load(None, env={"HOME": str(root)}, overrides=overrides, role="gateway").config
        ledger = LedgerThread(Ledger.open(root / "state/ledger.db", report=report))
        hub = Hub(ledger, clock=clock, report=report)
        keeper = await make_keeper(
            config,
            life="me",
            gateway="gw",
            takers=tuple(config.destinations),
            hub=hub,
            ledger=ledger,
            clock=clock,
            report=report,
        )
        try:
            if keeper._lease is not None and keeper._writer is not None:
                await keeper._lease.turn()
            await keeper.turn()
            return look(keeper, report)
        finally:
            await keeper.aclose()
            await ledger.aclose()

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("keeper", "archived", "backend", "writes", "lease"),
    [
        ("auto", True, True, True, True),
        ("auto", False, True, True, False),
        ("auto", True, False, False, True),
        ("always", True, True, True, False),
        ("never", True, True, False, False),
        ("never", False, True, False, False),
    ],
)
def test_who_writes(tmp_path: Path, keeper: str, archived: bool, backend: bool, writes: bool, lease: bool) -> None:
    """By settings and destinations: the holder of the lease, the only one, whoever is told to, and nobody for archives alone."""
    overrides = (archive(tmp_path) if archived else {}) | (OTLP if backend else {}) | {"deploys.keeper": keeper}
    found = made(tmp_path, overrides, lambda one, _: (one.writes(), one._lease is not None))
    assert found == (writes, lease)
    assert (tmp_path / "archive/shipper/deploys/me.json.z").exists() is archived
    assert (tmp_path / "archive/shipper/keeper/lease/1").exists() is (writes and lease)


def test_a_lease_that_cannot_be_had_keeps_from_writing_and_is_said(tmp_path: Path) -> None:
    """Where the shared archive cannot be opened another gateway may hold the lease: nothing is written, and why is said."""
    bucket = {"destinations.archive.url": "s3://bucket", "destinations.archive.options": {"no_such_option": "1"}}
    found = made(tmp_path, archive(tmp_path) | bucket | OTLP, lambda one, report: (one.writes(), report.texts()))
    assert not found[0]
    assert any("deploys are not shared with other gateways" in text for text in found[1])


def test_a_prefix_is_a_part_of_the_place(tmp_path: Path) -> None:
    """Gateways that write below a prefix meet below it."""
    settings = archive(tmp_path, **{"destinations.archive.prefix": "/team/a/"}) | OTLP
    assert made(tmp_path, settings, lambda one, _: one.writes())
    assert (tmp_path / "archive/team/a/shipper/keeper/lease/1").exists()
