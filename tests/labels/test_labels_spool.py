"""What becomes of the services' spool when a life ends or an image is baked: living services are never moved away from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shipper.handoff.prepare import prepare_root
from shipper.labels.life import LifeDecision, adopt_or_begin
from shipper.labels.witness import Witness
from shipper.testing.clock import FakeClock

HERE = Witness("boot-1", "container", "aaa", {"container": "aaa"}, True)
PROCESSES = ("p1-00000000000000aa", "p2-00000000000000bb")


def begin(state: Path, witness: Witness, alive: tuple[str, ...] = ()) -> LifeDecision:
    return adopt_or_begin(str(state), witness, FakeClock(), in_use=lambda path: Path(path).name in alive)


def spool(state: Path) -> Path:
    root = state / "spool"
    prepare_root(str(root))
    for name in PROCESSES:
        (root / name).mkdir()
        (root / name / "logs-0.seg").write_text(name)
    (root / "host.json").write_text("{}")
    return root


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_another_life_in_the_same_boot_moves_the_dead_and_leaves_the_living(tmp_path: Path) -> None:
    """A container that took over a volume ships what services write now, not what those of its predecessor left."""
    first = begin(tmp_path, HERE)
    root = spool(tmp_path)
    second = begin(tmp_path, replace(HERE, value="bbb", known={"container": "bbb"}), alive=PROCESSES[:1])
    assert second.life != first.life
    assert names(root) == ["host.json", PROCESSES[0]]
    assert names(tmp_path / "set-aside" / first.life / "spool") == [PROCESSES[1]]
    assert root.stat().st_mode & 0o7777 == 0o3733


def test_another_boot_leaves_it_to_the_source_to_tell_them_apart(tmp_path: Path) -> None:
    """Services may have started, and ended, before the sidecar of the new boot did: each says in which boot it ran."""
    begin(tmp_path, HERE)
    root = spool(tmp_path)
    begin(tmp_path, replace(HERE, boot_id="boot-2", value="bbb", known={"container": "bbb"}))
    assert names(root) == ["host.json", *PROCESSES]


def test_a_spool_that_was_there_before_the_first_start_is_no_foreign_state(tmp_path: Path) -> None:
    """A baked image has an empty root, and services may have handed over before the sidecar's first start."""
    root = spool(tmp_path)
    assert begin(tmp_path, HERE).set_aside is None
    assert names(root) == ["host.json", *PROCESSES]


def test_spools_of_a_gateway_are_set_aside_as_before(tmp_path: Path) -> None:
    """What a gateway spooled there is nobody's but that gateway's; the services beside it stay."""
    first = begin(tmp_path, HERE)
    root = spool(tmp_path)
    (root / "logs").mkdir()
    begin(tmp_path, replace(HERE, value="bbb", known={"container": "bbb"}), alive=PROCESSES)
    assert names(root) == ["host.json", *PROCESSES]
    assert names(tmp_path / "set-aside" / first.life / "spool") == ["logs"]
    for name in (*PROCESSES, "host.json"):
        path = root / name
        for inner in path.iterdir() if path.is_dir() else ():
            inner.unlink()
        path.rmdir() if path.is_dir() else path.unlink()
    root.rmdir()
    (root / "logs").mkdir(parents=True)
    second = begin(tmp_path, replace(HERE, value="ccc", known={"container": "ccc"}))
    assert second.set_aside is not None
    assert not root.exists()
