"""The lease of several gateways on one archive: one writes at a time, whatever dies, sleeps or has a wrong clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.fleet.deploys.lease import EXPIRY, KEY, Lease
from shipper.fleet.store import Store, StoreUnavailable, Tagged, open_store
from shipper.testing.clock import FakeClock
from tests.exporters.fake_s3 import BUCKET, FakeS3
from tests.fleet.reports import quiet


class Shaky(Store):
    """A store of which some calls fail, before or after they had their effect."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self._store, self._chance = store, chance
        self.down = False

    def _maybe(self, share: float) -> None:
        if self.down or self._chance.random() < share:
            raise StoreUnavailable("the network")

    def list(self, prefix: str = "") -> Iterator:
        return self._store.list(prefix)

    def get(self, key: str) -> bytes | None:
        return self._store.get(key)

    async def put(self, key: str, data: bytes, *, once: bool = False, storage_class: str = "") -> None:
        await self._store.put(key, data)

    def read(self, key: str) -> Tagged:
        self._maybe(0.1)
        return self._store.read(key)

    async def swap(self, key: str, data: bytes, tag: str) -> bool:
        self._maybe(0.1)
        done = await self._store.swap(key, data, tag)
        self._maybe(0.1)
        return done


def lease(store: Store, name: str, clock: FakeClock) -> Lease:
    return Lease(store, name, clock=clock, report=quiet(clock))


def test_one_takes_it_renews_it_and_another_waits(tmp_path: Path) -> None:
    """The first holds it as long as it renews it; the second waits, and takes it when it is given back."""

    async def story() -> None:
        clock, store = FakeClock(), open_store(str(tmp_path), create=True)
        one, two = lease(store, "one", clock), lease(store, "two", clock)
        for _ in range(10):
            await one.turn()
            await two.turn()
            assert (one.held(), two.held()) == (True, False)
            clock.advance(one.every)
        await one.turn()
        await one.give_back()
        assert not one.held()
        await two.turn()
        assert two.held()

    asyncio.run(story())


def test_a_holder_that_died_is_followed_after_the_expiry(tmp_path: Path) -> None:
    """Whoever waits takes it over when nothing was renewed for the expiry, counted by its own clock, and not before."""

    async def story() -> None:
        clock, store = FakeClock(), open_store(str(tmp_path), create=True)
        await lease(store, "one", clock).turn()
        two = lease(store, "two", clock)
        await two.turn()
        clock.advance(EXPIRY - 1)
        await two.turn()
        assert not two.held()
        clock.advance(1)
        await two.turn()
        assert two.held()

    asyncio.run(story())


def test_a_gateway_that_comes_back_goes_on_with_its_own_lease(tmp_path: Path) -> None:
    """The next run of the same life need not wait for what its predecessor held."""

    async def story() -> None:
        clock, store = FakeClock(), open_store(str(tmp_path), create=True)
        await lease(store, "one", clock).turn()
        again = lease(store, "one", clock)
        await again.turn()
        assert again.held()

    asyncio.run(story())


def test_a_holder_that_cannot_renew_stops_before_others_begin(tmp_path: Path) -> None:
    """Cut off from the archive, the holder stops by itself; also when it was suspended and only the wall clock shows it."""

    async def story() -> None:
        clock = FakeClock()
        store = Shaky(open_store(str(tmp_path), create=True), random.Random(0))
        store._chance.random = lambda: 1.0  # type: ignore[method-assign]
        one = lease(store, "one", clock)
        await one.turn()
        store.down = True
        clock.advance(EXPIRY / 2)
        await one.turn()
        assert one.held()
        clock.advance(EXPIRY / 2 - 1)
        assert not one.held()
        store.down = False
        await one.turn()
        assert one.held()
        clock.jump_wall(3600)
        assert not one.held()

    asyncio.run(story())


def test_what_cannot_be_read_is_waited_for_like_any_other(tmp_path: Path) -> None:
    """Garbage in the lease's place is overwritten after the expiry."""

    async def story() -> None:
        clock, store = FakeClock(), open_store(str(tmp_path), create=True)
        assert await store.swap(KEY, b"\xff{", store.read(KEY).tag)
        one = lease(store, "one", clock)
        await one.turn()
        assert not one.held()
        clock.advance(EXPIRY)
        await one.turn()
        assert one.held()

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(12))
def test_never_two_at_a_time(tmp_path: Path, seed: int) -> None:
    """With gateways that start, die, are suspended, lose the archive and have clocks of their own, at most one holds it."""

    async def story() -> None:
        chance = random.Random(seed)
        store = open_store(str(tmp_path), create=True)
        clocks = [FakeClock(chance.uniform(0, 1e6), chance.randrange(10**18, 2 * 10**18)) for _ in range(3)]
        leases = [lease(Shaky(store, chance), f"g{number}", clock) for number, clock in enumerate(clocks)]
        due = [0.0, 0.0, 0.0]
        took = set()
        for now in range(1500):
            for clock in clocks:
                clock.advance(1.0)
            for number, one in enumerate(leases):
                if now >= due[number]:
                    await one.turn()
                    due[number] = now + one.every + (chance.uniform(60, 200) if chance.random() < 0.04 else 0)
                if chance.random() < 0.002:
                    await one.give_back()
                if chance.random() < 0.002:  # it is killed, and another life begins there
                    leases[number] = lease(Shaky(store, chance), f"g{number}-{now}", clocks[number])
            holders = [number for number, one in enumerate(leases) if one.held()]
            assert len(holders) <= 1
            took |= set(holders)
        assert len(took) > 1

    asyncio.run(story())


def test_of_many_that_swap_at_once_one_wins(tmp_path: Path) -> None:
    """Every version of a cell in a directory is made by one of those who try, and is never lost."""

    async def story() -> None:
        stores = [open_store(str(tmp_path), create=True) for _ in range(6)]
        for _ in range(20):
            tag = stores[0].read("cell").tag
            won = await asyncio.gather(*(store.swap("cell", b"%d" % n, tag) for n, store in enumerate(stores)))
            assert sum(won) == 1
            assert stores[0].read("cell").data == b"%d" % won.index(True)
        assert not await stores[0].swap("cell", b"late", "3")
        assert len(list((tmp_path / "cell").iterdir())) == 1

    asyncio.run(story())


def test_a_bucket_s_object_is_swapped_on_a_condition() -> None:
    """In a bucket a put on the condition of its entity tag is what decides; a lease works there as in a directory."""

    async def story() -> None:
        async with FakeS3() as service:
            clock = FakeClock()
            store = open_store(f"s3://{BUCKET}/pre", service.options)
            one, two = lease(store, "one", clock), lease(store, "two", clock)
            await one.turn()
            await two.turn()
            assert (one.held(), two.held()) == (True, False)
            found = await asyncio.to_thread(store.read, KEY)
            await one.turn()
            assert one.held()
            assert not await store.swap(KEY, b"late", found.tag)
            await one.give_back()
            await two.turn()
            assert two.held()

    asyncio.run(story())
