"""One reading, printed: for scripts, for a mail to a colleague, for where there is no terminal."""

from __future__ import annotations

import shutil
import sys

from shipper.top.layout import laid_out
from shipper.top.source import Source
from shipper.top.terminal import painted

_ANY = 10_000  # columns: whoever reads this can take any


async def once(source: Source) -> None:
    """Read and print. A terminal gets lines of its width; anything else gets all there is, as plain text. Raises `ShipperError`."""
    try:
        view = await source.read()
    finally:
        await source.aclose()
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        lines = painted(laid_out(view, columns, None), columns)
    else:
        lines = [line.plain for line in laid_out(view, _ANY, None)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
