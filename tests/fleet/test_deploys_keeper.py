"""The keeper: what it hears as requests pass, what it writes, and how several share what they know."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.contracts import Signal
from shipper.fleet.deploys.keeper import FACT
from shipper.fleet.deploys.lease import EXPIRY
from shipper.fleet.deploys.share import PREFIX
from shipper.fleet.deploys.sightings import SILENCE_NS
from shipper.ledger import Ledger
from shipper.testing.clock import FakeClock
from tests.fleet.keeper_kit import INTERVAL, SECOND, gateways, host, statement, tell


def test_deploys_that_were_told_are_written_every_turn(tmp_path: Path) -> None:
    """Start, end, desired hosts and episode of a deploy are series without an instance, written again every turn."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            start = await tell(one, from_release="r1", desired_hosts=3)
            clock.advance(60)
            end = await tell(one, "finished")
            for _ in range(3):
                await one.turn()
                clock.advance(INTERVAL)
                about = {"service.name": "api", "deployment.environment.name": "prod", "shipper.generation": "7"}
                about |= {"service.version": "r2"}
                kind = {"action": "deploy", "from_release": "r1", "inferred": "false"}
                last = one.writer.last
                assert last("deploy.started_timestamp", **about, **kind) == [start.at_ns // SECOND]
                assert last("deploy.finished_timestamp", **about, **kind, status="succeeded") == [end.at_ns // SECOND]
                assert last("generation.desired_hosts", **about) == [3]
                assert last("generation.episode_started_timestamp", **about, episode="1") == [start.at_ns // SECOND]
                assert last("keeper.info", gateway="g") == [1]
                assert len(one.writer.requests[-1]) == 5

    asyncio.run(story())


def test_a_series_whose_labels_changed_ends(tmp_path: Path) -> None:
    """When more becomes known of a deploy its old series is ended, so that it is one marker and not two."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            await tell(one)
            await one.turn()
            await tell(one, from_release="r1")
            await one.turn()
            assert sorted(map(str, one.writer.last("deploy.started_timestamp"))) == [
                str(clock.wall_ns() // SECOND),
                "None",
            ]
            assert None not in one.writer.last("deploy.started_timestamp", from_release="r1")
            await one.turn()
            assert len(one.writer.last("deploy.started_timestamp")) == 1

    asyncio.run(story())


def test_what_was_told_survives_the_death_of_the_gateway(tmp_path: Path) -> None:
    """A deploy is in the ledger before its sender has an answer: the next run knows it, without a turn in between."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            await tell(one)
            await one.die()
            await one.start()
            await one.turn()
            assert len(one.writer.last("deploy.started_timestamp", **{"shipper.generation": "7"})) == 1

    asyncio.run(story())


def test_a_ledger_whose_deploys_are_damaged_is_said_and_survived(tmp_path: Path) -> None:
    """What cannot be read back is said, and the keeper goes on with what it hears from then on."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            for damaged in ('{"version":1,"events":[{"at_ns":"x","service":"a"}],"lives":[]}', "[]", '{"version":9}'):
                await one.ledger.call(Ledger.put, FACT, damaged)
                await one.die()
                await one.start()
                assert "what the ledger has of deploys is lost" in one.report.texts()[-1]
            await tell(one)
            await one.turn()
            assert one.writer.last("deploy.started_timestamp")

    asyncio.run(story())


def test_a_deploy_told_to_one_gateway_is_kept_alive_by_the_holder(tmp_path: Path) -> None:
    """One of two gateways writes; what is told to the other is among it with the next turn, and the other writes nothing."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "a", "b", clock=clock) as (holder, other):
            await holder.turn()
            await tell(other, generation="8")
            await other.turn()
            await holder.turn()
            assert holder.writer.last("deploy.started_timestamp", **{"shipper.generation": "8"})
            assert not other.writer.requests

    asyncio.run(story())


def test_another_takes_over_when_the_holder_dies(tmp_path: Path) -> None:
    """With the holder dead, the other writes all that both were told, after the expiry; never both at a time."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "a", "b", clock=clock) as (holder, other):
            await tell(holder, generation="1")
            await tell(other, generation="2")
            for _ in range(4):
                await holder.turn()
                await other.turn()
                clock.advance(INTERVAL)
            await holder.die()
            while not other.writer.requests:
                await other.turn()
                clock.advance(INTERVAL)
            assert other.writer.at[0] - holder.writer.at[-1] >= EXPIRY - INTERVAL
            for generation in ("1", "2"):
                assert other.writer.last("deploy.started_timestamp", **{"shipper.generation": generation})
            assert other.writer.last("keeper.info", gateway="b") == [1]

    asyncio.run(story())


def test_a_gateway_that_drains_hands_over_at_once(tmp_path: Path) -> None:
    """When a gateway ends, the next one need not wait; where the drain is taken back, it takes part again."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "a", "b", clock=clock) as (first, second):
            await first.turn()
            await second.turn()
            assert first.keeper is not None
            assert second.keeper is not None
            await first.keeper.settled()
            await first.keeper.turn()
            await second.turn()
            assert (len(first.writer.requests), len(second.writer.requests)) == (1, 1)
            first.keeper.reopen()
            await second.keeper.settled()
            await first.turn()
            assert len(first.writer.requests) == 2

    asyncio.run(story())


def test_what_others_wrote_and_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    """Garbage beside the archive is said and costs nothing else."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "a", clock=clock) as (one,):
            (tmp_path / "archive" / PREFIX).mkdir(parents=True)
            (tmp_path / "archive" / PREFIX / "x.json.z").write_bytes(b"\x00garbage")
            await tell(one)
            await one.turn()
            assert any("x.json.z is passed over" in text for text in one.report.texts())
            assert one.writer.last("deploy.started_timestamp")

    asyncio.run(story())


def test_generations_show_without_any_deploy_event(tmp_path: Path) -> None:
    """From births and farewells alone: a roll and the rollback to the same key are three generations, marked as inferred."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            starts = []
            for number, generation in enumerate("ABA"):
                starts.append(clock.wall_ns() // SECOND)
                for index in range(2):
                    await host(one, "birth", f"{number}-{index}", generation)
                await one.turn()
                clock.advance(60)
                if number:
                    for index in range(2):
                        await host(one, "farewell", f"{number - 1}-{index}", "", ends_life=True)
                await one.turn()
                clock.advance(60)
            last = one.writer.last
            assert last("deploy.started_timestamp", inferred="true", action="deploy") == starts[:2]
            assert last("deploy.started_timestamp", action="rollback", episode="2", from_release="rB") == [starts[2]]
            assert sorted(map(int, last("generation.episode_started_timestamp"))) == starts

    asyncio.run(story())


def test_what_was_inferred_is_not_inferred_again_after_a_restart(tmp_path: Path) -> None:
    """A restart, and hosts replaced since, add no deploy."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            await host(one, "birth", "h1", "A")
            await one.turn()
            clock.advance(7 * 3600)
            await host(one, "farewell", "h1", "", ends_life=True)
            await one.turn()
            await one.die()
            clock.advance(7 * 3600)
            await one.start()
            await host(one, "account", "h2", "A")
            await one.turn()
            assert len(one.writer.last("deploy.started_timestamp")) == 1

    asyncio.run(story())


def test_hosts_that_fall_silent_are_gone_but_not_while_we_were_away(tmp_path: Path) -> None:
    """A canary that is silent for long was withdrawn; after an outage of the gateway itself silence says nothing at first."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            await host(one, "birth", "old", "A")
            clock.advance(10)
            await host(one, "birth", "canary", "B")
            await one.turn()
            await one.die()
            clock.advance(2 * SILENCE_NS / SECOND)
            await one.start()
            await one.turn()
            for _ in range(3):  # the clock jumps, or the machine slept
                clock.jump_wall(2 * SILENCE_NS / SECOND)
                await one.turn()
            assert not one.writer.last("deploy.withdrawn_timestamp")
            for _ in range(21):
                clock.advance(INTERVAL)
                await host(one, "account", "old", "A")
                await one.turn()
            assert one.writer.last("deploy.withdrawn_timestamp", **{"shipper.generation": "B"})

    asyncio.run(story())


def test_statements_through_something_that_lists_no_batches_count_too(tmp_path: Path) -> None:
    """A host behind a Collector is heard; a gateway's own statements are no host."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            assert one.keeper is not None
            await one.keeper.heard(Signal.LOGS, "", [], statement("birth", "h", clock, "A"))
            await one.keeper.heard(Signal.LOGS, "", [], statement("birth", "x", clock, "Z", role="gateway"))
            await one.turn()
            (series,) = (key for key in one.writer.requests[-1] if key.startswith("shipper.deploy.started"))
            assert '"A"' in series

    asyncio.run(story())


@pytest.mark.parametrize("generation", ['it\'s "v1"/∞\n' + "x" * 300, "{}", "a,b=c"])
def test_labels_that_nobody_would_choose_are_kept(tmp_path: Path, generation: str) -> None:
    """Quotes, slashes, line ends and 300 characters come out as they went in."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "a", "b", clock=clock) as (holder, other):
            await tell(other, generation=generation)
            await other.die()
            await other.start()
            await holder.turn()
            await other.turn()
            await holder.turn()
            assert holder.writer.last("deploy.started_timestamp", **{"shipper.generation": generation})

    asyncio.run(story())


def test_too_many_services_are_bounded_and_said(tmp_path: Path) -> None:
    """A label set that would explode is bounded, and it is said how much is not shown."""

    async def story() -> None:
        clock = FakeClock()
        async with gateways(tmp_path, "g", clock=clock, shared=False) as (one,):
            for number in range(230):
                await tell(one, service=f"s{number}")
            await one.turn()
            assert len(one.writer.last("deploy.started_timestamp")) == 200
            assert any("0 deploys and 30 services are not shown" in text for text in one.report.texts())

    asyncio.run(story())
