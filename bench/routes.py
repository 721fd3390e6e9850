"""What a route costs: requests of plain lines and of records with attributes, of which it takes all, a part or nothing."""

from __future__ import annotations

import random
import time

from bench.row import Row
from shipper.contracts import Signal
from shipper.otlp.encode import LineEncoder, export_logs, log_record, resource, scope
from shipper.pump.route_rules import Condition, Pattern
from shipper.pump.route_select import select

RECORDS = 2500  # of a batch: half a megabyte
SECONDS = 1.0  # of CPU for each figure
NOW = 1_800_000_000_000_000_000

CONDITIONS = {
    "service": Condition(resource=(("service.name", Pattern(["shop"])),)),
    "severity": Condition(severity=(13, 24)),
    "attribute, a third": Condition(attributes=(("http.route", Pattern(["/pay*"])),)),
    "attribute, not there": Condition(attributes=(("tenant", Pattern(["*"])),)),
}


def cost(name: str) -> list[Row]:
    """Records a CPU-second, for each condition on each kind of request."""
    dice = random.Random(1)
    rows = []
    for what, payload in (("plain lines", _lines(dice)), ("records", _records(dice))):
        for asked, condition in CONDITIONS.items():
            rate, taken = _rate(payload, condition)
            rows.append(Row(name, f"{what}, {asked}", "records/CPU-s", rate))
            rows.append(Row(name, f"taken of {what}, {asked}", "share", taken))
    return rows


def _rate(payload: bytes, condition: Condition) -> tuple[float, float]:
    done = taken = 0
    begun = time.process_time()
    while (spent := time.process_time() - begun) < SECONDS:
        taken = select((condition,), Signal.LOGS, payload, RECORDS).records
        done += RECORDS
    return done / spent, taken / RECORDS


def _lines(dice: random.Random) -> bytes:
    encoder = LineEncoder(resource({"service.name": "shop"}), scope("app.log"))
    return encoder.encode([b"x" * dice.randint(150, 250) for _ in range(RECORDS)], NOW)


def _records(dice: random.Random) -> bytes:
    made = [
        log_record(
            time_ns=NOW,
            observed_ns=NOW,
            body="x" * 100,
            severity=dice.choice([9] * 9 + [17]),
            attributes={
                "http.request.method": "GET",
                "http.route": dice.choice(["/pay/card", "/cart", "/items"]),
                "http.response.status_code": 200,
                "user": f"u{number}",
            },
        )
        for number in range(RECORDS)
    ]
    return export_logs(resource({"service.name": "shop"}), scope("app"), made)
