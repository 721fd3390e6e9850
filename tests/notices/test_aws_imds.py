"""IMDSv2 as a client that lives as long as its host: tokens, and all the ways in which there is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shipper.labels.metadata import NoMetadata
from shipper.notices.ec2 import Ec2Watcher
from shipper.notices.ec2_spot import SpotLook
from shipper.notices.imds import META, TIMEOUT_SECONDS, Imds, version_1_allowed
from shipper.notices.times import Times
from shipper.testing.platforms.imds import SPOT_ACTION, TOKEN_PATH, TTL_HEADER, FakeImds
from shipper.testing.platforms.loopback import Reply, Trap, hang, huge, page, slow, text, web_page
from tests.notices.listening import CountingClock, RecordingBoard, at_work, until

ID = META + "instance-id"


def with_imds(story: Callable[[FakeImds, Imds, CountingClock], Awaitable[None]], *, version_1: bool = True) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeImds(clock=clock) as fake:
            imds = Imds(clock=clock, endpoint=fake.url, version_1=version_1)
            try:
                await story(fake, imds, clock)
            finally:
                await imds.aclose()

    asyncio.run(run())


async def patient(clock: CountingClock, work: Awaitable[object]) -> object:
    """The result of ``work`` while the fake time of its time-outs passes whenever it waits for them."""
    doing = asyncio.ensure_future(work)
    while not doing.done():
        waited = clock.waits[TIMEOUT_SECONDS]
        await asyncio.sleep(0.05)
        if not doing.done() and clock.waits[TIMEOUT_SECONDS] == waited and clock.sleeping():
            clock.advance(TIMEOUT_SECONDS)
    return doing.result()


def test_aws_one_token_serves_until_shortly_before_its_end() -> None:
    """Items share a token; it is renewed before it expires, so that no look is refused."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        for _ in range(3):
            assert await imds.text(ID) == "i-1234567890abcdef0"
        assert fake.count(TOKEN_PATH, "PUT") == 1
        assert fake.asked[0].headers[TTL_HEADER] == "21600"
        clock.advance(21_600 - 30)
        assert await imds.text(ID)
        assert fake.count(TOKEN_PATH, "PUT") == 2
        assert len(fake.asked) == 6

    with_imds(story)


def test_aws_shorter_life_of_a_token_than_asked_for_is_obeyed() -> None:
    """The service's own TTL header decides when to renew; an absurd one does not."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        fake.trap(TOKEN_PATH, Trap(Reply(200, b"short", headers={TTL_HEADER: "100"})))
        fake.tokens["short"] = clock.monotonic() + 100
        assert await imds.text(ID)
        clock.advance(60)
        assert await imds.text(ID)
        assert fake.count(TOKEN_PATH, "PUT") == 2

    with_imds(story)


@pytest.mark.parametrize("how", ["expired", "rejected once"])
def test_aws_a_401_is_answered_by_one_new_token(how: str) -> None:
    """A token that is gone early costs one more request, no look."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        assert await imds.text(ID)
        if how == "expired":
            fake.expire_tokens()
        else:
            fake.reject_tokens(1)
        assert await imds.text(ID)
        assert fake.count(TOKEN_PATH, "PUT") == 2

    with_imds(story)


def test_aws_a_service_that_refuses_every_token_is_asked_for_two() -> None:
    """401 again after a new token is unknown, not a loop."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        fake.reject_tokens(100)
        with pytest.raises(NoMetadata, match="refuses the token"):
            await imds.text(ID)
        assert fake.count(TOKEN_PATH, "PUT") == 2
        assert fake.count(ID) == 2

    with_imds(story)


def test_aws_many_looks_at_once_renew_one_token() -> None:
    """Ten requests that meet the same expired token take one new one between them."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        await imds.text(ID)
        fake.expire_tokens()
        await asyncio.gather(*(imds.text(ID) for _ in range(10)))
        assert fake.count(TOKEN_PATH, "PUT") == 2

    with_imds(story)


def test_aws_hop_limit_hang_is_said_with_its_likely_cause() -> None:
    """In a container whose token never arrives, and version 1 off, the reason names the hop limit; nothing hangs."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        fake.hop_limit_exceeded()
        with pytest.raises(NoMetadata, match="hop limit"):
            await patient(clock, imds.text(ID))
        fake.hop_limit_exceeded(False)
        clock.advance(300)
        assert await imds.text(ID)

    with_imds(story)


def test_aws_hop_limit_hang_where_version_1_is_allowed() -> None:
    """The items are asked for without a token then, and the token only now and then."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        fake.version_1 = True
        fake.hop_limit_exceeded()
        assert await patient(clock, imds.text(ID)) == "i-1234567890abcdef0"
        assert await imds.text(ID)
        assert fake.count(TOKEN_PATH, "PUT") == 1
        clock.advance(300)
        fake.hop_limit_exceeded(False)
        assert await imds.text(ID)
        assert fake.count(TOKEN_PATH, "PUT") == 2

    with_imds(story)


