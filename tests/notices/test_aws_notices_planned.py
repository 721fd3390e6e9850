"""What an Auto Scaling group wants and what EC2 has planned, as they stand in an instance's metadata service."""

from __future__ import annotations

import json

import pytest

from shipper.notice import NoticeKind
from shipper.testing.platforms.imds import SCHEDULED, TARGET_STATE
from shipper.testing.platforms.loopback import Trap, huge, page, text, web_page
from tests.notices.ec2_kit import Instance, group, on_ec2, scheduled


def test_aws_group_wants_the_instance_gone_and_takes_it_back() -> None:
    """Terminated drains by the group's budget; InService again takes it back."""

    async def story(at: Instance) -> None:
        at.imds.set_target_state("InService")
        await at.look()
        assert not at.board.told
        at.imds.set_target_state("Terminated")
        await at.look(3)
        assert len(at.board.told) == 1
        assert at.only.budget == "ec2-asg"
        assert at.only.ends_life
        at.imds.set_target_state("InService")
        await at.look()
        assert not at.board.standing()

    on_ec2(group, story)


@pytest.mark.parametrize("state", ["Warmed:Stopped", "Warmed:Hibernated"])
def test_aws_group_takes_the_instance_back_into_the_warm_pool(state: str) -> None:
    """After service it drains, and no life ends; on the way from launch into the pool it is advice only."""

    async def story(at: Instance) -> None:
        at.imds.set_target_state(state)
        await at.look()
        assert at.only.kind is NoticeKind.ADVISORY
        at.imds.set_target_state("InService")
        await at.look()
        at.imds.set_target_state(state)
        await at.look()
        assert at.board.drains
        assert not at.only.ends_life

    on_ec2(group, story)


@pytest.mark.parametrize("state", ["Standby", "Detached", "Warmed:Running"])
def test_aws_group_states_in_which_the_instance_lives_on(state: str) -> None:
    """States that end nothing are no notices."""

    async def story(at: Instance) -> None:
        at.imds.set_target_state(state)
        await at.look()
        assert not at.board.told
        assert not at.board.complaints

    on_ec2(group, story)


@pytest.mark.parametrize("trap", [text("Whatever"), web_page(), text("a\nb"), page(500), huge(1 << 20)])
def test_aws_group_state_that_nobody_knows_is_unknown(trap: Trap) -> None:
    """What is no lifecycle state is said, and neither begins nor ends anything."""

    async def story(at: Instance) -> None:
        at.imds.trap(TARGET_STATE, trap)
        await at.look()
        assert at.board.complaints
        assert not at.board.told

    on_ec2(group, story)


# -- scheduled events --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["instance-retirement", "instance-stop", "instance-reboot", "system-reboot"])
def test_aws_scheduled_event_drains_when_its_time_is_near(code: str) -> None:
    """An event days ahead is known and drains nothing; two minutes before its time it does."""

    async def story(at: Instance) -> None:
        at.imds.schedule(code, seconds=600)
        await at.look()
        assert at.only.kind is NoticeKind.SCHEDULED
        assert not at.board.drains
        await at.look(8)
        assert at.board.drains

    on_ec2(scheduled, story)


def test_aws_scheduled_maintenance_is_advice() -> None:
    """A blip of network or power ends nothing; nor does an event that nobody knows."""

    async def story(at: Instance) -> None:
        at.imds.schedule("system-maintenance", event_id="a")
        at.imds.schedule("instance-teleport", event_id="b")
        await at.look()
        assert {one.kind for one in at.board.standing()} == {NoticeKind.ADVISORY}

    on_ec2(scheduled, story)


@pytest.mark.parametrize("how", ["state", "description", "list", "404", "completed"])
def test_aws_scheduled_event_is_cancelled(how: str) -> None:
    """However EC2 says that an event is off, the notice goes; others stay."""

    async def story(at: Instance) -> None:
        at.imds.schedule(event_id="a", seconds=60)
        await at.look()
        assert at.board.drains
        if how in ("state", "completed"):
            at.imds.schedule(event_id="a", seconds=60, state="canceled" if how == "state" else "completed")
        elif how == "description":
            at.imds.schedule(event_id="a", seconds=60, description="[Canceled] it was")
        elif how == "list":
            at.imds.no_scheduled()
        else:
            at.imds.set(SCHEDULED, None)
        await at.look()
        assert not at.board.standing()

    on_ec2(scheduled, story)


def test_aws_scheduled_event_is_moved() -> None:
    """The same event with another time is the same notice with another time."""

    async def story(at: Instance) -> None:
        at.imds.schedule(seconds=100)
        await at.look()
        assert at.board.drains
        at.imds.schedule(seconds=86_400)
        await at.look()
        assert len(at.board.standing()) == 1
        assert not at.board.drains

    on_ec2(scheduled, story)


def test_aws_scheduled_events_with_nonsense_among_them() -> None:
    """What can be read counts, what cannot is said, and nothing is taken back for want of it."""

    async def story(at: Instance) -> None:
        at.imds.schedule(event_id="a", seconds=60)
        await at.look()
        at.imds.schedule(event_id="b", seconds=600)
        half = [7, None, {"Code": "x"}, *(one for one in at.imds.scheduled() if one["EventId"] == "b")]
        at.imds.set(SCHEDULED, json.dumps(half))
        await at.look()
        assert at.board.complaints
        assert {one.key for one in at.board.standing()} == {"a", "b"}

    on_ec2(scheduled, story)


def test_aws_scheduled_event_without_a_readable_time() -> None:
    """It stands and is said, but drains nothing by itself."""

    async def story(at: Instance) -> None:
        event = {"Code": "instance-stop", "State": "active", "EventId": "a", "NotBefore": "32 Foo 2026"}
        at.imds.set(SCHEDULED, json.dumps([event]))
        await at.look()
        assert "32 Foo" in at.only.evidence
        assert not at.board.drains

    on_ec2(scheduled, story)


@pytest.mark.parametrize(
    "trap", [text("{}"), text("7"), text("["), web_page(), page(500), huge(1 << 20), text("[[]]" * 40)]
)
def test_aws_scheduled_mad_lists_take_nothing_back(trap: Trap) -> None:
    """A list that is none is unknown; what was said stands."""

    async def story(at: Instance) -> None:
        at.imds.schedule(seconds=60)
        await at.look()
        at.imds.trap(SCHEDULED, trap)
        await at.look()
        assert at.board.complaints
        assert at.board.drains

    on_ec2(scheduled, story)


# -- all together ------------------------------------------------------------------------------------------------------
