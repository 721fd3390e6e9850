"""What arrives of 1,000 spans and 1,000 log records under each server and after each way to end it, beside the stock SDK.

``python -m bench servers`` gives the figures one by one, ``python -m bench.servers [RUNS]`` the table of docs/services.md.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.row import Row, workplace
from shipper.handoff.prepare import prepare_root
from tests.e2e.arrivals import Collector, Count, collecting, walked
from tests.e2e.servers import ENDINGS, RECORDS, SERVERS, Cell, Server

SDKS = ("Shipper", "stock")


def arrivals(name: str) -> list[Row]:
    """A row for each server, ending and SDK: per cent of the records that arrived."""
    return [Row(name, f"{server}, {ending}, {sdk}", "% of records", share) for server, ending, sdk, share in measured()]


def measured() -> Iterator[tuple[str, str, str, float]]:
    """Server, ending, SDK, and the share in per cent, one cell after the other."""
    with workplace() as directory, collecting() as collector:
        for server in SERVERS.values():
            for ending in ENDINGS:
                for sdk in SDKS:
                    count = _run(directory / f"{server.name} {ending} {sdk}", server, ending, sdk, collector)
                    yield server.name, ending, sdk, 50.0 * (len(count.spans) + len(count.logs)) / RECORDS


def _run(directory: Path, server: Server, ending: str, sdk: str, collector: Collector) -> Count:
    root = directory.with_suffix(".spool")
    stock = sdk == "stock"
    if not stock:
        prepare_root(str(root))
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url} if stock else {"SHIPPER_SPOOL_DIR": str(root)}
    cell = Cell(server, ending, sdk.lower(), directory, env)
    with suppress(AssertionError):  # a server that breaks is a figure too
        server.drive(server, cell)
    return collector.of(cell.run) if stock else walked(root, cell.run)


def main() -> None:
    """Print the table: the lowest share of all runs for Shipper, and the spread for the stock SDK."""
    shares: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        for server, ending, sdk, share in measured():
            shares[server, ending, sdk].append(share)
    print("| Shipper / stock | " + " | ".join(ENDINGS) + " |\n|---|" + "---|" * len(ENDINGS))
    for server in SERVERS:
        cells = []
        for ending in ENDINGS:
            stock = shares[server, ending, "stock"]
            median = f"{statistics.median(stock):.0f} %"
            spread = f" ({min(stock):.0f} to {max(stock):.0f})" if min(stock) != max(stock) else ""
            cells.append(f"**{min(shares[server, ending, 'Shipper']):.0f} %** / {median}{spread}")
        print(f"| {server} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
