"""``shipper status``: how the sidecar on this host is doing, for people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from shipper.admin import ask
from shipper.cli.options import admin_socket, socket_option, state_dir_option


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The raw answer.")
@state_dir_option
@socket_option
def command(as_json: bool, state_dir: str, socket: str) -> None:
    """Show state, identity, and what each destination has and has not."""
    status = asyncio.run(ask(admin_socket(state_dir, socket), "GET", "/status"))
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    click.echo(f"{status['role']} {status['state']}, life {status['life']} run {status['run']}, host {status['host']}")
    click.echo("labels: " + ", ".join(f"{name}={value}" for name, value in status["labels"].items() if value))
    _print_end(status)
    click.echo(f"streams: {status['streams']}, open files: {status['open_files']}")
    if held := status.get("held_bytes"):
        click.echo(f"kept on disk of files that were deleted or truncated: {held:,} bytes")
    for service in status.get("services", ()):
        _print_service(service)
    for name, receiver in status.get("receivers", {}).items():
        _print_receiver(name, receiver)
    for name, destination in status["destinations"].items():
        _print_destination(name, destination)
    if fallback := status.get("fallback"):
        _print_fallback(fallback)
    for earlier in status.get("remains", ()):
        _print_earlier(earlier)
    if node := status.get("node"):
        _print_pods(node)
    if lost := status.get("not_taken"):
        said = ", ".join(f"{count:,.0f} bytes of {signal}" for signal, count in lost.items())
        click.echo(f"went nowhere in this run, as no destination takes it: {said}")
    if unrouted := status.get("unrouted"):
        said = ", ".join(f"{count:,.0f} records of {signal}" for signal, count in unrouted.items())
        click.echo(f"went nowhere in this run, as no route takes it: {said}")
    if unparsed := status.get("unparsed"):
        said = ", ".join(f"{one['receiver']} {one['cause']} {one['records']:,.0f}" for one in unparsed)
        click.echo(f"not understood, and kept as they came: {said}")
    if problems := status["problems"]:
        click.echo("problems survived: " + ", ".join(f"{kind} {count:.0f}" for kind, count in problems.items()))


def _print_fallback(fallback: Mapping[str, Any]) -> None:
    """Who stands in for others, and for whom now."""
    down = f" for {', '.join(fallback['for'])}" if fallback["for"] else ""
    click.echo(f"fallback {fallback['name']}: {fallback['doing']}{down}")


def _print_pods(node: Mapping[str, Any]) -> None:
    """The pods of a node, for its agent."""
    api = node["api"]
    told = "the API server is not asked" if api is None else "the API server tells of " + f"{api['pods']:,}"
    if api is not None and not api["synced"]:
        told = "the API server has not answered yet"
    click.echo(f"pods: {len(node['pods']):,} shipped, {len(node['left_out']):,} left out; {told}")
    for name, pod in sorted(node["pods"].items()):
        if "life" not in pod:
            click.echo(f"  {name}: {pod['state']}")
            continue
        labels = ", ".join(f"{key}={value}" for key, value in pod["labels"].items() if value and key != "host")
        left = max(pod["backlog_bytes"].values(), default=0)
        click.echo(f"  {name}: {pod['state']}, run {pod['run']}, {labels}; {left:,} bytes not acknowledged")


def _print_end(status: Mapping[str, Any]) -> None:
    """What is known of the host's end: nothing at all on an ordinary day."""
    for notice in status["notices"]:
        what = "the host ends" if notice["ends_life"] else "the host goes on afterwards"
        when = "" if notice["deadline_ns"] is None else f", by {_clock_time(notice['deadline_ns'])}"
        assumed = " (assumed, the platform states none)" if when and notice["assumed"] else ""
        about = f"; {what}{when}{assumed}" if notice["kind"] != "advisory" else ""
        click.echo(f"notice from {notice['source']}, {notice['kind']}: {notice['evidence']}{about}")
    if (seconds := status["deadline_seconds"]) is not None:
        click.echo(f"deadline in {seconds:.1f} s" if seconds > 0 else "the deadline has passed")
    if status["holds"] and (status["notices"] or status["state"] == "draining"):
        click.echo(f"may keep the host waiting: {', '.join(status['holds'])}")
    for source, why in status["notice_sources_unknown"].items():
        click.echo(f"{source} does not tell whether this host will end: {why}")


def _clock_time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _print_service(figures: Mapping[str, Any]) -> None:
    records = ", ".join(f"{count:,} {signal}" for signal, count in figures["records"].items() if count) or "nothing yet"
    click.echo(
        f"service {figures['service'] or 'without a name'} pid {figures['pid']} ({figures['owner']}, "
        f"{'alive' if figures['alive'] else 'gone'}): {records}, {figures['backlog_bytes']:,} bytes not acknowledged"
    )
    lost = [
        f"{cause.partition('.')[2]} {count:,} ({cause.partition('.')[0]})"
        for cause, count in figures["dropped"].items()
    ]
    if figures["lost"]:
        lost.append(f"missing {figures['lost']:,}")
    if lost:
        click.echo("  lost by it: " + ", ".join(lost))
    for note in figures["notes"]:
        click.echo(f"  it says: {note}")


def _print_receiver(name: str, figures: Mapping[str, Any]) -> None:
    taken = ", ".join(f"{count:,} {signal}" for signal, count in figures["received"].items() if count) or "nothing yet"
    where = ", ".join(figures["listens"]) or "not listening"
    click.echo(f"receiver {name} ({where}): {taken} in this run")
    if refused := {cause: count for cause, count in figures["refused"].items() if count}:
        click.echo("  refused: " + ", ".join(f"{cause} {count:,}" for cause, count in refused.items()))


def _print_earlier(figures: Mapping[str, Any]) -> None:
    left = figures["backlog_bytes"]
    what = "waits for its turn" if left is None else f"{left:,} bytes not acknowledged"
    click.echo(f"earlier life {figures['life']} of this host: what it left is shipped as its own; {what}")


def _print_destination(name: str, figures: Mapping[str, Any]) -> None:
    click.echo(
        f"{name}: {figures['where']}" + ("" if figures["trusted"] else " (a local relay: what it has is not proved)")
    )
    click.echo(
        f"  backlog {figures['backlog_bytes']:,} bytes, oldest unacknowledged {figures['oldest_seconds']:.3f} s, "
        f"acknowledged {figures['acknowledged']:,.0f} records"
    )
    if failure := figures.get("failure"):
        click.echo(f"  {failure}")
    exposure = figures["exposure"]
    if exposure["count"]:
        click.echo(
            f"  exposure p50 {exposure['p50'] * 1000:.1f} ms, p99 {exposure['p99'] * 1000:.1f} ms, max {exposure['max'] * 1000:.1f} ms"
        )
    lost = {word: figures[word] for word in ("quarantined", "rejected", "dropped", "retried") if figures[word]}
    if lost:
        click.echo("  " + ", ".join(f"{word} {count:,.0f}" for word, count in lost.items()))
    if left_out := figures.get("left_out"):
        click.echo("  left out by rules: " + ", ".join(f"{word} {count:,.0f}" for word, count in left_out.items()))
