"""Where EC2 and ECS are listened to, told from DMI and the environment alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.events import Reporter
from shipper.labels.finding import Surroundings
from shipper.notices.choose import Around, Platform, choose
from shipper.notices.times import Times
from shipper.testing.clock import FakeClock

TASK = {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/abc", "ECS_AGENT_URI": "http://169.254.170.2/api/abc"}


def chosen(root: Path, env: dict[str, str], watch: list[str] | None = None, *, hold: bool = True) -> Platform:
    async def run() -> Platform:
        clock = FakeClock()
        around = Around(clock, Reporter(clock), Times(clock), Surroundings(str(root), env))
        platform = choose(watch or ["auto"], around, hold=hold)
        for part in (*platform.watchers, *platform.holds):
            await part.aclose()
        return platform

    return asyncio.run(run())


def names(platform: Platform) -> tuple[set[str], set[str]]:
    """Names of watchers and holds that belong to AWS."""
    ours = {"ec2", "ecs", "ec2-asg", "ecs-protection"}
    return {one.name for one in platform.watchers} & ours, {one.name for one in platform.holds} & ours


@pytest.fixture
def nitro(tmp_path: Path) -> Path:
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "sys_vendor").write_text("Amazon EC2\n")
    (dmi / "board_asset_tag").write_text("i-1234567890abcdef0\n")
    return tmp_path


def test_aws_machine_is_listened_to_and_its_group_held(nitro: Path) -> None:
    """An EC2 machine by its DMI has its watcher and its hold; without leave to hold only the watcher."""
    assert names(chosen(nitro, {})) == ({"ec2"}, {"ec2-asg"})
    assert names(chosen(nitro, {}, hold=False)) == ({"ec2"}, set())


def test_aws_elsewhere_nothing_of_it_is_listened_to(tmp_path: Path) -> None:
    """A host that is neither has neither, and nothing is asked to find out."""
    assert names(chosen(tmp_path, {})) == (set(), set())


def test_aws_metadata_that_is_forbidden_is_not_asked(nitro: Path) -> None:
    """AWS_EC2_METADATA_DISABLED leaves EC2 out."""
    assert names(chosen(nitro, {"AWS_EC2_METADATA_DISABLED": "true"})) == (set(), set())


def test_aws_task_on_a_machine_has_both_clocks(nitro: Path) -> None:
    """A task on an EC2 machine listens to both; one of Fargate has no metadata service of a machine."""
    assert names(chosen(nitro, {**TASK, "AWS_EXECUTION_ENV": "AWS_ECS_EC2"}))[0] == {"ec2", "ecs"}
    assert names(chosen(nitro, {**TASK, "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"})) == ({"ecs"}, {"ecs-protection"})


def test_aws_function_is_no_machine(nitro: Path) -> None:
    """Lambda looks like an EC2 machine and is none."""
    assert "ec2" not in names(chosen(nitro, {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.11"}))[0]


def test_aws_task_that_is_named_but_not_there(tmp_path: Path) -> None:
    """``notices.watch: [ecs]`` outside a task is left out with a sentence."""
    assert names(chosen(tmp_path, {}, ["ecs"])) == (set(), set())
