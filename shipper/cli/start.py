"""What `run` and `gateway` share: read the configuration, set up logging, hand over to the composition root."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Mapping
from typing import Any

from shipper.cli.check import faults
from shipper.cli.inputs import findings
from shipper.cli.options import set_up_logging
from shipper.clock import SystemClock
from shipper.config import Role, load
from shipper.config.convert import raise_all
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter
from shipper.memory import keep_freed_memory
from shipper.sidecar import Sidecar


def start(role: Role, config_file: str | None, overrides: Mapping[str, Any], *, of_node: bool = False) -> None:
    """Run until drained; ends the process with the drain's exit status. ``of_node``: see `Sidecar`."""
    loaded = load(config_file, env=os.environ, overrides=overrides, role=role)
    raise_all(faults(loaded, role))  # before there is a life, which would have ended before it sent anything
    set_up_logging(loaded.config.log.level, loaded.config.log.format)
    clock = SystemClock()
    report = Reporter(clock)
    for warning in loaded.warnings:
        report(Problem("config", warning, about=warning))
    for found in findings(loaded, role):  # none ends the run: files are read again when they are needed
        report(Problem("config", str(found.error), about=found.error.path))
    keep_freed_memory()
    # What is loaded by now stays for good: leave it out of every later collection.
    gc.freeze()

    async def live() -> int:
        sidecar = Sidecar(loaded.config, role, env=os.environ, clock=clock, report=report, of_node=of_node)
        return await sidecar.run()

    try:
        status = asyncio.run(live())
    except ExceptionGroup as group:
        raise _reason(group) from group
    raise SystemExit(status)


def _reason(group: ExceptionGroup[Exception]) -> Exception:
    """What ended the run, if it is ours to say (for example a ledger that was damaged meanwhile); else all of it."""
    of_ours, others = group.split(ShipperError)
    if of_ours is None or others is not None:
        return group
    first: Exception = of_ours
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first
