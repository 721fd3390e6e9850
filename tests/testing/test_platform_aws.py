"""The fakes of AWS are what they say: tokens expire, traps spring once, hooks run out on the clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from shipper.testing.clock import FakeClock
from shipper.testing.platforms.autoscaling import FakeAutoScaling
from shipper.testing.platforms.ecs import FakeEcs
from shipper.testing.platforms.imds import (
    IDENTITY_DOCUMENT,
    META,
    SCHEDULED,
    SPOT_ACTION,
    TOKEN_HEADER,
    TOKEN_PATH,
    TTL_HEADER,
    FakeImds,
)
from shipper.testing.platforms.loopback import EVERYWHERE, page, text


def with_fake(story: Callable[[FakeImds, aiohttp.ClientSession, FakeClock], Awaitable[None]], **values: object) -> None:
    async def run() -> None:
        clock = FakeClock()
        async with FakeImds(clock=clock, **values) as imds, aiohttp.ClientSession() as session:  # type: ignore[arg-type]
            await story(imds, session, clock)

    asyncio.run(run())


async def token_of(imds: FakeImds, session: aiohttp.ClientSession, seconds: str = "60") -> tuple[int, str]:
    async with session.put(imds.url + TOKEN_PATH, headers={TTL_HEADER: seconds}) as answer:
        return answer.status, await answer.text()


async def get(imds: FakeImds, session: aiohttp.ClientSession, path: str, token: str = "") -> tuple[int, str]:
    headers = {TOKEN_HEADER: token} if token else {}
    async with session.get(imds.url + path, headers=headers) as answer:
        return answer.status, await answer.text()


def test_fake_imds_tokens_are_wanted_and_expire() -> None:
    """No token and an expired one are 401 with a page; a good one gets the item."""

    async def story(imds: FakeImds, session: aiohttp.ClientSession, clock: FakeClock) -> None:
        status, body = await get(imds, session, META + "ami-id")
        assert status == 401
        assert body.startswith("<?xml")
        _, token = await token_of(imds, session, "60")
        assert await get(imds, session, META + "ami-id", token) == (200, "ami-0a887e401f7654935")
        clock.advance(60)
        assert (await get(imds, session, META + "ami-id", token))[0] == 401

    with_fake(story)


@pytest.mark.parametrize("seconds", ["0", "21601", "", "ten", "-5"])
def test_fake_imds_refuses_a_wrong_life_of_a_token(seconds: str) -> None:
    """A TTL outside 1 to 21600 is 400."""

    async def story(imds: FakeImds, session: aiohttp.ClientSession, clock: FakeClock) -> None:
        assert (await token_of(imds, session, seconds))[0] == 400

    with_fake(story)


def test_fake_imds_lists_directories_and_tags() -> None:
    """A directory lists its children, sub-directories with a slash; tags are there only when turned on."""

    async def story(imds: FakeImds, session: aiohttp.ClientSession, clock: FakeClock) -> None:
        _, token = await token_of(imds, session)
        assert (await get(imds, session, META + "tags/instance", token))[0] == 404
        imds.set_tags({"aws:ec2launchtemplate:version": "7", "Name": "a"})
        assert (await get(imds, session, META + "tags/instance", token))[1] == "Name\naws:ec2launchtemplate:version"
        assert (await get(imds, session, META + "tags/instance/aws:ec2launchtemplate:version", token))[1] == "7"
        listed = (await get(imds, session, META, token))[1].split("\n")
        assert "ami-id" in listed
        assert "placement/" in listed
        document = json.loads((await get(imds, session, IDENTITY_DOCUMENT, token))[1])
        assert document["instanceId"] == "i-1234567890abcdef0"

    with_fake(story)


def test_fake_imds_times_are_those_of_its_clock() -> None:
    """A fixed interruption keeps its time, a sliding one does not; scheduled dates are not zero-padded."""

    async def story(imds: FakeImds, session: aiohttp.ClientSession, clock: FakeClock) -> None:
        _, token = await token_of(imds, session, "21600")
        for slides in (False, True):
            imds.interrupt(slides=slides)
            first = await get(imds, session, SPOT_ACTION, token)
            clock.advance(10)
            assert (first == await get(imds, session, SPOT_ACTION, token)) is not slides
        imds.schedule(seconds=17 * 86_400)
        assert '"NotBefore": "1 Dec 2023' in (await get(imds, session, SCHEDULED, token))[1]

    with_fake(story)


def test_fake_traps_spring_once_or_until_lifted() -> None:
    """A trap takes the place of one answer; one for all paths stays until it is lifted."""

    async def story(imds: FakeImds, session: aiohttp.ClientSession, clock: FakeClock) -> None:
        imds.version_1 = True
        imds.trap(SPOT_ACTION, text("mad"), page(500))
        assert [(await get(imds, session, SPOT_ACTION))[0] for _ in range(3)] == [200, 500, 404]
        imds.trap_always(EVERYWHERE, page(503))
        assert (await get(imds, session, META + "ami-id"))[0] == 503
        imds.trap_always(EVERYWHERE, None)
        assert (await get(imds, session, META + "ami-id"))[0] == 200

    with_fake(story)


def test_fake_ecs_protection_holds_its_limits() -> None:
    """1 to 2880 minutes; expiry on the clock; a task of no service is a failure with status 200."""

    async def run() -> None:
        clock = FakeClock()
        async with FakeEcs(clock=clock) as ecs, aiohttp.ClientSession() as session:

            async def put(**wanted: object) -> tuple[int, dict[str, dict[str, object]]]:
                async with session.put(ecs.env()["ECS_AGENT_URI"] + "/task-protection/v1/state", json=wanted) as answer:
                    return answer.status, await answer.json()

            for minutes in (0, 2881, "5"):
                status, content = await put(ProtectionEnabled=True, ExpiresInMinutes=minutes)
                assert status == 400
                assert content["error"]["Code"] == "InvalidParameterException"
            assert (await put(Enabled=True))[0] == 400
            assert (await put(ProtectionEnabled=True, ExpiresInMinutes=1))[1]["protection"]["ProtectionEnabled"] is True
            clock.advance(60)
            assert not ecs.protected()
            ecs.service = ""
            status, content = await put(ProtectionEnabled=True)
            assert (status, content["failure"]["Reason"]) == (200, "TASK_NOT_VALID")

    asyncio.run(run())


def test_fake_hooks_run_out_on_the_clock_and_heartbeats_restart_them() -> None:
    """A heartbeat gives the whole time-out again, up to a hundred times; completed or expired is a ValidationError."""

    async def run() -> None:
        clock = FakeClock()
        async with FakeAutoScaling(clock=clock) as api, aiohttp.ClientSession() as session:

            async def call(action: str) -> tuple[int, str]:
                wanted = {
                    "Action": action,
                    "AutoScalingGroupName": "checkout-asg",
                    "LifecycleHookName": "drain",
                    "InstanceId": "i-1234567890abcdef0",
                    "LifecycleActionResult": "CONTINUE",
                }
                async with session.post(api.url, data=wanted, headers={"Authorization": "x"}) as answer:
                    return answer.status, await answer.text()

            api.add_hook("drain", heartbeat=30)
            beat = "RecordLifecycleActionHeartbeat"
            assert "ValidationError" in (await call(beat))[1]
            api.terminate()
            for _ in range(99):
                clock.advance(29)
                assert (await call(beat))[0] == 200
            clock.advance(29)
            assert api.waiting()
            for _ in range(5):
                clock.advance(29)
                await call(beat)
            assert not api.waiting()
            assert (await call("CompleteLifecycleAction"))[0] == 400

    asyncio.run(run())
