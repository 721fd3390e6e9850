"""Options that several verbs share, so that they mean and say the same everywhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from shipper.durations import parse_seconds

_ROLES: tuple[Literal["sidecar", "gateway"], ...] = ("sidecar", "gateway")
F = TypeVar("F", bound=Callable[..., Any])


class SecondsRange(click.FloatRange):
    """Seconds within bounds, written as a number or as a duration (``90``, ``250ms``, ``1m30s``), as in the configuration."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        try:
            return super().convert(parse_seconds(value), param, ctx)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def config_option(function: F) -> F:
    """``--config``."""
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        default=None,
        help="YAML file; default: SHIPPER_CONFIG, or /etc/shipper/shipper.yaml if it exists.",
    )(function)


def state_dir_option(function: F) -> F:
    """``--state-dir``."""
    return click.option(
        "--state-dir",
        metavar="DIR",
        default="",
        help="Ledger, life and quarantine; default: SHIPPER_STATE_DIR, /var/lib/shipper, or the XDG state directory when not root.",
    )(function)


def socket_option(function: F) -> F:
    """``--socket``."""
    return click.option("--socket", metavar="PATH", default="", help="Admin socket; default: <state dir>/admin.sock.")(
        function
    )


def admin_socket(state_dir: str, socket: str) -> str:
    """Where the running sidecar's admin socket is, by the same rules by which it was started."""
    return running(state_dir, socket)[1]


def running(state_dir: str, socket: str) -> tuple[str, str]:
    """State directory and admin socket of the sidecar that runs here, by the same rules by which it was started."""
    from shipper.config import load

    overrides: dict[str, Any] = {}
    if state_dir:
        overrides["state_dir"] = state_dir
    if socket:
        overrides["admin.socket"] = socket
    loaded = [load(None, env=os.environ, overrides=overrides, role=role, complete=False).config for role in _ROLES]
    found = [(config.state_dir, config.admin.socket) for config in loaded]
    # With nothing said, whichever runs here is meant; the sidecar when both or neither do.
    return next((paths for paths in found if os.path.exists(paths[1])), found[0])


def set_up_logging(level: str, style: str) -> None:
    """Shipper's own log goes to standard error; ``style`` is ``text`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonLines() if style == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logger = logging.getLogger("shipper")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        return json.dumps(
            {"time": self.formatTime(record), "level": record.levelname.lower(), "message": record.getMessage()}
        )
