"""The ``shipper`` command; thin: each verb is one file that calls a room, imported only when it is used."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from shipper import __version__
from shipper.errors import MissingExtra, ShipperError
from shipper.signals import keep_stop_signals

# verb -> module with a click command (or group) named ``command``
VERBS: dict[str, str] = {
    "run": "shipper.cli.run",
    "node": "shipper.cli.node",
    "exec": "shipper.cli.exec",
    "gateway": "shipper.cli.gateway",
    "demo": "shipper.cli.demo",
    "check": "shipper.cli.check",
    "config": "shipper.cli.config",
    "status": "shipper.cli.status",
    "top": "shipper.cli.top",
    "drain": "shipper.cli.drain",
    "notice": "shipper.cli.notice",
    "whoami": "shipper.cli.whoami",
    "bake": "shipper.cli.bake",
    "deploy": "shipper.cli.deploy",
    "verdict": "shipper.cli.verdict",
    "audit": "shipper.cli.audit",
    "fleet": "shipper.cli.fleet",
    "cat": "shipper.cli.cat",
    "replay": "shipper.cli.replay",
    "quarantine": "shipper.cli.quarantine",
    "redact": "shipper.cli.redact",
    "exporters": "shipper.cli.exporters",
    "cost": "shipper.cli.cost",
    "dashboards": "shipper.cli.dashboards",
}
_MULTIPROCESS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
_LIVING = {"run", "node", "gateway", "exec"}  # verbs that act on a stop signal from the first moment
# what a missing third-party module means to the person who typed the verb
_SIDECAR_MODULES = {"aiohttp", "cramjam", "h2", "isal", "msgspec", "obstore", "yaml", "rich"}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in _LIVING:
            keep_stop_signals()
        _keep_metrics_to_ourselves()
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = VERBS.get(cmd_name)
        if module is None:
            return None
        try:
            command: Any = importlib.import_module(module).command
        except ModuleNotFoundError as missing:
            return _unavailable(cmd_name, missing)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ShipperError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as missing:
            raise _explained(f"shipper {ctx.invoked_subcommand}", missing) from missing


def _keep_metrics_to_ourselves() -> None:
    """An environment that is meant for services must not put our own metrics into their directory (or fail to).

    prometheus_client decides that once, when it is imported; the variables stay for programs that we start.
    """
    hidden = {name: os.environ.pop(name) for name in _MULTIPROCESS if name in os.environ}
    if hidden:
        importlib.import_module("prometheus_client")
        os.environ.update(hidden)


def _explained(what: str, missing: ModuleNotFoundError) -> Exception:
    """In the words of somebody who can mend it, where a part of the sidecar extra is missing; anything else is a bug."""
    if (missing.name or "").split(".")[0] not in _SIDECAR_MODULES:
        return missing
    return click.ClickException(str(MissingExtra(what, "sidecar")))


def _unavailable(verb: str, missing: ModuleNotFoundError) -> click.Command:
    """Stands in for a verb whose parts are not installed, so that ``--help`` lists it and using it says what to install."""
    explained = _explained(f"shipper {verb}", missing)
    if explained is missing:
        raise missing

    def refuse() -> None:
        raise explained

    return click.Command(
        verb,
        callback=refuse,
        short_help="(needs ephemeral-shipper[sidecar])",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None})
@click.version_option(__version__, prog_name="shipper")
def main() -> None:
    """Get everything off an ephemeral host before it dies, and prove what arrived."""
