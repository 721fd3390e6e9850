"""A sidecar that writes to Elasticsearch, is killed again and again, loses answers, and still each line is there once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.kit import WITHOUT_OWN_NUMBERS, Shipper, until
from tests.exporters.fake_elastic import FakeElastic, Whole

STREAM = "logs-app-test"
DEATHS = 3
LINES = 300


def sidecar(directory: Path, url: str, log: Path) -> Shipper:
    """A sidecar with Elasticsearch as its only destination."""
    directory.mkdir()
    options = {
        "type": "elasticsearch",
        "endpoint": url,
        "dataset": "app",
        "namespace": "test",
        "requests_per_second": 50,
    }
    configuration = directory / "shipper.yaml"
    configuration.write_text(yaml.safe_dump({"destinations": {"elastic": options}}))
    settings = {
        "SHIPPER_STATE_DIR": str(directory / "state"), "SHIPPER_HOST": "host-a", "SHIPPER_SERVICE": "checkout",
        "SHIPPER_RELEASE": "1.2.3", "SHIPPER_GENERATION": "g1", "SHIPPER_ADMIN_LISTEN": "off",
        "SHIPPER_DRAIN_EPHEMERAL": "false", **WITHOUT_OWN_NUMBERS,
    }  # fmt: skip
    return Shipper(directory, ["run", f"--tail={log}", f"--config={configuration}"], settings)


def test_kills_lost_answers_and_roll_overs(tmp_path: Path) -> None:
    """Killed at any step, with answers lost and a data stream that rolls over: all lines, once each, under one life."""
    log = tmp_path / "app.log"
    written: list[str] = []

    def write() -> None:
        lines = [f"line {len(written) + number}" for number in range(LINES)]
        written.extend(lines)
        with open(log, "a") as out:
            out.write("".join(f"{line}\n" for line in lines))

    def there(node: FakeElastic) -> list[dict[str, Any]]:
        return [one for one in node.documents() if one["message"].startswith("line ")]

    def has_all(node: FakeElastic) -> bool:
        return set(written) <= {one["message"] for one in there(node)}

    async def story() -> None:
        async with FakeElastic() as node, sidecar(tmp_path / "host-a", node.url, log) as process:
            for _ in range(DEATHS):
                node.answer = Whole(store=True, fault="hang up")
                write()
                await until(lambda: has_all(node), "it has all lines, and nobody knows")
                await process.kill()
                # What the dead one had on its way goes too: after a roll-over nobody could tell that it is still to come.
                await node.go_down()
                await node.come_up()
                node.roll_over(STREAM)
                node.answer = None
                await process.start()
                write()
                await until(lambda: has_all(node), "it has those written since, too")
            assert await process.terminate() == 0, process.said()
            found = there(node)
            assert Counter(one["message"] for one in found) == Counter(written)
            assert len({one["labels"]["shipper_life_id"] for one in found}) == 1
            assert {one["service"]["name"] for one in found} == {"checkout"}
            assert {one["labels"]["shipper_generation"] for one in found} == {"g1"}
            ordered = sorted(found, key=lambda one: one["event"]["sequence"])
            assert [one["message"] for one in ordered] == written

    asyncio.run(story())