def test_aws_version_1_forbidden() -> None:
    """With AWS_EC2_METADATA_V1_DISABLED nothing is ever asked without a token."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        fake.version_1 = True
        fake.hop_limit_exceeded()
        with pytest.raises(NoMetadata):
            await patient(clock, imds.text(ID))
        assert not fake.count(ID)

    with_imds(story, version_1=False)
    assert not version_1_allowed({"AWS_EC2_METADATA_V1_DISABLED": "True"})
    assert version_1_allowed({})


@pytest.mark.parametrize("trap", [page(500), page(429), page(503), page(400), web_page(), huge(1 << 20), text("")])
def test_aws_renewal_that_fails_keeps_the_token_that_still_holds(trap: Trap) -> None:
    """Until its end the old token serves; the next try comes soon."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        await imds.text(ID)
        clock.advance(21_600 - 40)
        fake.trap(TOKEN_PATH, trap)
        assert await imds.text(ID)
        clock.advance(20)
        assert await imds.text(ID)
        assert fake.count(TOKEN_PATH, "PUT") == 3

    with_imds(story)


def test_aws_service_that_is_off_is_said_so() -> None:
    """403 means that metadata is turned off for the instance."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        fake.switch_off()
        with pytest.raises(NoMetadata, match="switched off"):
            await imds.text(ID)

    with_imds(story)


def test_aws_slow_service_is_good_up_to_the_time_limit() -> None:
    """An answer after a second counts; one after three does not, and the next is asked for anew."""

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        await imds.text(ID)
        for seconds, good in ((1.0, True), (3.0, False)):
            fake.trap(ID, slow(seconds))
            asking = asyncio.ensure_future(imds.text(ID))
            await until(lambda seconds=seconds: clock.waits[seconds], "the slow answer is under way")
            clock.advance(min(seconds, TIMEOUT_SECONDS))
            if good:
                assert await asking
            else:
                with pytest.raises(NoMetadata, match="no answer within 2 s"):
                    await asking

    with_imds(story)


def test_aws_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables of the environment are for the internet, not for a link-local address."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async def story(fake: FakeImds, imds: Imds, clock: CountingClock) -> None:
        assert await imds.text(ID)
        assert "X-Forwarded-For" not in fake.asked[-1].headers

    with_imds(story)


def test_aws_ipv6_endpoint() -> None:
    """The service is also asked by an IPv6 address in brackets."""

    async def run() -> None:
        clock = CountingClock()
        fake = FakeImds(clock=clock, ipv6=True)
        try:
            await fake.come_up()
        except OSError as problem:
            pytest.skip(f"no IPv6 loopback: {problem}")
        imds = Imds(clock=clock, endpoint=fake.url)
        try:
            assert await imds.text(ID)
        finally:
            await imds.aclose()
            await fake.go_down()

    asyncio.run(run())


def test_aws_unreachable_service_is_unknown_and_found_again() -> None:
    """Nobody listens, then somebody does: unknown until then, and the notice that waited is seen at the next look."""

    async def run() -> None:
        clock = CountingClock()
        async with FakeImds(clock=clock) as fake:
            board = RecordingBoard(clock)
            look = SpotLook(clock=clock, times=Times(clock))
            watcher = Ec2Watcher(clock=clock, imds=Imds(clock=clock, endpoint=fake.url), looks=(look,))
            await fake.go_down()
            async with at_work(watcher, board):
                await until(lambda: board.sources_unknown(), "unknown")
                assert not board.drains
                await fake.come_up()
                fake.interrupt()
                await until(lambda: clock.waits[5.0], "the pause")
                clock.advance(5.0)
                await until(lambda: board.drains, "the notice")
                assert not board.sources_unknown()

    asyncio.run(run())


def test_aws_throttled_service_is_asked_less_often() -> None:
    """429 again and again: the pauses grow, so that a throttled instance is not throttled by us."""

    async def run() -> None:
        clock = CountingClock()
        async with FakeImds(clock=clock) as fake:
            fake.trap_always(SPOT_ACTION, page(429))
            board = RecordingBoard(clock)
            look = SpotLook(clock=clock, times=Times(clock))
            watcher = Ec2Watcher(clock=clock, imds=Imds(clock=clock, endpoint=fake.url), looks=(look,))
            async with at_work(watcher, board):
                for seconds in (5.0, 10.0, 20.0, 40.0, 60.0):
                    await until(lambda seconds=seconds: clock.waits[seconds], f"a pause of {seconds}")
                    clock.advance(seconds)
                assert not board.drains

    asyncio.run(run())


def test_aws_first_look_does_not_wait_for_a_hanging_token() -> None:
    """A watcher that is stopped while the service hangs ends at once."""

    async def run() -> None:
        clock = CountingClock()
        async with FakeImds(clock=clock) as fake:
            fake.trap_always("*", hang())
            watcher = Ec2Watcher(
                clock=clock,
                imds=Imds(clock=clock, endpoint=fake.url),
                looks=(SpotLook(clock=clock, times=Times(clock)),),
            )
            board = RecordingBoard(clock)
            async with at_work(watcher, board):
                await fake.until_asked(TOKEN_PATH, method="PUT")
            assert not board.told

    asyncio.run(run())
