"""What the verbs that read an archive share: its options, times as people write them, and the exit code of a bad one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Unusable(click.ClickException):
    """Nothing is known, because the archive (or what to compare it with) cannot be read."""

    exit_code = 2


class _Moment(click.ParamType[int]):
    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Nanoseconds since the epoch."""
        if isinstance(value, int):
            return value
        if match := _AGO.fullmatch(value):
            return time.time_ns() - round(float(match.group(1)) * _SECONDS[match.group(2)] * 1e9)
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither like 2026-11-23T04:00 (UTC) nor like 90s, 10m, 2h, 3d", param, ctx)
        return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1e9)


MOMENT = _Moment()


def archive_argument(function: F) -> F:
    """``ARCHIVE`` and what a bucket needs."""
    return click.argument("archive", metavar="ARCHIVE")(_bucket_option(function))


def optional_archive_argument(function: F) -> F:
    """The same, for a verb that can do without an archive."""
    return click.argument("archive", metavar="[ARCHIVE]", required=False)(_bucket_option(function))


def _bucket_option(function: F) -> F:
    return click.option(
        "--option",
        "options",
        metavar="KEY=VALUE",
        multiple=True,
        help="For a bucket: region, endpoint, ... (repeatable); credentials come from the usual environment.",
    )(function)


def record_filters(function: F) -> F:
    """The filters of ``cat`` and ``replay``."""
    for flag, text in (
        ("--life", "Only this life (its id, or how that begins or ends)."),
        ("--service", "Only this service."),
        ("--environment", "Only this environment."),
        ("--generation", "Only this generation."),
        ("--release", "Only this release."),
        ("--host", "Only this host."),
    ):
        function = click.option(flag, default="", metavar="NAME", help=text)(function)
    function = click.option("--until", type=MOMENT, default=0, help="Only records before this time.")(function)
    return click.option(
        "--since", type=MOMENT, default=0, help="Only records from this time on (2026-11-23T04:00, or 10m ago as 10m)."
    )(function)


def pairs(options: tuple[str, ...]) -> dict[str, str]:
    """``--option KEY=VALUE`` as a dict. Raises click.UsageError."""
    found: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise click.UsageError(f"--option {option!r} is not KEY=VALUE")
        found[key] = value
    return found


@contextmanager
def readable_archive() -> Iterator[None]:
    """Turn an archive that cannot be read into one sentence and exit code 2."""
    from shipper.fleet.store import StoreUnavailable, StoreUnusable

    try:
        yield
    except (StoreUnusable, StoreUnavailable) as error:
        raise Unusable(str(error)) from error
