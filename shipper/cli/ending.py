"""Holding what is configured for the host's end against what there is: platforms, budgets, whose end is waited for."""

from __future__ import annotations

from collections.abc import Callable

from shipper.cli.destinations import located
from shipper.config import Loaded
from shipper.drain import endings
from shipper.errors import ConfigError
from shipper.notices.budgets import Budgets
from shipper.notices.choose import names_of


def problems(loaded: Loaded) -> list[ConfigError]:
    """Names that nobody knows, each by where it was set: they would stop `shipper run`. Looks at nothing but the settings."""
    notices, wait_for = loaded.config.notices, loaded.config.drain.wait_for
    checks: list[Callable[[], object]] = [
        lambda: names_of(notices.watch),
        lambda: Budgets(notices.budgets),
        *(
            lambda entry=entry, index=index: endings.parse(entry, f"{endings.WHERE}[{index}]")
            for index, entry in enumerate(wait_for)
        ),
    ]
    found: list[ConfigError] = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            found.append(located(error, loaded))
    return found
