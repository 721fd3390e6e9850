"""Which earlier state is ours, and what happens to state that is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.labels.life import LifeRecord, adopt_or_begin
from shipper.labels.witness import KINDS, Witness, same_life, witness
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
    ("old", "new", "same"),
    [
        (vm(), vm(), True),
        (vm(), vm("boot-2"), False),
        (vm(machine="a"), vm(machine="b"), False),
        (vm(dmi="a"), vm(dmi="b"), False),
        (vm(), vm(dmi="b"), True),  # now run as root: it sees more
        (vm(""), vm(""), False),  # a machine-id alone proves nothing
        (vm("", dmi="d"), vm("", dmi="d"), True),
        (vm("", instance="i"), vm("boot", instance="i"), True),
        (vm(explicit="a"), vm(explicit="b"), False),
        (vm(explicit="a"), vm("boot-2", explicit="a"), False),
        (vm(explicit="a", machine="x"), vm(explicit="a", machine="y"), True),  # stated beats detected
        (container(container="a"), container(container="a"), True),
        (container(container="a"), container(container="b"), False),  # same kernel, same boot id
        (container(hostname="a"), container(hostname="b"), False),
        (container(machine="m"), container(machine="m"), False),  # boot id and base image are shared by all
        (container(dmi="d"), container(dmi="d"), False),  # so is the hardware
        (container(pod="p", container="a"), container(pod="p", container="b"), True),  # a restarted container
        (container("boot-1", pod="p"), container("boot-2", pod="p"), True),  # the node's boot never decides
        (container(pod="p"), container(pod="q"), False),
        (container(pod="p", explicit="web-0"), container(pod="q", explicit="web-0"), False),
        (container(task="t"), container(task="t"), True),
        (vm(), container(container="a", machine="m"), False),  # an image that was a machine's disk
    ],
)
def test_a_life_is_recognised_by_its_witnesses(old: Witness, new: Witness, same: bool) -> None:
    """All that both sides know must agree, and one besides the machine-id must be among it."""
    assert same_life(old, new)[0] is same


_WITNESSES = st.builds(
    lambda boot, known, inside: Witness(boot, next(iter(known), ""), next(iter(known.values()), ""), known, inside),
    st.sampled_from(["", "b1", "b2"]),
    st.dictionaries(st.sampled_from(KINDS), st.sampled_from(["x", "y"])),
    st.booleans(),
)


@given(_WITNESSES, _WITNESSES)
def test_nothing_is_adopted_without_a_common_proof(old: Witness, new: Witness) -> None:
    """Whatever is known: adopting demands that something besides the machine-id is known to both and agrees."""
    if same_life(old, new)[0]:
        common = [
            kind
            for kind in KINDS[:-1]
            if old.known.get(kind) is not None and old.known.get(kind) == new.known.get(kind)
        ]
        assert common or (old.boot_id and old.boot_id == new.boot_id and not new.in_container)


def test_a_first_start_begins_a_life_and_a_second_resumes_it(tmp_path: Path) -> None:
    """Life and birth stay, runs are counted, the file is private."""
    clock = FakeClock()
    first = adopt_or_begin(str(tmp_path), vm(), clock)
    clock.advance(60)
    second = adopt_or_begin(str(tmp_path), vm(), clock)
    assert (first.resumed, first.run, second.resumed, second.run) == (False, 1, True, 2)
    assert (second.life, second.born_ns) == (first.life, first.born_ns)
    assert first.set_aside is second.set_aside is None
    assert os.stat(tmp_path / "life.json").st_mode & 0o777 == 0o600


def test_foreign_state_is_set_aside_whole_and_a_life_begins(tmp_path: Path) -> None:
    """Ledger, spool and life move; quarantine and what is not ours stay; nothing is deleted."""
    clock = FakeClock()
    first = adopt_or_begin(str(tmp_path), vm(), clock)
    for name in ("ledger.db", "ledger.db-wal", "ledger.db.damaged-1"):
        (tmp_path / name).write_text(name)
    for name in ("spool", "account", "quarantine", "lost+found"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    second = adopt_or_begin(str(tmp_path), vm("boot-2"), clock)
    assert not second.resumed
    assert second.life != first.life
    assert second.set_aside == str(tmp_path / "set-aside" / first.life)
    assert "another boot id" in second.reason
    assert set(os.listdir(second.set_aside)) == {
        "ledger.db",
        "ledger.db-wal",
        "ledger.db.damaged-1",
        "account",
        "spool",
        "life.json",
    }
    assert (tmp_path / "set-aside" / first.life / "spool" / "x").read_text() == "spool"
    assert set(os.listdir(tmp_path)) == {"life.json", "quarantine", "lost+found", "set-aside"}
    assert adopt_or_begin(str(tmp_path), vm("boot-2"), clock).resumed


def test_setting_aside_goes_on_after_a_crash_in_the_middle(tmp_path: Path) -> None:
    """life.json moves last, so a second attempt finds the same life and the same place."""
    first = adopt_or_begin(str(tmp_path), vm(), FakeClock())
    half = tmp_path / "set-aside" / first.life
    half.mkdir(parents=True)
    (half / "ledger.db").write_text("moved before the crash")
    (tmp_path / "spool").mkdir()
    (tmp_path / "ledger.db").write_text("a second one is not written over the first")
    second = adopt_or_begin(str(tmp_path), vm("boot-2"), FakeClock())
    assert second.set_aside == str(half)
    assert set(os.listdir(half)) == {"ledger.db", "ledger.db.1", "spool", "life.json"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 2}', b"\xff", b"null", b"[" * 60_000, b"{" + b"x" * 100_000],
)
def test_a_damaged_life_file_sets_the_state_aside(tmp_path: Path, content: bytes) -> None:
    """Nobody can tell whose the state is, so it is not shipped as ours."""
    (tmp_path / "life.json").write_bytes(content)
    (tmp_path / "ledger.db").write_text("x")
    decision = adopt_or_begin(str(tmp_path), vm(), FakeClock())
    assert not decision.resumed
    assert decision.set_aside is not None
    assert set(os.listdir(decision.set_aside)) == {"life.json", "ledger.db"}
    assert "damaged" in decision.reason


def test_a_life_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Neither read nor written through: the link is set aside and its target untouched."""
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    state = tmp_path / "state"
    state.mkdir()
    (state / "life.json").symlink_to(target)
    decision = adopt_or_begin(str(state), vm(), FakeClock())
    assert not decision.resumed
    assert target.read_text() == "mine"
    assert not (state / "life.json").is_symlink()


