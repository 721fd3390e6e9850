"""What tests of what metadata services say have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shipper.labels.detect import detect
from shipper.labels.identity import Identity
from shipper.labels.platform import DMI, Network
from tests.labels.cloud_kit import LONG


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., asyncio.Future[Identity]]:
    """Detects on a machine with such DMI and files, in a thread, as the sidecar does."""

    def run(
        *,
        dmi: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        endpoints: Mapping[str, str] | None = None,
        seconds: float = LONG,
    ) -> asyncio.Future[Identity]:
        trees = {**{DMI + name: text for name, text in (dmi or {}).items()}, **(files or {})}
        for name, text in trees.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        network = Network(endpoints or {}, seconds)
        return asyncio.ensure_future(asyncio.to_thread(detect, None, env or {}, str(tmp_path), network=network))

    return run
