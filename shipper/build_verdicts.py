"""Makes what computes verdicts within a gateway: the Prometheus that is asked, the lease, and the stream of its series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shipper.build_keeper import ARCHIVE, looked_at, open_stream, shared_archive
from shipper.clock import Clock
from shipper.config import Config
from shipper.contracts import Hub
from shipper.errors import ConfigError
from shipper.events import Problem, Reporter
from shipper.fleet.deploys.lease import Lease
from shipper.fleet.deploys.send import NotTold, first_line
from shipper.fleet.verdict.client import Client
from shipper.fleet.watching.newest import Wanted
from shipper.fleet.watching.watcher import KEEPS, LEASE_KEY, Watcher
from shipper.ledger import LedgerThread
from shipper.verdict_names import SERIES

STREAM = "verdicts"


async def make_watcher(
    config: Config,
    *,
    life: str,
    takers: Sequence[str],
    hub: Hub,
    ledger: LedgerThread,
    clock: Clock,
    report: Reporter,
) -> Watcher | None:
    """The watcher; None where none is wanted, or nobody would see its series.

    ``takers``: destinations that take metrics. Where it is said by hand which gateway keeps deploys, there is no lease: then
    each gateway that is given a Prometheus computes. Raises `ShipperError`.
    """
    settings = config.verdicts
    if not settings.prometheus:
        return None
    if not looked_at(config, takers):
        report(Problem("verdicts", "verdicts are not computed: no destination but archives takes their series"))
        return None
    lease = None
    if config.deploys.keeper == "auto" and any(one.type == ARCHIVE for one in config.destinations.values()):
        store = shared_archive(config, report)
        if store is None:
            report(Problem("verdicts", "verdicts are not computed: another gateway may, and the archive cannot tell"))
            return None
        expiry = config.deploys.lease
        lease = Lease(store, life, clock=clock, report=report, expiry=expiry, key=LEASE_KEY, keeps=KEEPS)
    client = Client(settings.prometheus, token=_token(settings.token_file), setting="verdicts.prometheus")
    return Watcher(
        client,
        replace(SERIES, objective=settings.objective),
        Wanted(settings.services, settings.environments),
        await open_stream(STREAM, config, life=life, takers=takers, hub=hub, ledger=ledger, report=report),
        lease=lease,
        every=settings.every,
        clock=clock,
        report=report,
    )


def _token(path: str) -> str:
    if not path:
        return ""
    try:
        return first_line(path)
    except NotTold as problem:
        raise ConfigError("verdicts.token_file", str(problem)) from problem
