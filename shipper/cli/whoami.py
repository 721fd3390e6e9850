"""``shipper whoami``: every label of this host, where it came from, where else was looked, and which platforms were asked.

It finds out anew, as a sidecar does at the start of a life; one that runs keeps what it found then.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime

import click

from shipper.cli.options import config_option
from shipper.labels.detect import detect
from shipper.labels.explicit import Configured
from shipper.labels.finding import Candidate
from shipper.labels.identity import Considered, Identity, Label
from shipper.labels.platform import PLATFORMS, Network
from shipper.labels.witness import Witness, witness
from shipper.paths import CONFIG_FILE


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
@click.option("--no-network", is_flag=True, help="Ask no metadata service: only files and the environment.")
@click.option(
    "--verbose", "-v", is_flag=True, help="Also every place that was looked at with what was there, and all attributes."
)
def command(config_file: str | None, as_json: bool, no_network: bool, verbose: bool) -> None:
    """Print each label of this host with its value and origin, and what the host is recognised by.

    A cloud's metadata service is asked where the hardware or the environment names that cloud, for two seconds at most.
    """
    configured, origins, endpoints = _configured(config_file)
    network = None if no_network else Network(endpoints)
    identity = detect(configured, os.environ, origins=origins, network=network)
    known = witness("/", os.environ, configured.host if configured else "")
    if as_json:
        click.echo(json.dumps(_as_json(identity, known), indent=2))
        return
    _show_labels(identity, verbose)
    for name, when in identity.times.items():
        click.echo(f"{name.replace('_', ' '):<18} {_utc(when)}")
    click.echo(f"{'witness':<12} {known.kind or '-'} {known.value}, boot {known.boot_id or 'unknown'}")
    _show_platforms(identity, verbose)
    if verbose:
        for key, value in identity.attributes().items():
            click.echo(f"{'attribute':<12} {key}={value}")
    for problem in identity.problems:
        click.echo(f"warning: {problem}", err=True)


def _utc(when_ns: int) -> str:
    return datetime.fromtimestamp(when_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _show_labels(identity: Identity, verbose: bool) -> None:
    width = max(len(label.value) for label in identity.all())
    for label in identity.all():
        click.echo(f"{label.name:<12} {label.value or '-':<{max(width, 1)}}  {_story(label)}")
        places = label.tried if verbose else _stronger(label)
        if verbose:
            for place in places:
                click.echo(f"{'':<12}   {place.place}: {place.value or place.note or 'not set'}")
        elif places:
            click.echo(f"{'':<12}   not in {', '.join(place.place for place in places)}")


def _show_platforms(identity: Identity, verbose: bool) -> None:
    for one in identity.considered:
        click.echo(f"{'platform':<12} {one.platform} ({one.evidence}){_outcome(one)}")
    if not identity.considered:
        click.echo(f"{'platform':<12} none that the hardware or the environment names")
    if verbose:
        seen = {one.platform for one in identity.considered}
        click.echo(f"{'':<12}   not seen: {', '.join(one.name for one in PLATFORMS if one.name not in seen)}")
    click.echo(f"{'found out':<12} in {_duration(identity.seconds)}")


def _outcome(one: Considered) -> str:
    if not one.note:
        return ""
    return f"; {one.note} ({_duration(one.seconds)})" if one.asked else f"; {one.note}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _configured(config_file: str | None) -> tuple[Configured | None, dict[str, str], dict[str, str]]:
    """The labels of the configuration, their origins, and where metadata services are.

    Without a file none is needed, and neither are the libraries that read one.
    """
    if not config_file and not os.environ.get("SHIPPER_CONFIG") and not os.path.lexists(CONFIG_FILE):
        return None, {}, {}
    from shipper.config import load

    loaded = load(config_file, env=os.environ, complete=False)
    origins = {path: str(origin) for path, origin in loaded.origins.items()}
    return loaded.config.labels, origins, loaded.config.notices.endpoints


def _stronger(label: Label) -> tuple[Candidate, ...]:
    """The places that would have won, had they held something."""
    return tuple(itertools.takewhile(lambda place: not place.value, label.tried))


def _story(label: Label) -> str:
    if label.value:
        return f"from {label.origin}"
    return f"not found; set {label.name} with SHIPPER_{label.name.upper()}"


def _as_json(identity: Identity, known: Witness) -> dict[str, object]:
    return {
        "labels": {
            label.name: {
                "value": label.value,
                "origin": label.origin,
                "tried": [{"place": t.place, "value": t.value, "note": t.note} for t in label.tried],
            }
            for label in identity.all()
        },
        "attributes": identity.attributes(),
        "times": {name: _utc(when) for name, when in identity.times.items()},
        "witness": {"kind": known.kind, "value": known.value, "boot_id": known.boot_id, "known": dict(known.known)},
        "platforms": [asdict(one) for one in identity.considered],
        "seconds": round(identity.seconds, 3),
        "in_container": identity.in_container,
        "problems": list(identity.problems),
    }
