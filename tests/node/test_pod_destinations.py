"""What pods share of a destination, and what the agent remembers of pods."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.config import Destination
from shipper.contracts import ExporterContext
from shipper.node.exporters import IN_FLIGHT, PACE, Destinations
from shipper.node.memory import Memory
from shipper.node.places import Place
from shipper.pump.pace import Buckets, TokenBucket
from shipper.testing.clock import FakeClock

UID = "0a1b2c3d-1111-2222-3333-444455556666"
PLACE = Place(f"/var/log/pods/shop_a_{UID}", "shop", "a", UID)


def test_otlp_has_one_instance_for_all_pods() -> None:
    """It is open while any pod has it open, however often one of them closes; the more there are, the less each sends at once."""

    async def story() -> None:
        clock = SystemClock()
        node = Destinations(ExporterContext(clock, "agent", 1, "test"), clock)
        wanted = Destination(type="otlp", options={"endpoint": "http://127.0.0.1:9"})
        pods = [node.make("default", wanted, ExporterContext(clock, f"pod {n}", 1, "test")) for n in range(50)]
        assert len({id(one._inner) for one in pods}) == 1  # type: ignore[attr-defined]
        client = pods[0]._inner._client  # type: ignore[attr-defined]
        await pods[0].start()
        usual = pods[0].limits.max_in_flight
        for one in pods:
            await one.start()
        assert pods[7].limits.max_in_flight == max(1, IN_FLIGHT // 50) < usual
        for one in pods[1:]:
            await one.aclose()
            await one.aclose()
        assert client._session is not None
        assert pods[0].limits.max_in_flight == usual
        await pods[0].aclose()
        assert client._session is None
        assert node.buckets["default"].wait() == 0
        assert PACE > 1

    asyncio.run(story())


def test_others_are_opened_by_each_pod(tmp_path: Path) -> None:
    """An exporter that does not say that it serves many lives gets one instance for each."""
    clock = SystemClock()
    node = Destinations(ExporterContext(clock, "agent", 1, "test"), clock)
    wanted = Destination(type="archive", options={"url": str(tmp_path)})
    first, second = (node.make("a", wanted, ExporterContext(clock, f"pod {n}", 1, "test")) for n in range(2))
    assert first is not second


def test_a_token_is_there_when_both_buckets_have_one() -> None:
    """One pod cannot take what is everybody's, and all together not more than that."""
    clock = FakeClock()
    shared = TokenBucket(clock, 1.0, 3)
    first, second = (Buckets(TokenBucket(clock, 1.0, 2), shared) for _ in range(2))
    assert [first.take() for _ in range(3)] == [True, True, False]
    assert [second.take() for _ in range(2)] == [True, False]
    assert second.wait() == pytest.approx(1.0)


def test_what_was_met_is_known_after_a_restart(tmp_path: Path) -> None:
    """A pod that has begun, one that ended, and one whose state was being removed when the agent was killed."""
    memory = Memory(str(tmp_path))
    memory.begun(PLACE)
    assert Memory(str(tmp_path)).get(UID) == memory.get(UID)
    memory.ended(PLACE, {"app/0.log": 5})
    found = Memory(str(tmp_path)).get(UID)
    assert found is not None
    assert (found.ended, found.sizes) == (True, {"app/0.log": 5})
    Path(memory.directory(UID)).rename(tmp_path / "pods" / f".gone-{UID}")
    assert Memory(str(tmp_path)).all() == {}
    assert list((tmp_path / "pods").iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"path": 1}', '{"path":"a","namespace":"b","name":"c","uid":"d"}'])
def test_damaged_memory_is_as_if_never_met(tmp_path: Path, content: str) -> None:
    """The pod is met anew when its directory is; its ledger has not gone."""
    memory = Memory(str(tmp_path))
    memory.begun(PLACE)
    Path(memory.directory(UID), "pod.json").write_text(content)
    again = Memory(str(tmp_path))
    assert again.get(UID) is None
    again.begun(PLACE)
    assert Memory(str(tmp_path)).get(UID) == again.get(UID)
