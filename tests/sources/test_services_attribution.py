"""What a dead process handed over goes to the life it ran in, and to no other."""

from __future__ import annotations

import os
from pathlib import Path

from shipper.events import Reporter
from shipper.handoff.prepare import prepare_root
from shipper.sources.services.attribution import Claimant, attribute
from shipper.testing.clock import FakeClock
from tests.sources.services_kit import BOOT, Service

NOW = "5e2d4b5a-0000-4000-8000-000000000002"
OLDER = "5e2d4b5a-0000-4000-8000-000000000000"


def spool(tmp_path: Path) -> Path:
    """An empty root."""
    root = tmp_path / "spool"
    assert not prepare_root(str(root)) or root.is_dir()
    return root


def dead(root: Path, boot: str) -> str:
    """The directory of a process of that boot that is gone; its name."""
    service = Service(root, boot=boot, lives=False)
    service.log("said")
    return service.directory.name


def moved(root: Path, claimants: list[Claimant], boot: str = NOW) -> int:
    """How many went to a claimant."""
    return attribute(str(root), claimants, boot, Reporter(FakeClock()))


def test_the_boot_in_the_first_frame_decides(tmp_path: Path) -> None:
    """Each of two earlier lives gets its own; what is of this boot, or of a boot nobody lived in, stays."""
    root = spool(tmp_path)
    first, second, present, strange = (dead(root, boot) for boot in (OLDER, BOOT, NOW, "another"))
    claimants = [Claimant(OLDER, (), str(tmp_path / "a")), Claimant(BOOT, (), str(tmp_path / "b"))]
    assert moved(root, claimants) == 2
    assert (os.listdir(tmp_path / "a"), os.listdir(tmp_path / "b")) == ([first], [second])
    assert {present, strange} <= set(os.listdir(root))
    assert moved(root, claimants) == 0, "a second look finds nothing"


def test_where_two_lives_share_a_boot_the_ledger_decides(tmp_path: Path) -> None:
    """A process the earlier life's ledger knows is its own; one that nobody ever saw is the new life's."""
    root = spool(tmp_path)
    known, unseen = dead(root, NOW), dead(root, NOW)
    assert moved(root, [Claimant(NOW, {known}, str(tmp_path / "a"))]) == 1
    assert os.listdir(tmp_path / "a") == [known]
    assert unseen in os.listdir(root)


def test_who_lives_and_what_says_nothing_stays(tmp_path: Path) -> None:
    """A living process is never moved, nor a directory in which no frame names a boot."""
    root = spool(tmp_path)
    living = Service(root, boot=BOOT)
    living.log("said")
    mute = Service(root, boot=BOOT, lives=False)
    (root / "p1-0123456789abcdef").symlink_to(tmp_path)
    assert moved(root, [Claimant(BOOT, (), str(tmp_path / "a"))]) == 0
    assert {living.directory.name, mute.directory.name} <= set(os.listdir(root))
    living.die()


def test_without_a_root_there_is_nothing_to_do(tmp_path: Path) -> None:
    """A host without services has none."""
    assert moved(tmp_path / "none", [Claimant(BOOT, (), str(tmp_path / "a"))]) == 0
