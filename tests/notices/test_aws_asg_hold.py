"""An Auto Scaling group that is kept waiting while there is something to save, and told to go on when there is not."""

from __future__ import annotations

import asyncio
import builtins
import math
from typing import Any

import pytest

from shipper.testing.platforms.autoscaling import FakeAutoScaling
from shipper.testing.platforms.imds import META, FakeImds
from shipper.testing.platforms.loopback import hang_up, page, web_page
from tests.notices.asg_kit import BEAT, DONE, Scene, in_group
from tests.notices.listening import until

pytest.importorskip("botocore")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


def test_aws_hold_keeps_the_group_waiting_and_lets_it_go_on_when_empty() -> None:
    """The instance outlives its hook's time-out by heartbeats, and the group goes on when the host is empty."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain", heartbeat=60)
        await at.begin()
        await until(lambda: at.api.called(BEAT), "the first heartbeat")
        await at.passes(200)
        assert at.api.waiting() == ["drain"]
        assert 8 <= len(at.api.called(BEAT)) <= 10  # every 24 s, and the one at once
        await at.hold.release(drained=True)
        assert at.api.hooks["drain"].completed == "CONTINUE"
        beats = len(at.api.called(BEAT))
        await at.passes(100)
        assert len(at.api.called(BEAT)) == beats
        assert len(at.api.called(DONE)) == 1

    in_group(story)


def test_aws_hold_does_nothing_before_the_group_wants_the_instance() -> None:
    """A host in service costs the API no call, and a stop for another reason completes nothing."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain")
        await at.passes(30)
        await at.hold.release(drained=True)
        assert not at.api.calls

    in_group(story)


def test_aws_hold_states_the_deadline_it_knows() -> None:
    """After a heartbeat the notice carries the time at which the hook would run out."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain", heartbeat=300)
        await at.begin()
        assert at.board.left() == pytest.approx(300, abs=1)
        await at.passes(130)
        assert at.board.left() > 200

    in_group(story)


def test_aws_hold_finds_the_group_without_tags() -> None:
    """Where tags in metadata are off the API is asked for the group."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain")
        await at.begin()
        await until(lambda: at.api.called(BEAT), "a heartbeat")
        assert at.api.called("DescribeAutoScalingInstances")

    in_group(story, tags=None)


def test_aws_hold_that_was_not_drained_does_not_complete() -> None:
    """With something left on the host the group is not told to go on: that gives what is left its last chance."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain")
        await at.begin()
        await until(lambda: at.api.called(BEAT), "a heartbeat")
        await at.hold.release(drained=False)
        assert not at.api.called(DONE)
        assert any("not all is off this host" in said for said in at.said)

    in_group(story)


def test_aws_hold_released_at_once_still_completes() -> None:
    """An empty host is done before the hooks are known: the release finds them out and completes."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain")
        await at.begin()
        await at.hold.release(drained=True)
        assert at.api.hooks["drain"].completed == "CONTINUE"

    in_group(story)


def test_aws_hold_goes_on_when_throttled() -> None:
    """Throttled heartbeats are tried again soon, and the hook never runs out."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain", heartbeat=60)
        at.api.fail(BEAT, "Throttling", "Rate exceeded", times=3)
        at.api.fail("DescribeLifecycleHooks", "ServiceUnavailable", status=503, times=2)
        await at.begin()
        await at.passes(120)
        assert at.api.waiting() == ["drain"]
        assert len(at.api.called("DescribeLifecycleHooks")) == 3

    in_group(story)


def test_aws_hold_stops_when_the_action_is_gone() -> None:
    """Another program completed the hook: no more heartbeats, and the time until shut-down is short again."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain", heartbeat=60)
        await at.begin()
        await until(lambda: at.api.called(BEAT), "a heartbeat")
        at.api.hooks["drain"].completed = "CONTINUE"
        await at.passes(60)
        beats = len(at.api.called(BEAT))
        assert beats == 2
        assert at.board.left() <= 25
        await at.passes(60)
        assert len(at.api.called(BEAT)) == beats

    in_group(story)


def test_aws_hold_waits_for_an_action_that_is_about_to_begin() -> None:
    """The wish is seen before the action exists: a first ValidationError is not the end."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain", heartbeat=60)
        at.api.fail(BEAT, "ValidationError", "No active Lifecycle Action found", times=1)
        await at.begin()
        await at.passes(10)
        assert len(at.api.called(BEAT)) == 2

    in_group(story)


def test_aws_hold_respects_the_longest_time() -> None:
    """A hook of 30 s lasts a hundred times that, whatever is still unsent; the deadline says so."""

    async def story(at: Scene) -> None:
        hook = at.api.add_hook("drain", heartbeat=30)
        await at.begin()
        await until(lambda: at.api.called(BEAT), "a heartbeat")
        assert hook.begun is not None
        hook.begun -= 2_950  # as if it had been held that long
        at.api.hooks["drain"].heartbeat = 30
        await at.passes(120)
        assert not at.api.waiting()
        assert math.isfinite(at.board.deadline.at)

    in_group(story)


def test_aws_hold_with_several_hooks_completes_only_its_own() -> None:
    """All are kept waiting; the one called after Shipper is completed, the other is somebody else's."""

    async def story(at: Scene) -> None:
        at.api.add_hook("shipper-drain", heartbeat=60)
        at.api.add_hook("deregister", heartbeat=120)
        at.api.add_hook("greet", transition="autoscaling:EC2_INSTANCE_LAUNCHING")
        await at.begin()
        await at.passes(100)
        assert at.api.waiting() == ["shipper-drain", "deregister"]
        await at.hold.release(drained=True)
        assert at.api.waiting() == ["deregister"]

    in_group(story)


