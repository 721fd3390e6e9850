"""Verdicts within a gateway: who computes them by its settings, and that they come out where its numbers do."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from shipper.build_verdicts import make_watcher
from shipper.config import load
from shipper.dashboards import names
from shipper.errors import ConfigError
from shipper.fleet.watching.watcher import Watcher
from shipper.ledger import Ledger, LedgerThread
from shipper.pump.hub import Hub
from shipper.testing import prometheus
from shipper.testing.clock import FakeClock
from shipper.testing.prometheus import Prometheus
from tests.e2e.kit import Shipper, until
from tests.fleet.reports import Kept
from tests.fleet.verdict_series import Life, write

BACKEND = {"destinations.backend.type": "otlp", "destinations.backend.endpoint": "http://127.0.0.1:9"}
ASKS = {"verdicts.prometheus": "http://127.0.0.1:9"}


def made(root: Path, overrides: dict[str, Any]) -> tuple[Watcher | None, list[str]]:
    """What a gateway with these settings makes, and what it says."""

    async def story() -> tuple[Watcher | None, list[str]]:
        clock = FakeClock()
        report = Kept(clock)
        (root / "state").mkdir()
        settings = {**overrides, "state_dir": str(root / "state")}
        config = load(None, env={"HOME": str(root)}, overrides=settings, role="gateway").config
        ledger = LedgerThread(Ledger.open(root / "state/ledger.db", report=report))
        try:
            watcher = await make_watcher(
                config,
                life="me",
                takers=tuple(config.destinations),
                hub=Hub(ledger, clock=clock, report=report),
                ledger=ledger,
                clock=clock,
                report=report,
            )
            if watcher is not None:
                await watcher.aclose()
            return watcher, report.texts()
        finally:
            await ledger.aclose()

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("settings", "archived", "backend", "there", "lease"),
    [
        (ASKS, False, True, True, False),
        (ASKS, True, True, True, True),
        (ASKS | {"deploys.keeper": "always"}, True, True, True, False),
        (ASKS | {"deploys.keeper": "never"}, True, True, True, False),
        (ASKS, True, False, False, False),
        ({}, True, True, False, False),
    ],
)
def test_who_computes(
    tmp_path: Path, settings: dict[str, str], archived: bool, backend: bool, there: bool, lease: bool
) -> None:
    """Whoever is given a Prometheus and has somewhere to show it; by a lease where an archive is shared and nobody said otherwise."""
    archive = {"destinations.archive.type": "archive", "destinations.archive.url": str(tmp_path / "archive")}
    watcher, said = made(tmp_path, settings | (archive if archived else {}) | (BACKEND if backend else {}))
    assert ((watcher is not None), watcher is not None and watcher._lease is not None) == (there, lease)
    assert any("no destination but archives takes their series" in text for text in said) == (
        bool(settings) and not backend
    )


def test_an_archive_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """Where nobody can tell whether another gateway computes, this one does not, and says so."""
    bucket = {"destinations.archive.type": "archive", "destinations.archive.url": "s3://bucket"}
    bucket["destinations.archive.options"] = {"no_such_option": "1"}  # type: ignore[assignment]
    watcher, said = made(tmp_path, ASKS | bucket | BACKEND)
    assert watcher is None
    assert any("verdicts are not computed: another gateway may" in text for text in said)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"verdicts.prometheus": "prometheus"},
            r"verdicts\.prometheus: expected a URL such as http://prometheus:9090, got 'prometheus'",
        ),
        ({"verdicts.prometheus": "http://u:p@x"}, r"verdicts\.prometheus: a URL must not hold a user or a password"),
        (ASKS | {"verdicts.token_file": "/no/such"}, r"verdicts\.token_file: cannot read the token"),
        ({"verdicts.prometheus": "http://x/?y"}, r"verdicts\.prometheus: 'http://x/\?y' is no URL"),
        ({"verdicts.token_file": "/x"}, r"verdicts\.token_file: is for verdicts\.prometheus, which is not given"),
        (ASKS | {"verdicts.every": "1s"}, r"verdicts\.every"),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    """Each is named with its path."""
    with pytest.raises(ConfigError, match=says):
        made(tmp_path, settings | BACKEND)


@pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)
def test_a_gateway_computes_verdicts(tmp_path: Path) -> None:
    """Its verdicts are written to its destination beside everything else, and end when it drains."""
    now = int(time.time())
    lives = [
        Life(f"{name}-{index}", name, int(now // 60 * 60 - born * 60), now, fails=fails)
        for name, born, fails in (("1", 70, 200), ("2", 25, 40))
        for index in range(4)
    ]
    config = tmp_path / "gateway.yaml"
    query = f'{names.VERDICT}{{service="shop",env="prod",generation="2",baseline="1",subject="errors"}}'

    async def story(server: Prometheus) -> None:
        words = ["gateway", "--config", str(config), "--state-dir", str(tmp_path / "state"), "--listen", "127.0.0.1:0"]
        async with Shipper(tmp_path / "gateway", words, {"SHIPPER_ADMIN_LISTEN": "off"}) as gateway:
            await until(lambda: server.query(query), "its verdict is there")
            assert server.value(query) == 1
            assert "shop in prod, generation 2: errors: worse" in gateway.said()
            assert await gateway.terminate() == 0
        await until(lambda: not server.query(names.VERDICT), "its series have ended")

    with Prometheus(tmp_path / "prometheus", config="storage: {tsdb: {out_of_order_time_window: 30d}}\n") as server:
        write(server.write_url, *(life.written() for life in lives))
        config.write_text(
            f"verdicts: {{prometheus: '{server.url}'}}\n"
            f"destinations:\n  numbers: {{type: prometheus, endpoint: '{server.write_url}'}}\n"
            f"  archive: {{type: archive, url: '{tmp_path / 'archive'}'}}\n"
        )
        asyncio.run(story(server))
