"""Binds the state directory to one life: earlier state is taken up only if it is surely this host's, in this boot.

What an earlier life of this very host left (before a reboot, a power cut, in the pod before this one on the same volume) is
put where it is shipped from as that life's own. But an image carries its builder's remains, and a disk is cloned: what such
state says is true of another host and must not be shipped as ours. It is set aside, whole, and said; it is never deleted.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from shipper.ids import uuid7
from shipper.labels.aside import holds_services, move, others_in, set_aside_services
from shipper.labels.state import read_private, sync_directory, unwritable, write_atomically
from shipper.labels.witness import Witness, same_host, same_life

if TYPE_CHECKING:  # importing it brings asyncio along, which a service that only asks for its labels has no use for
    from shipper.clock import Clock

LIFE_FILE = "life.json"
SET_ASIDE = "set-aside"
REMAINS = "remains"
VERSION = 1
_MAX_BYTES = 64 * 1024
SPOOL = "spool"
HELD_DIRECTORY = "held"  # what was read ahead of files that were going
OF_A_LIFE = ("ledger.db*", "account", "metrics", "metrics-life", "receivers", "spool", HELD_DIRECTORY, LIFE_FILE)
"""Names in the state directory that belong to a life, ``life.json`` last: while it stands, setting aside can be repeated.
The quarantine is not among them: what is in it names its life and stays readable where it is."""
Adopt = Literal["auto", "always", "never"]
"""Whether what an earlier life left is shipped as its own: if it surely was this host's, in any case, or never."""


@dataclass(frozen=True, slots=True)
class LifeRecord:
    """What ``life.json`` holds. ``born_ns``: wall time of the first start; ``runs``: how many runs this life has had."""

    life: str
    boot_id: str
    kind: str
    value: str
    born_ns: int
    runs: int
    known: Mapping[str, str] = field(default_factory=dict)
    in_container: bool = False
    own_volume: bool = False

    def witness(self) -> Witness:
        """The witnesses of the life that wrote the record."""
        return Witness(self.boot_id, self.kind, self.value, self.known, self.in_container)

    def dump(self) -> bytes:
        """As JSON."""
        content = {
            "version": VERSION,
            "life": self.life,
            "boot_id": self.boot_id,
            "witness": {"kind": self.kind, "value": self.value},
            "known": dict(self.known),
            "in_container": self.in_container,
            "own_volume": self.own_volume,
            "born_ns": self.born_ns,
            "runs": self.runs,
        }
        return json.dumps(content, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, raw: bytes) -> LifeRecord:
        """Raises ValueError for anything but what `dump` gives."""
        try:
            content: dict[str, Any] = json.loads(raw)
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']} is not known here")
            record = cls(
                life=content["life"],
                boot_id=content["boot_id"],
                kind=content["witness"]["kind"],
                value=content["witness"]["value"],
                born_ns=content["born_ns"],
                runs=content["runs"],
                known=dict(content["known"]),
                in_container=content["in_container"],
                own_volume=content.get("own_volume") is True,
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a life record ({type(error).__name__}: {error})") from error
        texts = (record.life, record.boot_id, record.kind, record.value, *record.known, *record.known.values())
        if not record.life or not all(isinstance(text, str) for text in texts):
            raise ValueError("not a life record")
        if not all(isinstance(number, int) for number in (record.born_ns, record.runs)):
            raise ValueError("not a life record")
        return record


@dataclass(frozen=True, slots=True)
class LifeDecision:
    """Which life this run belongs to. ``run`` counts from 1; ``set_aside`` is where foreign state went, ``remains`` where
    that of an earlier life of this host is, or None."""

    life: str
    born_ns: int
    run: int
    resumed: bool
    set_aside: str | None
    reason: str
    remains: str | None = None


def adopt_or_begin(
    state_dir: str,
    witness: Witness,
    clock: Clock,
    *,
    role: Literal["sidecar", "gateway"] = "sidecar",
    in_use: Callable[[str], bool] = lambda directory: False,
    adopt: Adopt = "auto",
    own_volume: bool = False,
) -> LifeDecision:
    """Take up the life the directory holds, or begin one; the caller holds the directory's lock.

    ``in_use`` tells whether the process lives that a directory in the spool belongs to: such a one is never moved.
    ``own_volume``: whether the state directory lies on one, see `shipper.labels.volume`.

    A gateway always takes it up: what it has spooled was acknowledged to other hosts, and belongs to the directory, not to
    the machine the directory is mounted on. Raises `StateUnwritable`.
    """
    try:
        return _decide(state_dir, witness, clock, role, in_use, adopt, own_volume)
    except OSError as error:
        raise unwritable(state_dir, error) from error


def _decide(
    state_dir: str,
    now: Witness,
    clock: Clock,
    role: str,
    in_use: Callable[[str], bool],
    adopt: Adopt,
    own_volume: bool,
) -> LifeDecision:
    path = os.path.join(state_dir, LIFE_FILE)
    try:
        record = LifeRecord.parse(read_private(path, _MAX_BYTES))
    except FileNotFoundError:
        remains = [name for name in _remains(state_dir) if not _is_of_services(state_dir, name)]
        if not remains or role == "gateway":
            reason = "first start" if not remains else "no life.json beside what is spooled"
            return _begin(state_dir, now, clock, None, reason, own_volume)
        return _set_aside_and_begin(
            state_dir, now, clock, "unknown", "nothing tells whose it is (no life.json)", own_volume
        )
    except ValueError as problem:
        return _without_record(state_dir, now, clock, role, str(problem), own_volume)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EINVAL, errno.EISDIR):
            raise
        return _without_record(state_dir, now, clock, role, "not a regular file", own_volume)
    if role == "gateway":
        return _resume(path, record, now, "a gateway's state belongs to its directory")
    same, reason = same_life(record.witness(), now)
    if same:
        return _resume(path, record, now, reason)
    adopts, proof = _adopts(state_dir, record, now, adopt, own_volume)
    if adopts:
        return _leave_and_begin(state_dir, now, clock, record.life, f"{reason}; {proof}", own_volume)
    # Where the boot tells lives apart it also tells whose the remains of services are: their source looks at each of them.
    anew = bool(record.boot_id and now.boot_id and record.boot_id != now.boot_id)
    why = reason if proof in reason else f"{reason}; {proof}"
    return _set_aside_and_begin(state_dir, now, clock, record.life, why, own_volume, None if anew else in_use)


