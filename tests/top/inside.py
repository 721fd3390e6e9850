"""``shipper top --once`` in this process: what it prints, and its exit status."""

from __future__ import annotations

from click.testing import CliRunner, Result

from shipper.cli import main


def once(*arguments: object) -> Result:
    """One reading; a traceback is never an answer."""
    result = CliRunner().invoke(main, ["top", "--once", *map(str, arguments)], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result