def test_aws_hold_with_several_hooks_of_others_completes_none() -> None:
    """None is named as ours: none is completed, and it is said."""

    async def story(at: Scene) -> None:
        at.api.add_hook("a")
        at.api.add_hook("b")
        await at.begin()
        await until(lambda: len(at.api.called(BEAT)) == 2, "heartbeats")
        await at.hold.release(drained=True)
        assert not at.api.called(DONE)
        assert any("none is named as ours" in said for said in at.said)

    in_group(story)


def test_aws_hold_of_a_named_hook_leaves_others_alone() -> None:
    """With a name given only that hook is held and completed."""

    async def story(at: Scene) -> None:
        at.api.add_hook("a")
        at.api.add_hook("b")
        await at.begin()
        await until(lambda: at.api.called(BEAT), "a heartbeat")
        await at.hold.release(drained=True)
        assert {call.parameters["LifecycleHookName"] for call in at.api.called(BEAT) + at.api.called(DONE)} == {"b"}

    in_group(story, hooks=["b"])


@pytest.mark.parametrize(
    ("action", "code", "words"),
    [
        ("DescribeLifecycleHooks", "AccessDenied", "the instance's role needs"),
        (BEAT, "AccessDenied", "the instance's role needs"),
        ("DescribeLifecycleHooks", "ValidationError", "ValidationError"),
    ],
)
def test_aws_hold_that_may_not_hold_says_so_once(action: str, code: str, words: str) -> None:
    """A missing permission is one sentence; the notice stands, the drain goes on with the time there is."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain", heartbeat=60)
        at.api.fail(action, code, times=0)
        await at.begin()
        await at.passes(60)
        assert sum(words in said for said in at.said) == 1
        assert at.board.drains
        await at.hold.release(drained=True)

    in_group(story)


def test_aws_hold_without_a_hook_or_a_group() -> None:
    """No hook: nothing is held, and that is said; the release is none."""

    async def story(at: Scene) -> None:
        await at.begin()
        await until(lambda: any("has no hook" in said for said in at.said), "it is said")
        await at.hold.release(drained=True)
        assert not at.api.called(BEAT)

    in_group(story)


def test_aws_hold_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials anywhere: one sentence, no traceback."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    async def story(at: Scene) -> None:
        at.api.add_hook("drain")
        await at.begin()
        await until(lambda: any("no credentials" in said for said in at.said), "it is said")
        await at.hold.release(drained=True)

    in_group(story)


def test_aws_hold_without_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is one sentence with the command that installs it."""
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("botocore"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)

    async def story(at: Scene) -> None:
        await at.begin()
        await until(lambda: any("ephemeral-shipper[aws]" in said for said in at.said), "it is said")
        await at.hold.release(drained=True)

    in_group(story)


@pytest.mark.parametrize("trap", [page(500), web_page(), hang_up()])
def test_aws_hold_survives_an_api_that_answers_nonsense(trap: Any) -> None:
    """Pages and closed connections are tried again; the first good answer begins the hold."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain", heartbeat=60)
        at.api.trap("/", trap, trap)
        await at.begin()
        await at.passes(20, until=lambda: at.api.called(BEAT))
        assert at.api.waiting() == ["drain"]
        assert at.api.called(BEAT)

    in_group(story)


def test_aws_hold_ends_when_the_group_takes_its_wish_back() -> None:
    """InService again: no more heartbeats; a later wish begins anew."""

    async def story(at: Scene) -> None:
        at.api.add_hook("drain", heartbeat=60)
        await at.begin()
        await until(lambda: at.api.called(BEAT), "a heartbeat")
        at.imds.set_target_state("InService")
        await at.passes(6)
        assert not at.board.drains
        beats = len(at.api.called(BEAT))
        await at.passes(60)
        assert len(at.api.called(BEAT)) == beats
        await at.begin()
        await at.passes(2, until=lambda: len(at.api.called(BEAT)) > beats)
        assert len(at.api.called(BEAT)) == beats + 1

    in_group(story)


def test_aws_hold_uses_the_instance_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore takes the role's credentials from the same metadata service that we ask."""
    from shipper.notices.asg_api import AutoScaling

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    async def run() -> None:
        async with FakeImds(role="checkout") as imds, FakeAutoScaling() as api:
            api.add_hook("drain")

            def ask() -> list[str]:
                client = AutoScaling(region="us-east-1", endpoint=api.url, imds_endpoint=imds.url)
                try:
                    return [hook.name for hook in client.hooks_of("checkout-asg")]
                finally:
                    client.close()

            assert await asyncio.to_thread(ask) == ["drain"]
            assert imds.count(META + "iam/security-credentials/checkout")
            assert "AKIAFAKEFAKEFAKEFAKE" in api.asked[0].headers["Authorization"]

    asyncio.run(run())
