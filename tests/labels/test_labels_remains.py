"""When what an earlier life left is shipped as its own, where it lies meanwhile, and what a volume of its own is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.labels.finding import Surroundings
from shipper.labels.life import Adopt, LifeDecision, LifeRecord, adopt_or_begin
from shipper.labels.machine import boot_time_ns
from shipper.labels.remains import delete, earlier_lives, set_aside
from shipper.labels.volume import own_volume
from shipper.labels.witness import KINDS, Witness, same_host
from shipper.testing.clock import FakeClock


def vm(boot: str = "boot-1", **known: str) -> Witness:
    """A machine's witnesses."""
    known = {"machine": "m", **known}
    kind = next(kind for kind in KINDS if kind in known)
    return Witness(boot, kind, known[kind], known)


def container(boot: str = "boot-1", **known: str) -> Witness:
    """A container's witnesses."""
    kind = next((kind for kind in KINDS if kind in known), "")
    return Witness(boot, kind, known.get(kind, ""), known, in_container=True)


@pytest.mark.parametrize(
    ("old", "new", "volume", "same"),
    [
        (vm(), vm("boot-2"), False, False),  # images share the machine-id
        (vm(), vm("boot-2"), True, False),  # and may have come with several disks
        (vm(dmi="d"), vm("boot-2", dmi="d"), False, True),  # a reboot
        (vm(instance="i"), vm("boot-2", instance="i"), False, True),
        (vm(explicit="web-1"), vm("boot-2", explicit="web-1"), False, True),
        (vm(explicit="web-1", dmi="a"), vm("boot-2", explicit="web-1", dmi="b"), False, False),  # baked with its name
        (vm(dmi="d"), vm("boot-2", dmi="d", machine="other"), False, False),
        (vm(dmi="d"), vm("boot-2", dmi="d", instance="i"), False, True),  # now it sees more
        (vm(dmi="d"), container("boot-2", dmi="d", pod="p"), True, False),
        (container(pod="p"), container("boot-2", pod="q"), False, False),  # an emptied overlay with a builder's remains
        (container(pod="p"), container("boot-2", pod="q"), True, True),  # the pod before, on the same volume
        (container(container="a"), container(container="b"), True, True),
        (container(container="a"), container("boot-2", container="a"), False, True),  # started again after a reboot
        (container(hostname="app"), container("boot-2", hostname="app"), False, False),
        (container(explicit="web-0"), container("boot-2", explicit="web-1"), True, False),
        (container(explicit="web-0", pod="p"), container("boot-2", explicit="web-0", pod="q"), True, True),
        (container(explicit="web-0"), container("boot-2", explicit="web-0"), False, False),
    ],
)
def test_a_host_is_recognised_over_a_boot(old: Witness, new: Witness, volume: bool, same: bool) -> None:
    """All that is known to both agrees and something proves it; a container is also known by its volume."""
    assert same_host(old, new, own_volume=volume)[0] is same


def two_lives(
    directory: Path, old: Witness, new: Witness, *, adopt: Adopt = "auto", volumes: tuple[bool, bool] = (False, False)
) -> tuple[LifeDecision, LifeDecision]:
    """A life with something in it, and the next one on the same disk."""
    first = adopt_or_begin(str(directory), old, FakeClock(), own_volume=volumes[0])
    (directory / "ledger.db").write_text("ledger")
    (directory / "spool").mkdir(mode=0o1733)
    (directory / "spool").chmod(0o1733)
    return first, adopt_or_begin(str(directory), new, FakeClock(), adopt=adopt, own_volume=volumes[1])


def test_after_a_reboot_the_earlier_life_lies_in_remains(tmp_path: Path) -> None:
    """Ledger and life move; the root of the hand-off stays, for services live in it."""
    first, second = two_lives(tmp_path, vm(dmi="d"), vm("boot-2", dmi="d"))
    assert (second.resumed, second.set_aside) == (False, None)
    assert second.remains == str(tmp_path / "remains" / first.life)
    assert set(os.listdir(second.remains)) == {"ledger.db", "life.json"}
    assert (tmp_path / "spool").is_dir()
    assert first.life in second.reason
    [earlier], unknown = earlier_lives(str(tmp_path), str(tmp_path / "spool"))
    assert (earlier.life, earlier.directory, unknown) == (first.life, second.remains, [])
    assert earlier.spool == os.path.join(second.remains, "spool")


@pytest.mark.parametrize(
    ("adopt", "new", "adopted"), [("never", vm("b", dmi="d"), False), ("always", vm("b", dmi="other"), True)]
)
def test_the_setting_decides_over_the_witnesses(tmp_path: Path, adopt: Adopt, new: Witness, adopted: bool) -> None:
    """``never`` sets aside what is surely ours, ``always`` ships what is surely not."""
    _, second = two_lives(tmp_path, vm(dmi="d"), new, adopt=adopt)
    assert (second.remains is not None) is adopted
    assert (second.set_aside is None) is adopted
    assert f"adopt: {adopt}" in second.reason


