"""``shipper dashboards``: what is shipped for Grafana and Prometheus, into a directory, a Grafana, or a still picture."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shipper import __version__
from shipper.cli.archives import MOMENT
from shipper.cli.options import SecondsRange
from shipper.dashboards import shipped

if TYPE_CHECKING:
    from shipper.dashboards.install import Step

_config = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    default=None,
    help="Board settings (metric names, labels, windows, thresholds): everything is rebuilt from them.",
)
_sources = click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="TYPE",
    help="A data source type that your Grafana has (prometheus, loki, tempo, elasticsearch, "
    "grafana-opensearch-datasource); rows of others are left out. May be repeated.",
)


@click.group()
def command() -> None:
    """Boards, rules and alerts: list them, write them to a directory, bring them into a Grafana."""


@command.command("list")
def list_() -> None:
    """What is shipped: each dashboard with the question it answers, and the files beside them."""
    files = shipped.files()
    for board in shipped.boards(files).values():
        click.echo(f"{board['uid']:<22} {board['title']:<31} {board.get('description', '')}")
    beside = [path for path in files if "/" in path]
    if beside:
        click.echo(f"\nbeside them, in {shipped.folder()}:")
        for path in beside:
            click.echo(f"  {path}")


@command.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@_config
@click.option(
    "--only", "kinds", multiple=True, type=click.Choice(list(shipped.KINDS)), help="Just these; may be repeated."
)
@_sources
def export(directory: Path, config_file: str | None, kinds: tuple[str, ...], sources: tuple[str, ...]) -> None:
    """Write dashboards, rules, alerts and provisioning files to DIRECTORY.

    \b
    Example:
      shipper dashboards export ./observability --only dashboards --only rules

    What is there under the same names is replaced; nothing else is touched.
    """
    made = shipped.of_kinds(_made(config_file, sources), kinds)
    for path, text in made.items():
        target = directory / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{target}: {error.strerror}") from error
    click.echo(f"{len(made)} files in {directory}")


@command.command()
@click.option("--grafana", "url", metavar="URL", required=True, help="Grafana's address, with its path if it has one.")
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    default=None,
    help="File with a service account's token (role Editor); default: the variable GRAFANA_TOKEN.",
)
@click.option("--folder", default="Shipper", show_default=True, help="The folder's name, where it has to be made.")
@click.option("--alerts", is_flag=True, help="Also the alert rules, into Grafana's own alerting.")
@click.option(
    "--prometheus-uid",
    default="prometheus",
    show_default=True,
    metavar="UID",
    help="The data source that these alerts ask.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@_config
@_sources
def install(
    url: str,
    token_file: str | None,
    folder: str,
    alerts: bool,
    prometheus_uid: str,
    dry_run: bool,
    config_file: str | None,
    sources: tuple[str, ...],
) -> None:
    """Bring the dashboards into a Grafana by its API; again after an upgrade, only what differs is replaced.

    \b
    Example:
      GRAFANA_TOKEN=glsa_... shipper dashboards install --grafana https://grafana.example

    Exit status: 0 all is there, 1 something is not; what was done until then stays.
    """
    from shipper.dashboards.grafana import Grafana
    from shipper.dashboards.install import Installer, asking, present

    grafana = Grafana(url, _token(token_file))
    grafana.version()
    has = set(sources) or present(grafana)
    if not has:
        click.echo(
            "the token may not list data sources, so every row is kept; --source leaves out what you lack", err=True
        )
    made = _made(config_file, has)
    installer = Installer(grafana, message=f"shipper {__version__}", dry_run=dry_run)
    groups = asking(shipped.alert_groups(made), prometheus_uid) if alerts else {}
    for step in installer.install(folder, shipped.boards(made), groups):
        click.echo(_told(step, dry_run))


@command.command()
@click.option(
    "--prometheus", "url", metavar="URL", required=True, help="The Prometheus to ask, or what speaks its API."
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where the page goes.",
)
@click.option("--board", "names", multiple=True, metavar="NAME", help="Just this one (triage, hosts, ...); repeatable.")
@click.option("--var", "given", multiple=True, metavar="NAME=VALUE", help="A variable's value; default: its first one.")
@click.option(
    "--from", "since", type=MOMENT, default=None, help="Show from then on (2026-11-23T04:00, or 2h for 2h ago)."
)
@click.option("--to", "until", type=MOMENT, default=None, help="Show until then; default: now.")
@click.option("--archive", default="", metavar="ARCHIVE", help="Show its newest failures where a panel asks for logs.")
@click.option(
    "--timeout",
    type=SecondsRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Seconds to wait for one answer.",
)
@_config
def preview(
    url: str,
    page: Path,
    names: tuple[str, ...],
    given: tuple[str, ...],
    since: int | None,
    until: int | None,
    archive: str,
    timeout: float,
    config_file: str | None,
) -> None:
    """Draw the dashboards from a Prometheus as one static page, for those who have no Grafana at hand.

    \b
    Example:
      shipper dashboards preview --prometheus http://127.0.0.1:9090 --html boards.html

    It is a preview: still pictures, with metrics only. Exit status: 0 all panels were asked, 1 some or all could not be.
    """
    from shipper.cli.fleet import write_page
    from shipper.cli.preview import chosen, given_values, records_of, windows
    from shipper.dashboards.preview.asking import Prometheus
    from shipper.dashboards.preview.board import preview as drawn

    boards = chosen(shipped.boards(_made(config_file, ())), names)
    made = drawn(
        boards,
        Prometheus(url, timeout),
        window=windows(since, until),
        given=given_values(given, boards),
        records=records_of(archive) if archive else None,
    )
    write_page(page, made.html)
    click.echo(f"{len(made.panels)} panels of {len(boards)} boards: {page}")
    for warning in made.warnings:
        click.echo(f"Prometheus warns: {warning}", err=True)
    if made.empty:
        click.echo(f"{len(made.empty)} found nothing: " + "; ".join(panel.title for panel in made.empty), err=True)
    if made.failed:
        raise click.ClickException(f"{len(made.failed)} panels could not be asked, the first: {made.failed[0].problem}")


def _made(config_file: str | None, sources: Collection[str]) -> dict[str, str]:
    """The files: those that are shipped, or rebuilt with somebody's own settings; cut to the data sources there are."""
    made = shipped.files()
    if config_file is not None:
        from shipper.dashboards.config import load_board_config
        from shipper.dashboards.generate import generate

        made |= generate(load_board_config(config_file))
    return shipped.fitted(made, sources) if sources else made


def _token(token_file: str | None) -> str:
    if token_file is None:
        return os.environ.get("GRAFANA_TOKEN", "").strip()
    try:
        return Path(token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{token_file}: {error}") from error


def _told(step: Step, dry_run: bool) -> str:
    would = "would be " if dry_run and step.outcome != "unchanged" else ""
    return f"{step.what:<12} {step.name:<34} {would}{step.outcome:<10} {step.url}".rstrip()
