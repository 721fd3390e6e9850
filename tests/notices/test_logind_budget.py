"""How much time a shutdown that logind announces leaves, where it is not logind that decides: in a unit, and in a pod."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.labels.finding import Surroundings
from shipper.notice import Notice
from shipper.notices.board import Board
from shipper.notices.budgets import Budgets
from shipper.notices.choose import Around, choose
from shipper.notices.times import Times
from shipper.testing.platforms.logind import PrivateLogind, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
PATIENCE = 30.0
UP = ("shipper_notice_source_up", {"source": "logind"})


def around(root: Path, env: dict[str, str], budgets: dict[str, float]) -> Around:
    clock = SystemClock()
    return Around(
        clock, Reporter(clock), Times(clock), surroundings=Surroundings(str(root), env), budgets=Budgets(budgets)
    )


async def told(here: Around) -> Notice:
    """What stands when the watcher that is chosen listens to a logind (longest delay 60 s) that is told to power off."""
    changed = asyncio.Event()
    board = Board(
        clock=here.clock, report=here.report, budgets=here.budgets, lead=120, changed=changed.set, flush=_nothing
    )
    with tempfile.TemporaryDirectory(prefix="logind") as directory:
        async with PrivateLogind(Path(directory), longest_delay=60) as logind, asyncio.timeout(PATIENCE):
            (watcher,) = choose(["logind"], replace(here, endpoints={"logind": logind.address}), hold=False).watchers
            task = asyncio.ensure_future(watcher.run(board))
            try:
                while not here.report.metrics.registry.get_sample_value(*UP):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.01)
                changed.clear()
                await logind.power_off()
                await changed.wait()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await watcher.aclose()
    (notice,) = board.standing()
    return notice


async def _nothing(_: float) -> bool:
    return True


def test_how_long_a_machine_lasts_after_the_delay_can_be_configured(tmp_path: Path) -> None:
    """A unit on an OpenStack machine counts on the delay and that cloud's budget, as `notices.budgets` has it."""
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "product_name").write_text("OpenStack Nova\n")
    notice = asyncio.run(told(around(tmp_path, {"INVOCATION_ID": "0" * 32}, {"openstack": 7200.0})))
    assert notice.deadline is not None
    assert 7200 < notice.deadline - time.monotonic() < 7300


def test_in_a_pod_the_delay_of_its_node_is_not_ours(tmp_path: Path) -> None:
    """The delay is the kubelet's, which ends pods within it: the budget of a node's shutdown counts."""
    notice = asyncio.run(told(around(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {})))
    assert (notice.deadline, notice.budget) == (None, "kubernetes-node")