def test_a_volume_counts_only_if_the_earlier_life_lay_on_one_too(tmp_path: Path) -> None:
    """An image's VOLUME is filled from the image: what its builder left there was not on a volume when it was written."""
    (tmp_path / "baked").mkdir()
    (tmp_path / "pod").mkdir()
    old, new = container(container="a"), container(container="b")
    assert two_lives(tmp_path / "baked", old, new, volumes=(False, True))[1].set_aside is not None
    assert two_lives(tmp_path / "pod", old, new, volumes=(True, True))[1].remains is not None


def test_what_a_gateway_left_is_set_aside(tmp_path: Path) -> None:
    """Its spool belongs to no life of a host."""
    adopt_or_begin(str(tmp_path), vm(dmi="d"), FakeClock())
    (tmp_path / "spool" / "logs").mkdir(parents=True)
    decision = adopt_or_begin(str(tmp_path), vm("boot-2", dmi="d"), FakeClock())
    assert decision.set_aside is not None
    assert "a gateway left it" in decision.reason


def test_several_lives_wait_oldest_first_and_deleting_survives_a_kill(tmp_path: Path) -> None:
    """Deleting begins with a rename; what a kill left of it is removed at the next look."""
    clock = FakeClock()
    for number in range(3):
        adopt_or_begin(str(tmp_path), vm(f"boot-{number}", dmi="d"), clock)
        clock.advance(60)
    lives, _ = earlier_lives(str(tmp_path), str(tmp_path / "spool"))
    assert [life.record.boot_id for life in lives] == ["boot-0", "boot-1"]
    os.rename(lives[0].directory, tmp_path / "remains" / f".done-{lives[0].life}")  # killed in the middle
    [left], _ = earlier_lives(str(tmp_path), str(tmp_path / "spool"))
    assert left.life == lives[1].life
    delete(left)
    assert os.listdir(tmp_path / "remains") == []


def test_remains_of_nobody_are_told_apart_and_can_be_set_aside(tmp_path: Path) -> None:
    """A directory whose life cannot be read is never shipped and never deleted."""
    (tmp_path / "remains" / "x").mkdir(parents=True)
    (tmp_path / "remains" / "x" / "life.json").write_text("{")
    assert earlier_lives(str(tmp_path), str(tmp_path / "spool")) == ([], [str(tmp_path / "remains" / "x")])
    assert set_aside(str(tmp_path), str(tmp_path / "remains" / "x")) == str(tmp_path / "set-aside" / "x")


def test_a_record_of_an_older_version_lay_on_no_volume(tmp_path: Path) -> None:
    """What life.json does not say is not assumed."""
    decision = adopt_or_begin(str(tmp_path), vm(), FakeClock(), own_volume=True)
    raw = (tmp_path / "life.json").read_bytes()
    assert LifeRecord.parse(raw).own_volume
    assert not LifeRecord.parse(raw.replace(b"own_volume", b"other_key")).own_volume
    assert decision.run == 1


MOUNTS = """\
22 1 0:20 / / rw - overlay overlay rw
30 22 0:40 / /tmp rw - tmpfs tmpfs rw
31 22 8:1 /var/lib/kubelet/x /var/lib/shipper rw,relatime shared:1 - ext4 /dev/sda1 rw
32 22 0:20 /layers /var/lib/layer rw - overlay overlay rw
33 31 0:50 / /var/lib/shipper/mem rw - tmpfs tmpfs rw
34 22 8:2 / /data\\040set rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/var/lib/shipper", True),
        ("/var/lib/shipper/state", True),
        ("/var/lib/shipperx", False),
        ("/var/lib/shipper/mem/x", False),
        ("/var/lib/layer", False),
        ("/tmp/state", False),
        ("/data set/shipper", True),
        ("/srv", False),
    ],
)
def test_a_volume_of_its_own_is_a_mount_that_no_image_brings(tmp_path: Path, path: str, own: bool) -> None:
    """Neither the root file system nor layers of an image nor memory count."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)
    assert own_volume(Surroundings(str(tmp_path), {}), path) is own


@pytest.mark.parametrize("text", ["", "garbage", "1 2 3 - ext4", "22 1 8:1 / / rw - ext4 /dev/sda1 rw"])
def test_where_mounts_cannot_be_told_there_is_no_volume(tmp_path: Path, text: str) -> None:
    """Nothing is taken for a volume because a table could not be read."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(text)
    assert not own_volume(Surroundings(str(tmp_path), {}), "/var/lib/shipper")


@pytest.mark.parametrize(("text", "seconds"), [("cpu 1\nbtime 1700000000\n", 1_700_000_000), ("btime x\n", 0), ("", 0)])
def test_the_boot_time_is_the_kernels(tmp_path: Path, text: str, seconds: int) -> None:
    """Read from /proc/stat; 0 where it does not say."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(text)
    assert boot_time_ns(Surroundings(str(tmp_path), {})) == seconds * 10**9
