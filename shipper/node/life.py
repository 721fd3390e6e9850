"""The life of one pod: bound to the pod's uid and to nothing else, its identity fixed from its first run on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from shipper.build_life import LifeMaker
from shipper.clock import Clock
from shipper.config import Config
from shipper.events import Reporter, Said
from shipper.labels.finding import AttributeValue
from shipper.labels.identity import Identity
from shipper.labels.life import LifeDecision, adopt_or_begin
from shipper.labels.witness import Witness
from shipper.ledger import Ledger, LedgerThread
from shipper.node.places import Place, container_in
from shipper.otlp.encode import resource

CONTAINERS_KEY = "node.containers"
Identify = Callable[[], tuple[Identity, dict[str, Identity]]]


class PodLifeMaker(LifeMaker):
    """Finds out once, at the start of a run of a pod's life; ``identify`` says who it is, if that was not found out before.

    The node's boot id and the agent's own pod say nothing of another pod: the witness is the pod's uid alone.
    """

    def __init__(
        self, place: Place, identify: Identify, config: Config, env: Mapping[str, str], clock: Clock, report: Reporter
    ) -> None:
        super().__init__(config, "sidecar", env, clock, report)
        self._place = place
        self._identify = identify
        self._found: dict[str, Identity] = {}
        self._life = ""

    def decide(self) -> LifeDecision:
        """See `LifeMaker.decide`."""
        uid = self._place.uid
        witness = Witness("", "pod", uid, {"pod": uid}, in_container=True)
        decision = adopt_or_begin(self.config.state_dir, witness, self.clock, adopt="never")
        self._life = decision.life
        self.report(Said(f"life {decision.life} run {decision.run}: {decision.reason}"))
        if decision.set_aside:
            self.note(f"{decision.reason}; it lies in {decision.set_aside}")
        return decision

    async def identity(self, ledger: LedgerThread, decision: LifeDecision) -> Identity:
        """See `LifeMaker.identity`; those of the containers are fixed with it."""
        kept = await ledger.call(Ledger.get, CONTAINERS_KEY)
        identity = await super().identity(ledger, decision)
        if kept is not None and not self._found:
            self._found = _restored(kept)
        else:
            dumped = json.dumps({name: one.dump() for name, one in self._found.items()})
            await ledger.call(Ledger.put, CONTAINERS_KEY, dumped)
        return identity

    async def find(self) -> Identity:
        """See `LifeMaker.find`."""
        identity, self._found = self._identify()
        return identity

    def resource_of(self, path: str, more: Mapping[str, AttributeValue]) -> bytes | None:
        """The Resource of a file: that of its container; None where nothing is known of that. ``more``: stated for the file."""
        found = self._found.get(container_in(self._place, path))
        if found is None:
            return None
        return resource({**more, **found.with_life(self._life).attributes()})


def _restored(kept: str) -> dict[str, Identity]:
    try:
        return {str(name): Identity.restore(text) for name, text in json.loads(kept).items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # the pod's own identity does for all of them
