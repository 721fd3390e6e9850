"""Whose run it is: the life it belongs to, the ledger of that, and who the host is. What everything else of a run is put on.

What a reader of the account should know of it (state that was set aside, a ledger that was lost) is kept as notes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shipper.build_remains import IDENTITY_KEY, LEDGER_FILE
from shipper.clock import Clock
from shipper.config import Config, Role
from shipper.errors import StateDamaged
from shipper.events import Problem, Reporter, Said
from shipper.handoff.liveness import is_alive
from shipper.handoff.places import ALIVE
from shipper.labels.detect import detect
from shipper.labels.finding import Surroundings
from shipper.labels.identity import UNKNOWN_SERVICE, Identity, Label
from shipper.labels.life import LifeDecision, adopt_or_begin
from shipper.labels.platform import Network
from shipper.labels.volume import own_volume
from shipper.labels.witness import witness
from shipper.ledger import Ledger, LedgerThread

GATEWAY_SERVICE = "shipper-gateway"


class LifeMaker:
    """Finds out once, at the start of a run; the state directory is locked by then.

    ``notes`` are for the birth, ``ledger_lost`` says that what was sent must be asked for, ``boot`` is this boot's id (empty:
    unknown); all are filled in on the way.
    """

    def __init__(self, config: Config, role: Role, env: Mapping[str, str], clock: Clock, report: Reporter) -> None:
        self.config = config
        self.role = role
        self.env = env
        self.clock = clock
        self.report = report
        self.notes: list[str] = []
        self.ledger_lost = False
        self.boot = ""

    def decide(self) -> LifeDecision:
        """Whether this run goes on with a life or begins one. Raises `ShipperError`."""
        found = witness("/", self.env, self.config.labels.host)
        self.boot = found.boot_id
        state_dir = self.config.state_dir
        decision = adopt_or_begin(
            state_dir,
            found,
            self.clock,
            role=self.role,
            in_use=_in_use,
            adopt=self.config.adopt,
            own_volume=own_volume(Surroundings("/", self.env), state_dir),
        )
        self.report(Said(f"life {decision.life} run {decision.run}: {decision.reason}"))
        if decision.set_aside:
            self.note(f"{decision.reason}; it lies in {decision.set_aside}")
        if decision.remains:
            self.notes.append(decision.reason)
        return decision

    def note(self, note: str) -> None:
        """Say it here, and in the birth."""
        self.notes.append(note)
        self.report(Problem("state", note, about=note))

    def open_ledger(self) -> Ledger:
        """The life's ledger, a new one where it is damaged. Raises `StateError`."""
        path = Path(self.config.state_dir) / LEDGER_FILE
        power_safe = self.role == "gateway" and self.config.gateway.fsync == "always"
        try:
            return Ledger.open(path, report=self.report, power_safe=power_safe)
        except StateDamaged as damage:
            self.note(f"{damage}; it is rebuilt from the files, the spool and what the destinations say they have")
            self.ledger_lost = True
            return Ledger.open(path, report=self.report, power_safe=power_safe)

    async def identity(self, ledger: LedgerThread, decision: LifeDecision) -> Identity:
        """Detected once, then frozen for the life: a restart with other labels does not split a life in two.

        What a range of a stream was sent with is sent again unchanged, so what was not found does not come in later either.
        A platform may be asked for two seconds, in which records wait where they are; a stop is kept meanwhile.
        """
        kept = await ledger.call(Ledger.get, IDENTITY_KEY)
        if decision.resumed and kept is not None:
            try:
                return Identity.restore(kept)
            except ValueError as damage:
                self.note(f"the identity in the ledger is damaged ({damage}); it is found out again")
        elif decision.resumed and not self.ledger_lost:
            self.note(
                f"the ledger of life {decision.life} is gone; it is rebuilt from what the destinations say they have"
            )
            self.ledger_lost = True
        identity = (await self.find()).with_life(decision.life)
        self.report(Said(f"generation {identity.generation.value or 'unknown'}: {identity.generation.origin}"))
        for problem in identity.problems:
            self.report(Problem("identity", problem, about=problem))
        await ledger.call(Ledger.put, IDENTITY_KEY, identity.dump())
        return identity

    async def find(self) -> Identity:
        """Who this host is, looked for now."""
        network = Network(self.config.notices.endpoints)
        return self._named(await asyncio.to_thread(detect, self.config.labels, self.env, network=network))

    def _named(self, found: Identity) -> Identity:
        """A gateway that nobody named has a name all the same: boards find it by its service."""
        if self.role != "gateway" or found.service.value not in ("", UNKNOWN_SERVICE):
            return found
        return replace(found, service=Label("service", GATEWAY_SERVICE, "what gateways are called by default"))


def _in_use(directory: str) -> bool:
    """Whether the process lives that a directory in the spool belongs to."""
    try:
        return is_alive(os.path.join(directory, ALIVE))
    except OSError:
        return False
