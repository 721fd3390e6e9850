"""What a watcher, a notice and a hold are: the second page a plug-in author reads, beside `shipper.contracts`.

A *notice* is word that the host will die. A *watcher* listens to one platform for such words and tells them to a *board*,
which decides what holds (`shipper.notices.board`). A *hold* keeps a platform from going on while there is something to save,
and lets go the moment there is not: a drained host should die early, not late.

Three answers of a platform must never be mixed up: *something* (a notice), *nothing* (404, ``NONE``, ``[]``), and *unknown*
(no answer, or one that makes no sense). Unknown neither begins a drain nor takes one back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class NoticeKind(StrEnum):
    """What a notice asks for."""

    ADVISORY = "advisory"  # the risk rose (rebalance, live migration): flush harder, do not stop
    SCHEDULED = "scheduled"  # hours or days ahead, may be cancelled: drain when its time is near
    IMMINENT = "imminent"  # drain now, by the stated deadline or by the platform's usual one


@dataclass(frozen=True, slots=True)
class Notice:
    """Word that the host, or this run of the sidecar, will end.

    ``source``: the watcher's name. ``key`` tells two notices of one source apart; the same key said again is the same notice,
    with what it says now in the place of what it said before. ``evidence``: what the platform said, in its own words, for a
    person. ``deadline``: the moment everything ends, in the clock's monotonic seconds; None where the platform states none,
    then the budget of the name ``budget`` counts from the moment the notice was first seen (`shipper.notices.budgets`).
    ``ends_life``: whether the disk (or what is on it) goes with it; False where the same life goes on afterwards.
    """

    source: str
    kind: NoticeKind
    evidence: str
    deadline: float | None = None
    budget: str = "unknown"
    key: str = ""
    ends_life: bool = True


class NoticeBoard(Protocol):
    """Where watchers say what they see. All calls are made on the event loop and return at once."""

    def notice(self, notice: Notice) -> None:
        """Say a notice, or say it again: only what is new in it has an effect."""

    def withdrawn(self, source: str, key: str, why: str) -> None:
        """The platform itself took back what it had said. Only the source of a notice can do this."""

    def seen(self, source: str) -> None:
        """The platform answered, whatever it said: it is known again."""

    def unknown(self, source: str, why: str) -> None:
        """The platform could not be asked, or its answer makes no sense. Nothing follows but a line in the log and a gauge."""

    def standing(self) -> tuple[Notice, ...]:
        """All notices that hold now, the earliest effective deadline first."""

    async def flushed(self, timeout: float) -> bool:
        """Have everything sent that exists now, without waits of our own choice; True when it was, False after ``timeout`` s."""


class NoticeWatcher(ABC):
    """Listens to one platform, from the start of the sidecar on."""

    name: str

    @abstractmethod
    async def run(self, board: NoticeBoard) -> None:
        """Watch until cancelled. A platform that is slow, silent or mad is `NoticeBoard.unknown`, never an exception.

        May return when the platform turned out not to be there (it says so itself, not by silence).
        """

    async def aclose(self) -> None:  # noqa: B027 - many hold nothing
        """Let go of connections and descriptors; never waits for the platform."""


@dataclass(frozen=True, slots=True)
class Need:
    """Why a host should live on, as a hold may look at it at any time.

    ``backlog``: bytes not yet acknowledged by destinations that count. ``draining``: the drain is under way. ``notices``: those
    that stand. ``deadline``: the effective deadline (monotonic seconds), ``inf`` without one.
    """

    backlog: int
    draining: bool
    notices: tuple[Notice, ...]
    deadline: float


class Hold(ABC):
    """Keeps one platform waiting, as far as that platform lets itself be kept waiting.

    ``release_when`` decides what it waits for once a notice stands: ``"empty"`` - nothing is left to send, though services may
    still run (for platforms that do not stop the services before we let go: the logind lock, task protection);
    ``"ended"`` - also the services have ended, or `drain.services_grace` has passed (ASG, Azure: letting go kills the host).
    """

    name: str
    release_when: str = "ended"

    @property
    def holding(self) -> bool:
        """Whether a platform waits for us now: letting go would change something. One that only might hold does not count."""
        return True

    @abstractmethod
    async def run(self, need: Callable[[], Need]) -> None:
        """Hold while there is need, until cancelled; may also be a loop that only looks. Faults are reported, never raised."""

    @abstractmethod
    async def release(self, *, drained: bool) -> None:
        """Let the platform go on: everything is off the host (``drained``), or time is up. `run` may end then, or go on.

        Called once a drain. When the drain was taken back the hold holds again: a `run` that has ended is called anew.
        Must return soon (it has the reserve of the drain, seconds) and never raise.
        """

    async def aclose(self) -> None:  # noqa: B027 - many hold nothing
        """Let go of what the hold has open."""
