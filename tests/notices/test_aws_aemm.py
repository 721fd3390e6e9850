"""The watchers against Amazon EC2 Metadata Mock, which is Amazon's own idea of the metadata service.

Skipped where its binary is not: ``go install github.com/aws/amazon-ec2-metadata-mock/cmd/ec2-metadata-mock@latest``, and put it
on the PATH or name it in EC2_METADATA_MOCK.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Awaitable, Callable

import pytest

from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.labels.metadata import NoMetadata
from shipper.notice import Notice, NoticeKind
from shipper.notices.asg import LifecycleLook
from shipper.notices.board import Board
from shipper.notices.budgets import Budgets
from shipper.notices.ec2 import Ec2Watcher
from shipper.notices.ec2_rebalance import RebalanceLook
from shipper.notices.ec2_scheduled import ScheduledLook
from shipper.notices.ec2_spot import SpotLook
from shipper.notices.imds import META, Imds
from shipper.notices.times import Times
from tests.notices.listening import at_work, until

MOCK = os.environ.get("EC2_METADATA_MOCK") or shutil.which("ec2-metadata-mock")
pytestmark = pytest.mark.skipif(not MOCK, reason="the binary ec2-metadata-mock (Go) is not installed")


def with_mock(arguments: list[str], story: Callable[[Imds, Board], Awaitable[None]]) -> None:
    async def run() -> None:
        assert MOCK
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        mock = await asyncio.create_subprocess_exec(
            MOCK,
            *arguments,
            "--imdsv2",
            "--hostname",
            "127.0.0.1",
            "--port",
            str(port),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        clock = SystemClock()
        imds = Imds(clock=clock, endpoint=f"http://127.0.0.1:{port}")

        async def flush(timeout: float) -> bool:
            return True

        board = Board(
            clock=clock, report=Reporter(clock), budgets=Budgets(), lead=120.0, changed=lambda: None, flush=flush
        )
        times = Times(clock)
        looks = (SpotLook(clock=clock, times=times), RebalanceLook(), LifecycleLook(), ScheduledLook(times=times))
        try:
            await _up(imds)
            async with at_work(Ec2Watcher(clock=clock, imds=imds, looks=looks), board):
                await story(imds, board)
        finally:
            mock.terminate()
            await mock.wait()

    asyncio.run(run())


async def _up(imds: Imds) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await imds.text(META + "instance-id")
                return
            except NoMetadata:
                await asyncio.sleep(0.02)


def only(board: Board, source: str) -> Notice:
    (notice,) = [one for one in board.standing() if one.source == source]
    return notice


def test_aws_mock_all_at_once() -> None:
    """With everything mocked at once each source says its own, with the token that the mock insists on."""

    async def story(imds: Imds, board: Board) -> None:
        await until(lambda: len(board.standing()) == 4, "four notices")
        assert only(board, "ec2-spot").kind is NoticeKind.IMMINENT
        assert only(board, "ec2-rebalance").kind is NoticeKind.ADVISORY
        assert only(board, "ec2-asg").budget == "ec2-asg"
        assert only(board, "ec2-scheduled").kind is NoticeKind.SCHEDULED
        assert not board.sources_unknown()
        assert await imds.text(META + "ami-id") == "ami-0a887e401f7654935"

    with_mock([], story)


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_aws_mock_spot(action: str) -> None:
    """Each Spot action is understood, and the items the mock does not serve are nothing, not unknown."""

    async def story(imds: Imds, board: Board) -> None:
        await until(lambda: board.imminent(), "the interruption")
        assert action in only(board, "ec2-spot").evidence
        left = board.deadline.at - SystemClock().monotonic()
        assert left <= 5 if action == "hibernate" else 60 < left <= 121

    with_mock(["spot", "--action", action], story)


@pytest.mark.parametrize("code", ["system-reboot", "instance-retirement", "system-maintenance"])
def test_aws_mock_scheduled_events(code: str) -> None:
    """Its events, with dates such as ``2 Jan 2006 15:04:05 GMT``, are read; a cancelled one is nothing."""

    async def story(imds: Imds, board: Board) -> None:
        await until(lambda: board.standing(), "the event")
        assert code in only(board, "ec2-scheduled").evidence

    with_mock(["events", "--code", code, "--state", "active", "--not-before", "2046-01-02T15:04:05Z"], story)
