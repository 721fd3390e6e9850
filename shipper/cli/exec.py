"""``shipper exec``: run a program and ship what it writes."""

from __future__ import annotations

import os
import sys

import click

from shipper.cli.options import SecondsRange
from shipper.clock import SystemClock
from shipper.runner.companion import Companion
from shipper.runner.place import Place, choose, is_read
from shipper.runner.supervise import Manner, Supervisor
from shipper.signals import kept

_OWN = {"auto": None, "own": True, "host": False}


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}, options_metavar="[OPTIONS] --"
)
@click.argument("words", metavar="CMD [ARG...]", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--job", default="", help="Name of the job, the same for each of its runs; default: the program's name.")
@click.option("--service", default="", help="service.name of what it writes; default: that of the host.")
@click.option(
    "--sidecar",
    type=click.Choice(list(_OWN)),
    default="auto",
    show_default=True,
    help="Who ships: the sidecar of this host, one of our own beside the program, or auto: our own where none is there.",
)
@click.option("--quiet", is_flag=True, help="Do not show what the program writes on our own standard output and error.")
@click.option(
    "--max-mib",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Disk space (MiB) for what was not shipped yet; beyond, the oldest goes and is counted.",
)
@click.option(
    "--wait",
    type=SecondsRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds for which the program is stopped (SIGSTOP) before anything is given up for want of that space.",
)
@click.option("--group", is_flag=True, help="Hand signals on to the program's whole process group, not to it alone.")
@click.option("--config", "config_file", metavar="FILE", default="", help="For a sidecar of our own.")
@click.option("--endpoint", metavar="URL", default="", help="For a sidecar of our own: the OTLP/HTTP endpoint.")
def command(
    words: tuple[str, ...],
    job: str,
    service: str,
    sidecar: str,
    quiet: bool,
    max_mib: int,
    wait: float,
    group: bool,
    config_file: str,
    endpoint: str,
) -> None:
    """Run CMD, ship its standard output and error, count its end; exit with its status.

    What it writes goes straight to files, so it is never held up, and what it wrote survives its death and ours. Made to be
    process 1 of a container as well: hands signals on, reaps orphans, and ends when all is shipped.

    \b
    Examples:
      shipper exec -- python -m app
      17 3 * * *  shipper exec --job nightly-report -- /opt/report/run
    """
    clock = SystemClock()
    root = choose(os.environ, _OWN[sidecar])
    place = Place(root, job or os.path.basename(words[0]), words[0], service)
    env = {**os.environ, "SHIPPER_SPOOL_DIR": root.path}

    def companion() -> Companion | None:
        if sidecar == "host" or (sidecar == "auto" and is_read(root.path)):
            return None
        given = [*(("--config", config_file) if config_file else ()), *(("--endpoint", endpoint) if endpoint else ())]
        return Companion(given, env, clock, _say)

    supervisor = Supervisor(place, Manner(max_mib << 20, wait, group, not quiet), clock, _say, companion, kept)
    sys.stdout.flush()
    raise SystemExit(supervisor.run(words, env))


def _say(text: str) -> None:
    click.echo(f"shipper exec: {text}", err=True)
