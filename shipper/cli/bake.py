"""``shipper bake``: run while an image is built; leaves in it what release it is, and nothing of the builder."""

from __future__ import annotations

import os

import click

from shipper.errors import StateError
from shipper.handoff.prepare import prepare_root
from shipper.labels.bake import FIELDS, gather, wipe, write
from shipper.labels.life import SPOOL
from shipper.labels.state import prepare_state_dir
from shipper.paths import CONFIG_FILE, RELEASE_FILE, SYSTEM_STATE_DIR, default_state_dir


@click.command()
@click.option("--service", default="", help="The service this image runs.")
@click.option("--release", default="", help="The release it holds; default: from CI, or git describe.")
@click.option("--image", default="", help="The image's own name or digest, where it is known already.")
@click.option("--environment", default="", help="Only for images that are built for one environment.")
@click.option("--commit", default="", help="The commit it was built from; default: from CI, or git.")
@click.option("--repository", default="", help="The repository's URL; default: from CI, or git.")
@click.option("--root", default="/", metavar="DIR", help="The image's file tree.")
@click.option("--output", default=RELEASE_FILE, show_default=True, metavar="FILE", help="Where in the tree to write.")
@click.option("--state-dir", default="", metavar="DIR", help="The state directory in the tree; default: as configured.")
@click.option("--wipe-state/--no-wipe-state", default=True, help="Remove what a sidecar left in it.  [default: wipe]")
def command(root: str, output: str, state_dir: str, wipe_state: bool, **flags: str) -> None:
    """Write release.json into an image and remove a builder's sidecar state from it.

    \b
    In a Dockerfile, or as the last step of a machine image's build:
      RUN shipper bake --service checkout --release 1.4.2

    What no flag says is taken from SHIPPER_ variables, the CI system, or git in the working directory. A generation is
    never baked: it belongs to a deploy.
    """
    baked = gather(flags, os.environ, os.getcwd())
    if "release" not in baked.fields:
        raise click.ClickException("no release: give --release, or run in a CI system or a git working copy")
    removed: list[str] = []
    place = ""
    if wipe_state:  # first: where a sidecar runs, nothing is touched
        place = _inside(root, state_dir or _state_dir(root))
        removed = wipe(place)
        _make_spool(os.path.join(place, SPOOL))
    target = _inside(root, output)
    write(baked, target)
    for name in FIELDS:
        if name in baked.fields:
            value, origin = baked.fields[name]
            click.echo(f"{name:<12} {value}  from {origin}")
    click.echo(f"{'written':<12} {target}")
    if removed:
        click.echo(f"{'wiped':<12} {place}: {', '.join(removed)}")


def _make_spool(path: str) -> None:
    """Services may start before the sidecar does: what they hand over until then needs a place."""
    try:
        prepare_state_dir(os.path.dirname(path))
    except StateError as problem:
        click.echo(f"no spool for services: {problem}", err=True)
        return
    if unfit := prepare_root(path):
        click.echo(f"the spool for services: {unfit}", err=True)


def _inside(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/")) if root != "/" else path


def _state_dir(root: str) -> str:
    """Where a sidecar of this image would keep its state: as its configuration says, else the usual place."""
    # another tree is an image's, whose sidecar will most likely be root, whoever builds it
    usual = default_state_dir(os.environ) if root == "/" else SYSTEM_STATE_DIR
    stated = os.environ.get("SHIPPER_STATE_DIR", "").strip()
    config_file = _inside(root, CONFIG_FILE)
    if stated or not os.path.lexists(config_file):
        return stated or usual
    try:
        from shipper.config.yamlfile import read_document
    except ModuleNotFoundError:  # an image built without the sidecar extra has no sidecar to configure
        return usual
    configured = read_document(config_file).data.get("state_dir")
    return configured if isinstance(configured, str) and configured else usual
