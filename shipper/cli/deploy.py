"""``shipper deploy``: tell of a deploy as it happens, or run the command that makes it and tell of both ends."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import click

from shipper.cli.options import SecondsRange, config_option
from shipper.errors import MissingExtra, ShipperError
from shipper.fleet.deploys.filling import VERBS, Filled, fill
from shipper.fleet.deploys.grafana import Grafana
from shipper.fleet.deploys.model import STARTS, DeployEvent
from shipper.fleet.deploys.send import SECONDS, NotTold, find_endpoint, first_line, tell
from shipper.fleet.deploys.wire import sentence
from shipper.fleet.deploys.wrap import Aside, run

_COMMAND = "command"


class _Split(click.Command):
    """Takes what stands behind ``--`` away before options are looked for, so that a command may be called ``start``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_COMMAND] = args[at + 1 :]
            if not ctx.meta[_COMMAND]:
                raise click.UsageError("no command behind --", ctx)
            args = args[:at]
        return super().parse_args(ctx, args)


@click.command(cls=_Split, options_metavar="[OPTIONS]")
@click.argument(
    "verb", metavar="[start|finish|fail|rollback|withdraw] [-- CMD...]", required=False, type=click.Choice(list(VERBS))
)
@click.option("--service", default="", help="Which service; service.name.")
@click.option("--env", "environment", default="", help="Which environment, for example production.")
@click.option("--release", default="", help="The release that is deployed.")
@click.option("--image", default="", help="The image that hosts are born from.")
@click.option("--generation", default="", help="Name of this deploy's set of hosts; default: the deployment's id.")
@click.option("--from", "from_release", default="", help="The release that is replaced.")
@click.option("--url", default="", help="Where people see this deploy.")
@click.option("--actor", default="", help="Who deploys.")
@click.option(
    "--id", "deploy_id", default="", help="The deployment's id, the same in all of its events; default: the build's."
)
@click.option("--desired-hosts", type=click.IntRange(1, 10_000_000), default=None, help="Hosts it is meant to have.")
@click.option(
    "--at", "moment", default="", help="When it happened (RFC 3339, or seconds since the epoch); default: now."
)
@click.option("--endpoint", default="", help="OTLP/HTTP endpoint, such as a gateway's; default: the configured one.")
@click.option(
    "--prometheus", default="", metavar="URL", help="Also write the deploy's series to this remote-write URL."
)
@click.option("--grafana", default="", metavar="URL", help="Also write an annotation there; token in GRAFANA_TOKEN.")
@click.option("--grafana-token-file", default="", metavar="FILE", help="File with the token, instead of GRAFANA_TOKEN.")
@click.option(
    "--timeout", type=SecondsRange(0.1, 300), default=SECONDS, show_default=True, help="Seconds to tell it in."
)
@click.option(
    "--output", type=click.Choice(["text", "env", "json"]), default="text", help="env: variables for the hosts."
)
@click.option("--strict", is_flag=True, help="Exit 1 when somebody could not be told; otherwise that is only said.")
@click.option("--dry-run", is_flag=True, help="Tell nobody; show what would be told, and where each value is from.")
@config_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    verb: str | None,
    service: str,
    environment: str,
    release: str,
    image: str,
    generation: str,
    from_release: str,
    url: str,
    actor: str,
    deploy_id: str,
    desired_hosts: int | None,
    moment: str,
    **settings: Any,
) -> None:
    """Tell of a deploy: start, finish, fail, rollback or withdraw; or run CMD and tell of its start and end.

    Values not given are taken from the environment of the pipeline (docs/deploys.md). Exit status: 0, also when nobody could
    be told (1 with --strict); 2 for a wrong call; with CMD, its own status.

    \b
    Examples:
      shipper deploy start --service checkout --env prod --release 1.4.2
      shipper deploy --service checkout --env prod -- helm upgrade --install checkout ./chart
    """
    words: list[str] = ctx.meta.get(_COMMAND, [])
    if not verb and not words:
        raise click.UsageError("say start, finish, fail, rollback or withdraw, or give a command behind --")
    if words and verb not in (None, "start", "rollback"):
        raise click.UsageError(f"{verb} goes without a command; {verb} is what a command ends with")
    given = {
        "service": service,
        "env": environment,
        "release": release,
        "image": image,
        "generation": generation,
        "from_release": from_release,
        "url": url,
        "actor": actor,
        "id": deploy_id,
    }
    now = time.time_ns()
    filled = fill(
        VERBS[verb or "start"],
        given,
        os.environ,
        now_ns=now,
        at_ns=_moment(moment) if moment else 0,
        desired_hosts=desired_hosts or 0,
    )
    telling = _Telling(filled, _Settings(**settings))
    raise SystemExit(telling.around(words) if words else telling.once())


@dataclass(frozen=True, slots=True)
class _Settings:
    endpoint: str
    prometheus: str
    grafana: str
    grafana_token_file: str
    timeout: float
    output: str
    strict: bool
    dry_run: bool
    config_file: str | None