def test_state_without_a_life_file_is_set_aside(tmp_path: Path) -> None:
    """A ledger that nobody signed could be anybody's."""
    (tmp_path / "ledger.db").write_text("x")
    decision = adopt_or_begin(str(tmp_path), vm(), FakeClock())
    assert decision.set_aside is not None
    assert "no life.json" in decision.reason


def test_a_gateway_keeps_what_it_has_accepted(tmp_path: Path) -> None:
    """Its spool was acknowledged to other hosts: another machine, or a damaged life.json, must not put it aside."""
    clock = FakeClock()
    first = adopt_or_begin(str(tmp_path), vm(), clock, role="gateway")
    (tmp_path / "spool").mkdir()
    moved = adopt_or_begin(str(tmp_path), vm("boot-9", machine="other"), clock, role="gateway")
    assert (moved.life, moved.resumed, moved.run) == (first.life, True, 2)
    (tmp_path / "life.json").write_text("{")
    damaged = adopt_or_begin(str(tmp_path), vm(), clock, role="gateway")
    assert not damaged.resumed
    assert damaged.set_aside is not None
    assert os.listdir(damaged.set_aside) == ["life.json"]
    assert (tmp_path / "spool").is_dir()


def test_witnesses_seen_later_are_remembered(tmp_path: Path) -> None:
    """A run that may read the hardware's UUID adds it; later runs are held against it."""
    adopt_or_begin(str(tmp_path), vm(), FakeClock())
    assert adopt_or_begin(str(tmp_path), vm(dmi="d"), FakeClock()).resumed
    record = LifeRecord.parse((tmp_path / "life.json").read_bytes())
    assert record.known == {"machine": "m", "dmi": "d"}
    assert not adopt_or_begin(str(tmp_path), vm(dmi="e"), FakeClock()).resumed


def test_confidential_ids_are_not_on_disk(tmp_path: Path) -> None:
    """life.json holds hashes of machine-id and hardware UUID, never the ids."""
    root = tmp_path / "root"
    files = {
        "etc/machine-id": "51df0b4bc3b04c9780e299b98ca373b8",
        "sys/class/dmi/id/product_uuid": "4c4c4544-0050-3510-8052-b4c04f4a4e32",
        "proc/sys/kernel/random/boot_id": "be0fc41a-2c04-46b3-b32f-02793f05bdfa",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    found = witness(str(root), {})
    assert set(found.known) == {"machine", "dmi"}
    assert (found.kind, found.boot_id) == ("dmi", files["proc/sys/kernel/random/boot_id"])
    state = tmp_path / "state"
    state.mkdir()
    adopt_or_begin(str(state), found, FakeClock())
    text = (state / "life.json").read_text().replace("-", "")
    assert files["etc/machine-id"] not in text
    assert files["sys/class/dmi/id/product_uuid"].replace("-", "") not in text
    assert json.loads((state / "life.json").read_text())["witness"]["kind"] == "dmi"


def test_a_stated_host_beats_what_is_detected(tmp_path: Path) -> None:
    """SHIPPER_HOST_ID beats labels.host beats the variable of the host's name; a pod's uid comes from where it is stated."""
    env = {"SHIPPER_HOST": "c", "POD_UID": "p"}
    assert witness(str(tmp_path), {**env, "SHIPPER_HOST_ID": "a"}, "b").value == "a"
    assert witness(str(tmp_path), env, "b").value == "b"
    found = witness(str(tmp_path), env)
    assert (found.kind, found.value, found.known["pod"]) == ("explicit", "c", "p")
    stated = witness(str(tmp_path), {"OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.uid=q"})
    assert (stated.kind, stated.value) == ("pod", "q")
    task = witness(str(tmp_path), {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/abc-1"})
    assert (task.kind, task.value, task.in_container) == ("task", "abc-1", True)