def _adopts(state_dir: str, record: LifeRecord, now: Witness, adopt: Adopt, own_volume: bool) -> tuple[bool, str]:
    """Whether what the earlier life left is shipped as its own, and why (not)."""
    spool = os.path.join(state_dir, SPOOL)
    if not _is_life(record.life):
        return False, "its id is none"
    if os.path.isdir(spool) and others_in(spool):
        return False, "a gateway left it"
    if adopt != "auto":
        return adopt == "always", f"adopt: {adopt}"
    return same_host(record.witness(), now, own_volume=own_volume and record.own_volume)


def _without_record(
    state_dir: str, now: Witness, clock: Clock, role: str, problem: str, own_volume: bool
) -> LifeDecision:
    reason = f"{LIFE_FILE} is damaged ({problem})"
    if role == "gateway":  # what is spooled stays and is delivered; only the name of the life is lost
        target = _move(state_dir, [LIFE_FILE], "damaged", clock)
        return _begin(state_dir, now, clock, target, reason, own_volume)
    return _set_aside_and_begin(state_dir, now, clock, "damaged", reason, own_volume)


def _resume(path: str, record: LifeRecord, now: Witness, reason: str) -> LifeDecision:
    """Count the run, and remember witnesses that were not known before (a later run may be allowed to see more)."""
    known = {**record.known, **now.known}
    strongest = replace(record, known=known, runs=record.runs + 1, boot_id=now.boot_id or record.boot_id)
    if now.kind:
        strongest = replace(strongest, kind=now.kind, value=now.value)
    try:
        write_atomically(path, strongest.dump())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason += "; the disk is full, so this run is not counted in life.json"
    return LifeDecision(record.life, record.born_ns, strongest.runs, True, None, reason)


def _begin(
    state_dir: str, now: Witness, clock: Clock, set_aside: str | None, reason: str, own_volume: bool
) -> LifeDecision:
    born_ns = clock.wall_ns()
    life = uuid7(born_ns)
    record = LifeRecord(life, now.boot_id, now.kind, now.value, born_ns, 1, now.known, now.in_container, own_volume)
    write_atomically(os.path.join(state_dir, LIFE_FILE), record.dump())
    return LifeDecision(life, born_ns, 1, False, set_aside, reason)


def _leave_and_begin(
    state_dir: str, now: Witness, clock: Clock, life: str, reason: str, own_volume: bool
) -> LifeDecision:
    """What services handed over stays where it is: whose each process was is told from what it wrote."""
    names = [name for name in _remains(state_dir) if name != SPOOL]
    target = _move(state_dir, names, life, clock, below=REMAINS)
    decision = _begin(state_dir, now, clock, None, f"life {life} of this host has ended: {reason}", own_volume)
    return replace(decision, remains=target)


def _set_aside_and_begin(
    state_dir: str,
    now: Witness,
    clock: Clock,
    of: str,
    reason: str,
    own_volume: bool,
    in_use: Callable[[str], bool] | None = None,
) -> LifeDecision:
    """``in_use``: move also what processes left that are gone; None: leave that where it is."""
    names = _remains(state_dir)
    target = _move(state_dir, [name for name in names if not _is_of_services(state_dir, name)], of, clock, in_use)
    return _begin(state_dir, now, clock, target, f"earlier state set aside: {reason}", own_volume)


def _remains(state_dir: str) -> list[str]:
    return matching(state_dir, OF_A_LIFE)


def _is_of_services(state_dir: str, name: str) -> bool:
    """Whether an entry is the root of the hand-off, with nothing of a gateway in it."""
    path = os.path.join(state_dir, name)
    return name == SPOOL and holds_services(path) and not others_in(path)


def matching(directory: str, patterns: Iterable[str]) -> list[str]:
    """Names in a directory that match one of the patterns, in the patterns' order."""
    names = sorted(os.listdir(directory))
    return [name for pattern in patterns for name in names if fnmatch.fnmatchcase(name, pattern)]


def _is_life(name: str) -> bool:
    return len(name) == 36 and name.isascii() and name.replace("-", "").isalnum()


def _move(
    state_dir: str,
    names: list[str],
    of: str,
    clock: Clock,
    in_use: Callable[[str], bool] | None = None,
    below: str = SET_ASIDE,
) -> str:
    """Move entries into ``set-aside/<life>``; after a crash in between the next start goes on in the same place."""
    label = of if _is_life(of) else f"{of}-{clock.wall_ns() // 1_000_000_000}"
    target = os.path.join(state_dir, below, label)
    os.makedirs(target, mode=0o700, exist_ok=True)
    spool = os.path.join(state_dir, SPOOL)
    shared = holds_services(spool)  # then the root itself stays
    if shared and in_use is not None:
        set_aside_services(spool, os.path.join(target, SPOOL), in_use)
    for name in names:
        if name == SPOOL and shared:
            for other in others_in(spool):
                move(os.path.join(spool, other), os.path.join(target, SPOOL))
        else:
            move(os.path.join(state_dir, name), target)
    sync_directory(target)
    sync_directory(state_dir)
    return target
