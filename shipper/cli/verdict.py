"""``shipper verdict``: is this generation worse than the one it replaces? One sentence, and an exit status for pipelines."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import traceback
from dataclasses import replace
from types import FrameType

import click

from shipper.cli.options import SecondsRange
from shipper.clock import Deadline, SystemClock
from shipper.errors import ConfigError
from shipper.fleet.deploys.send import NotTold, first_line
from shipper.fleet.verdict.client import SECONDS, Client
from shipper.fleet.verdict.look import look
from shipper.fleet.verdict.model import Judgement, Kind
from shipper.fleet.verdict.queries import Asked
from shipper.fleet.verdict.watch import watch
from shipper.fleet.verdict.words import lines
from shipper.verdict_names import SERIES

EXIT = {Kind.NO_DIFFERENCE: 0, Kind.BETTER: 0, Kind.WORSE: 1, Kind.NOT_ENOUGH: 3, Kind.CANNOT_TELL: 3}


@click.command()
@click.option("--service", required=True, help="Which service; service.name.")
@click.option("--env", "environment", default=None, help="Which environment; not needed if the service is in one only.")
@click.option("--candidate", required=True, metavar="GEN", help="The generation to judge.")
@click.option(
    "--baseline", default="", metavar="GEN", help="The one to hold it against; default: who serves most beside it."
)
@click.option("--prometheus", required=True, metavar="URL", help="Prometheus, or what answers like it; its base URL.")
@click.option("--token-file", default="", metavar="FILE", help="A bearer token for it.")
@click.option(
    "--objective",
    type=SecondsRange(0, min_open=True),
    default=SERIES.objective,
    show_default=True,
    help="Seconds a request should take at most: where a bucket of the histogram ends.",
)
@click.option("--watch", "watches", is_flag=True, help="Look every minute until it is decided, or --timeout.")
@click.option(
    "--timeout",
    type=SecondsRange(0.1),
    default=None,
    help="Seconds for all of it. [default: 30; with --watch 1800]",
)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each look.")
def command(
    service: str,
    environment: str | None,
    candidate: str,
    baseline: str,
    prometheus: str,
    token_file: str,
    objective: float,
    watches: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Say whether a generation is worse than the one it replaces, from what Prometheus has of both.

    Exit status: 0 no difference, or better; 1 worse; 3 not enough data, or it cannot be told; 2 a wrong call. What each
    sentence means: docs/verdict.md. Examples:

    \b
      shipper verdict --service checkout --candidate 42 --prometheus http://prometheus:9090
      shipper verdict --service checkout --candidate 42 --prometheus http://prometheus:9090 --watch || roll back
    """
    if candidate == baseline:
        raise click.UsageError("--candidate and --baseline are the same generation")
    signal.signal(signal.SIGINT, _interrupt)
    clock = SystemClock()
    seconds = timeout if timeout is not None else 1800.0 if watches else SECONDS
    deadline = Deadline.after(clock, seconds)
    series = replace(SERIES, objective=objective)
    asked = Asked(service, environment)
    tell = _tell_json if as_json else _tell_timed if watches else _tell
    try:
        client = Client(prometheus, token=first_line(token_file) if token_file else "")

        def one_look() -> Judgement:
            client.seconds = max(0.1, min(SECONDS, deadline.remaining()) if watches else seconds)
            return look(client, series, asked, candidate, baseline)

        if watches:
            judgement = asyncio.run(watch(one_look, clock, deadline, tell))
        else:
            judgement = one_look()
            tell(judgement)
    except (ConfigError, NotTold) as problem:
        raise click.UsageError(str(problem)) from problem
    except Exception:  # the border: a 1 takes releases back, so nothing that breaks here may end with it
        traceback.print_exc()
        raise SystemExit(EXIT[Kind.CANNOT_TELL]) from None
    raise SystemExit(EXIT[judgement.kind])


def _interrupt(number: int, _: FrameType | None) -> None:
    """End at once, also within a question, and as shells have it: click would make a 1 of it, which means worse."""
    raise SystemExit(128 + number)


def _tell(judgement: Judgement) -> None:
    for line in lines(judgement):
        click.echo(line)


def _tell_timed(judgement: Judgement) -> None:
    when = time.strftime("%H:%M:%S", time.gmtime(judgement.at))
    for line in lines(judgement):
        click.echo(f"{when} {line}")


def _tell_json(judgement: Judgement) -> None:
    click.echo(json.dumps(judgement.as_dict(), ensure_ascii=False, allow_nan=False))
