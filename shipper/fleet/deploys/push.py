"""Writing a deploy's series straight to Prometheus, for those who have no gateway that keeps them alive."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable

from shipper import __version__
from shipper.clock import Clock, Deadline, SystemClock
from shipper.contracts import Batch, Cut, Exporter, ExporterContext, Request, Signal
from shipper.errors import DeliveryError
from shipper.fleet.deploys.model import DeployEvent, Deploys
from shipper.fleet.deploys.send import NotTold
from shipper.fleet.deploys.series import encode, of_deploys
from shipper.pump.load import make_exporter

TYPE = "prometheus"


def push(events: Iterable[DeployEvent], url: str, *, seconds: float, clock: Clock | None = None) -> None:
    """Remote-write the series of these events, once. Raises `ConfigError`, `MissingExtra` and `NotTold`."""
    clock = clock or SystemClock()
    context = ExporterContext(clock, life=str(uuid.uuid4()), run=1, user_agent=f"Shipper/{__version__}")
    exporter = make_exporter(TYPE, TYPE, {"endpoint": url}, context, where="--prometheus")
    asyncio.run(_send(exporter, _request(events, context), Deadline.after(clock, seconds)))


def _request(events: Iterable[DeployEvent], context: ExporterContext) -> Request:
    now = context.clock.wall_ns()
    encoded = encode(of_deploys(Deploys(events).shown().deploys), now)
    cut = Cut(0, 1, 0, 1, records=encoded.points, observed_ns=now)
    return Request(
        context.life, Signal.METRICS, (Batch(context.life, "deploys", Signal.METRICS, cut, encoded.payload),)
    )


async def _send(exporter: Exporter, request: Request, deadline: Deadline) -> None:
    await exporter.start()
    try:
        accepted = await exporter.send(exporter.prepare(request), deadline)
    except DeliveryError as problem:
        raise NotTold(f"Prometheus was not told of the deploy: {problem}") from problem
    finally:
        await exporter.aclose()
    if accepted.rejected:
        raise NotTold(f"{exporter.describe()} refused {accepted.rejected} of its series: {accepted.message}")