class _Telling:
    """One call of the command."""

    def __init__(self, filled: Filled, settings: _Settings) -> None:
        self._filled = filled
        self._settings = settings
        self._failed = False

    def once(self) -> int:
        """Tell of one event; the exit status."""
        if self._filled.problem:
            raise click.UsageError(self._filled.problem)
        if not self._settings.dry_run:
            self._wait([Aside(work) for work in self._tellers([self._filled.event])], self._settings.timeout)
        self._print()
        return self._status()

    def around(self, words: Sequence[str]) -> int:
        """Run the command and tell of its start and end; its exit status."""
        tells = not (self._filled.problem or self._settings.dry_run)
        if self._filled.problem:
            self._complain(f"nobody is told of this deploy: {self._filled.problem}")
            if self._settings.strict:
                return 2
        if self._settings.dry_run:
            self._print(to_stderr=True)
            return 0
        start = self._filled.event
        env = {**os.environ, **self._filled.variables()} if tells else dict(os.environ)
        begun = [Aside(work) for work in self._tellers([start])] if tells else []
        status = run(words, env, self._complain)
        if begun:
            ended = time.monotonic() + self._settings.timeout
            self._wait(begun, self._settings.timeout / 2)  # Grafana's region needs its beginning
            end = replace(start, action="failed" if status else "finished", at_ns=time.time_ns())
            works = [Aside(work) for work in self._tellers([start, end])]
            self._wait(works, ended - time.monotonic())
        return status or (1 if self._settings.strict and self._failed else 0)

    def _tellers(self, events: list[DeployEvent]) -> list[Callable[[], None]]:
        """Who is told of the last of ``events``, those before it being known."""
        settings, event = self._settings, events[-1]
        works: list[Callable[[], None]] = []
        try:
            endpoint = find_endpoint(settings.endpoint, settings.config_file or "", os.environ)
            if endpoint is not None:
                works.append(lambda: tell(event, endpoint, seconds=0.8 * settings.timeout))
            if settings.prometheus:
                works.append(lambda: _push(events, settings.prometheus, settings.timeout))
            if settings.grafana:
                grafana = Grafana(settings.grafana, _grafana_token(settings.grafana_token_file))
                works.append(lambda: grafana.annotate(event, seconds=settings.timeout))
        except Exception as problem:  # the border: whatever is wrong with telling must not break a deploy
            self._fail(_words(problem))
        if not works and not self._failed:
            self._fail("nobody to tell: give --endpoint, or set SHIPPER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT")
        return works

    def _wait(self, works: list[Aside], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for work in works:
            try:
                if not work.wait(deadline - time.monotonic()):
                    self._fail(f"no answer within {self._settings.timeout:g} s; the deploy may not be known")
            except Exception as problem:  # as above
                self._fail(_words(problem))

    def _fail(self, message: str) -> None:
        self._failed = True
        self._complain(message)

    def _complain(self, message: str) -> None:
        click.echo(f"shipper deploy: {message}", err=True)

    def _status(self) -> int:
        return 1 if self._settings.strict and self._failed else 0

    def _print(self, *, to_stderr: bool = False) -> None:
        filled, output = self._filled, self._settings.output
        if output == "env":
            for name, value in filled.variables().items():
                click.echo(f"{name}={shlex.quote(value)}", err=to_stderr)
            return
        if output == "json":
            values = {name: found.value for name, found in filled.origins.items() if found.value}
            origins = {name: found.origin for name, found in filled.origins.items() if found.value}
            event = {"action": filled.event.action, "at_ns": filled.event.at_ns, **values}
            click.echo(json.dumps({"event": event, "origins": origins, "env": filled.variables()}), err=to_stderr)
            return
        click.echo(filled.problem or sentence(filled.event), err=to_stderr)
        if self._settings.dry_run:
            for name, found in filled.origins.items():
                click.echo(f"  {name:<11} {found.value or '-':<40} {found.origin or 'not found'}", err=to_stderr)
        elif filled.event.action in STARTS and filled.origins["generation"].origin != "option":
            generation = filled.origins["generation"]
            click.echo(
                f"generation {generation.value}: {generation.origin}; hosts need it as SHIPPER_GENERATION", err=True
            )


def _words(problem: Exception) -> str:
    if isinstance(problem, ModuleNotFoundError):
        return str(MissingExtra(f"this ({problem.name})", "sidecar"))
    return str(problem) if isinstance(problem, ShipperError) else f"{type(problem).__name__}: {problem}"


def _push(events: list[DeployEvent], url: str, seconds: float) -> None:
    from shipper.fleet.deploys.push import push  # needs the sidecar extra, which the rest does not

    push(events, url, seconds=seconds)


def _grafana_token(path: str) -> str:
    token = first_line(path) if path else os.environ.get("GRAFANA_TOKEN", "").strip()
    if not token:
        raise NotTold("Grafana has no annotation: no token; GRAFANA_TOKEN or --grafana-token-file")
    return token


def _moment(text: str) -> int:
    """Nanoseconds since the epoch."""
    try:
        if text.replace(".", "", 1).isdecimal():
            return round(float(text) * 1e9)
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as problem:
        raise click.BadParameter(f"{text!r} is no time such as 2026-11-23T14:00:00Z", param_hint="--at") from problem
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return round(aware.timestamp()) * 10**9
