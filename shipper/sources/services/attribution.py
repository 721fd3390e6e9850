"""Whose life a dead process ran in: what it handed over goes with the remains of that life, and has exactly one owner.

The first segment of a process names the boot of the kernel it ran in. Where that is the same for two lives (containers on one
node share it) a process is the earlier life's if that life's ledger knows it; who was never seen is the new life's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from shipper.events import Problem, Reporter, Said
from shipper.handoff.places import parse_process
from shipper.labels.aside import move
from shipper.sources.services.merging import Merging
from shipper.sources.services.place import Place, Strange
from shipper.sources.services.process import Process

_ENOUGH = 1  # bytes of each series to look at: then its first frame was seen, which is the one that names the boot


@dataclass(frozen=True, slots=True)
class Claimant:
    """An earlier life: the boot it lived in, the names of process directories in its ledger, and where to put them."""

    boot: str
    known: Collection[str]
    spool: str


def attribute(root: str, claimants: Sequence[Claimant], boot: str, report: Reporter) -> int:
    """Move what dead processes left in the root to the life they ran in; how many. ``boot``: the present one.

    What cannot be looked at or moved is said, and stays for the source of services to see to.
    """
    try:
        names = sorted(name for name in os.listdir(root) if parse_process(name) is not None)
    except OSError:  # there is no root, or it cannot be listed: the source of services says so
        return 0
    moved = 0
    for name in names if claimants else ():
        try:
            process = _dead(root, name)
            mine = _claimant(process, claimants, boot) if process is not None else None
            if mine is not None:
                move(os.path.join(root, name), mine.spool)
                moved += 1
        except FileNotFoundError:
            continue
        except (OSError, Strange) as problem:
            report(Problem("services-directory", f"{os.path.join(root, name)} stays where it is: {problem}", "remains"))
    if moved:
        report(Said(f"{moved} processes that ran in an earlier life left something: it is shipped as that life's"))
    return moved


def _dead(root: str, name: str) -> Process | None:
    """The process of a directory, looked at as far as is needed to know its boot; None while it lives."""
    process = Process(Place.at(root, name), "", Merging({}), _ignored, lambda process, series: None)
    process.check()
    if process.alive:
        return None
    process.look(0.0, most=_ENOUGH)
    return process


def _claimant(process: Process, claimants: Sequence[Claimant], boot: str) -> Claimant | None:
    by_name = next((each for each in claimants if process.name in each.known), None)
    if by_name is not None:
        return by_name
    hello = process.hello
    if hello is None or not hello.boot or hello.boot == boot:
        return None
    return next((each for each in claimants if each.boot == hello.boot), None)


_ignored: Callable[[str, str], None] = lambda kind, message: None  # noqa: E731 - said when its streams are made
